"""Studies: each training is fit's, whatever the strategy; they resume; they choose inside."""

from __future__ import annotations

import csv
import json
import re

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from sklearn import metrics as sk

import jaxmed as jm
from jaxmed import data, protocols, stats
from jaxmed.protocols.studies import _jobs

RNG = np.random.default_rng(0)
N = 40
Y = np.arange(N) % 2
PATIENT = [f"p{i // 2}" for i in range(N)]
SOURCE = data.ArraySource(
    {
        "image": (RNG.normal(size=(N, 6)) + 0.8 * Y[:, None]).astype(np.float32),
        "label": Y.astype(np.int32),
    },
    groups=PATIENT,
)


class Linear(nn.Module):
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return {"logits": nn.Dense(2)(x)}


def make(rate=0.3, dropout=0.0):
    objective = jm.supervised(jm.losses.cross_entropy)
    return jm.learner(jm.from_linen(Linear(dropout)), objective, optax.sgd(rate))


FAST = make(0.3, 0.5)
SLOW = make(0.02)
SPLITS = protocols.k_fold(SOURCE, 4, stratify="label")


def auc(y, p):
    return sk.roc_auc_score(y, p[:, 1])


@pytest.fixture(scope="module")
def found():
    return protocols.study(
        {"fast": FAST, "slow": SLOW}, SOURCE, SPLITS, seeds=3, epochs=2, size=8, progress=False
    )


def test_each_training_is_fit_alone(found):
    one = SPLITS[2]
    replicate = _jobs.replicate(
        "x", _jobs.Job(2, -1, 1, one), protocols.TrainingPlan(epochs=2, size=8)
    )
    part = data.batches(data.subset(SOURCE, one.train), 8, seed=replicate.order)
    state = jm.train.fit(FAST, part, key=replicate.key, epochs=2, progress=False).state
    logits = jm.train.predict(FAST, state, data.subset(SOURCE, one.test), size=8)
    np.testing.assert_allclose(
        found.outputs["fast", 2, 1], jax.nn.softmax(logits), rtol=1e-5, atol=1e-7
    )


def test_options_go_in_groups_or_by_their_own_names(found):
    """Both ways are one study, which prints as one line; what is no option is told."""
    grouped = protocols.study(
        {"fast": FAST}, SOURCE, SPLITS, progress=False,
        training=protocols.TrainingPlan(epochs=2, size=4),
        reading=protocols.Reading(label="label", groups=PATIENT), size=8,
    )  # fmt: skip
    for (arm, i, seed), value in grouped.outputs.items():
        np.testing.assert_array_equal(value, found.outputs[arm, i, seed])
    assert grouped.settings["size"] == 8  # by its own name it counts
    assert str(grouped) == (
        "Study of fast (1 arms, 4 splits, 1 seeds, 4 trainings, 0 failures; 40 cases)"
    )
    with pytest.raises(TypeError, match=r"study takes no 'epoch'; .* epochs, steps"):
        protocols.study({"fast": FAST}, SOURCE, SPLITS, epoch=2)


def test_one_program_gives_what_one_after_the_other_gives(found):
    together = protocols.study(
        {"fast": FAST, "slow": SLOW}, SOURCE, SPLITS, seeds=3, epochs=2, size=8, width=5,
        strategy="vmap", progress=False,
    )  # fmt: skip
    assert together.outputs.keys() == found.outputs.keys()
    for key, value in found.outputs.items():
        np.testing.assert_allclose(together.outputs[key], value, rtol=1e-4, atol=1e-6)


def test_trainings_of_other_lengths_share_a_program():
    splits = protocols.leave_one_site_out(N, np.where(np.arange(N) < 10, "a", "b"))
    options = {"epochs": 2, "size": 8, "progress": False}
    one = protocols.study({"fast": FAST}, SOURCE, splits, strategy="sequential", **options)
    two = protocols.study({"fast": FAST}, SOURCE, splits, strategy="vmap", **options)
    for key, value in one.outputs.items():
        np.testing.assert_allclose(two.outputs[key], value, rtol=1e-4, atol=1e-6)


def test_a_study_goes_on_where_it_was_interrupted(found, tmp_path, monkeypatch):
    options = {"seeds": 3, "epochs": 2, "size": 8, "progress": False, "out": tmp_path}
    arms = {"fast": FAST, "slow": SLOW}
    made, write = [], _jobs.write_record

    def killed(folder, name, record):
        if len(made) == 7:
            raise KeyboardInterrupt
        made.append(name)
        write(folder, name, record)

    monkeypatch.setattr(_jobs, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        protocols.study(arms, SOURCE, SPLITS, **options)
    assert len([*(tmp_path / "replicates").glob("*.npz")]) == 7
    assert not [*(tmp_path / "replicates").glob(".*")]
    again = []
    monkeypatch.setattr(_jobs, "write_record", lambda *args: (again.append(args[1]), write(*args)))
    resumed = protocols.study(arms, SOURCE, SPLITS, **options)
    assert len(again) == 24 - 7
    for key, value in found.outputs.items():
        np.testing.assert_array_equal(resumed.outputs[key], value)
    again.clear()
    more = protocols.study(arms, SOURCE, SPLITS, **(options | {"seeds": (1, 7)}))
    assert len(again) == 8  # seed 7 alone is new
    np.testing.assert_array_equal(more.outputs["slow", 0, 1], found.outputs["slow", 0, 1])


def test_a_folder_of_another_study_is_refused(tmp_path):
    options = {"seeds": 1, "size": 8, "progress": False, "out": tmp_path}
    protocols.study({"a": FAST}, SOURCE, SPLITS, steps=1, **options)
    with pytest.raises(ValueError, match="another study: steps was 1 and is 2 now"):
        protocols.study({"a": FAST}, SOURCE, SPLITS, steps=2, **options)
    other = protocols.k_fold(SOURCE, 4, seed=9)
    with pytest.raises(ValueError, match="a-r0-f0-s0 with another split"):
        protocols.study({"a": FAST}, SOURCE, other, steps=1, **options)
    adam = jm.learner(
        jm.from_linen(Linear()), jm.supervised(jm.losses.cross_entropy), optax.adam(0.1)
    )
    with pytest.raises(ValueError, match="another network or other settings"):
        protocols.study({"a": adam}, SOURCE, SPLITS, steps=1, **options)
    protocols.study({"a": adam}, SOURCE, SPLITS, steps=2, resume=False, **options)
    record = next((tmp_path / "replicates").glob("a-r0-f1*"))
    record.write_bytes(b"half a record")
    with pytest.raises(data.DataError, match=r"a-r0-f1-s0.npz.*delete it to train anew"):
        protocols.study({"a": adam}, SOURCE, SPLITS, steps=2, **options)


def _two(**change):
    """Two trainings of one step, as cheap as a record can be."""
    options = {"steps": 1, "size": 8, "progress": False}
    given = {"arms": {"a": SLOW}, "data": SOURCE, "splits": SPLITS[:2], **options, **change}
    return protocols.study(given.pop("arms"), given.pop("data"), given.pop("splits"), **given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arms": {"a": make(0.5)}}, "another learner.*learning rate was 0.02 and is 0.5 now"),
        ({"arms": {"a": make(0.02, 0.1)}}, "another learner.*the learner's step was another"),
        ({"summary": "none"}, 'summary was "softmax" and is "none"'),
        ({"summary": lambda out, part: out[:, 0]}, "summary was .*lambda"),
        ({"data": data.ArraySource({**SOURCE.arrays, "label": 1 - SOURCE.arrays["label"]},
                                   groups=PATIENT)}, "data was"),
    ],
)  # fmt: skip
def test_what_decides_a_record_is_in_it(tmp_path, change, told):
    kept = _two(out=tmp_path)
    with pytest.raises(ValueError, match=told):
        _two(out=tmp_path, **change)
    again = _two(out=tmp_path, arms={"a": make(0.02)})  # another object of the same learner
    for key, value in kept.outputs.items():
        np.testing.assert_array_equal(again.outputs[key], value)


def test_a_study_is_made_in_parts(tmp_path):
    """By whoever names its trainings; in parts it is not looked at, in the end it is the same."""
    with pytest.raises(ValueError, match="recorded in out="):
        _two(only=[])
    begun = _two(out=tmp_path, only=[])
    assert begun.missing == ("a-r0-f0-s0", "a-r0-f1-s0")
    assert begun.outputs == {}
    part = _two(out=tmp_path, only=["a-r0-f1-s0", "of-another-study"])
    assert part.missing == ("a-r0-f0-s0",)
    assert [*part.outputs] == [("a", 1, 0)]
    for look in (protocols.runs_of, lambda s: protocols.fold_scores(s, auc)):
        with pytest.raises(ValueError, match=r"1 trainings of the study are missing.*a-r0-f0-s0"):
            look(part)
    whole, alone = _two(out=tmp_path, only=["a-r0-f0-s0"]), _two()
    assert whole.missing == ()
    assert not [*tmp_path.glob("claims/*")]
    for key, value in alone.outputs.items():
        np.testing.assert_array_equal(whole.outputs[key], value)


def test_a_choice_has_trainings_once_it_is_made(tmp_path):
    """Of a tuned arm the inner trainings come first, for only they tell which others there are."""
    arm = protocols.tuned({"slow": SLOW, "fast": FAST}, auc, folds=2)
    options = {"arms": {"t": arm}, "splits": SPLITS[:1], "out": tmp_path}
    inner = _two(**options, only=[])
    assert len(inner.missing) == 4
    assert inner.choices == ()
    some = _two(**options, only=inner.missing[:3])
    assert some.missing == inner.missing[3:]
    outer = _two(**options, only=some.missing)
    (choice,) = outer.choices
    assert outer.missing == (f"t~{choice.chosen}-r0-f0-s0",)
    made = _two(**options, only=outer.missing)
    assert made.missing == ()
    assert [*made.outputs] == [("t", 0, 0)]


def test_learners_join_a_folder_of_procedures_and_records_of_earlier_versions_hold(tmp_path):
    told = protocols.Procedure(lambda train, test, seed, out: np.ones((len(test), 2)), {})
    protocols.study({"p": told}, SOURCE, SPLITS[:2], out=tmp_path, progress=False)
    _two(arms={"p": told, "a": SLOW}, out=tmp_path)
    with pytest.raises(ValueError, match="steps was 1 and is 3"):
        _two(arms={"p": told, "a": SLOW}, out=tmp_path, steps=3)
    study_file = tmp_path / "study.json"
    kept = json.loads(study_file.read_text())
    early = {name: kept[name] for name in ("epochs", "steps", "size", "outputs", "cases")}
    study_file.write_text(json.dumps(early))
    _two(out=tmp_path)
    assert json.loads(study_file.read_text()) == kept


def test_runs_join_the_folds_and_the_table_is_tidy(found, tmp_path):
    runs = protocols.runs_of(found)
    assert runs.runs == ((0, 0), (0, 1), (0, 2))
    for at, one in enumerate(SPLITS):
        np.testing.assert_array_equal(
            runs.outputs["slow"][2][one.test], found.outputs["slow", at, 2]
        )
    written = protocols.write_study(found, tmp_path / "p.csv")
    rows = [*csv.DictReader(written.read_text().splitlines())]
    assert len(rows) == 2 * 3 * N
    some = [r for r in rows if (r["arm"], r["seed"]) == ("fast", "1")]
    assert {r["case"] for r in some} == {str(i) for i in range(N)}
    by_hand = sk.roc_auc_score(
        [int(r["label"]) for r in some], [float(r["output_1"]) for r in some]
    )
    assert by_hand == pytest.approx(auc(Y, runs.outputs["fast"][1]))
    assert all(r["group"] == f"p{int(r['case']) // 2}" for r in rows)


def test_arms_are_compared_by_the_corrected_test(found):
    (test,) = protocols.compare_arms(found, auc)
    scores = protocols.fold_scores(found, auc)
    by_hand = stats.corrected_t_test(scores["fast"].mean(1), scores["slow"].mean(1), ratio=10 / 30)
    assert test.test.p_value == pytest.approx(by_hand.p_value)
    assert test.test.effect == pytest.approx((scores["fast"] - scores["slow"]).mean())
    assert test.adjusted == test.test.p_value


def test_the_variances_of_seeds_and_cases_are_apart(found):
    estimates = protocols.components(found, auc, n_resamples=40)
    runs = protocols.runs_of(found)
    values = [auc(Y, p) for p in runs.outputs["fast"]]
    made = estimates["fast"]
    assert made.value == pytest.approx(np.mean(values))
    assert made.details["seed_sd"] == pytest.approx(np.std(values, ddof=1))
    assert made.unit == "patient"
    assert made.n == N // 2
    assert made.se**2 == pytest.approx(
        made.details["sampling_sd"] ** 2 + made.details["seed_sd"] ** 2 / 3
    )


def test_a_training_that_diverges_is_a_failure_and_the_study_goes_on():
    wild = make(float("inf"))
    for strategy in ("sequential", "vmap"):
        made = protocols.study(
            {"good": SLOW, "wild": wild}, SOURCE, SPLITS[:2], seeds=2, steps=4, size=8,
            strategy=strategy, progress=False,
        )  # fmt: skip
        assert {f.arm for f in made.failures} == {"wild"}
        assert len(made.failures) == 4
        told = "at step 0 .* no longer be finite|not finite at step 0"
        assert re.search(told, made.failures[0].why)
        assert len(made.outputs) == 4
        assert np.isnan(protocols.fold_scores(made, auc)["wild"]).all()


def test_what_is_chosen_is_chosen_inside_the_training_part():
    seen = []

    def spy(y, p):
        seen.append(y)
        return auc(y, p)

    arm = protocols.tuned({"useless": make(0.0), "slow": SLOW, "fast": FAST}, spy, folds=3)
    made = protocols.study(
        {"tuned": arm, "fast": FAST}, SOURCE, SPLITS, epochs=2, size=8, progress=False
    )
    assert len(made.choices) == 4
    assert made.trials == {"tuned": 3, "fast": 1}
    assert all(len(y) < 30 for y in seen)
    for choice in made.choices:
        assert set(choice.scores) == {"useless", "slow", "fast"}
        assert choice.chosen == max(choice.scores, key=lambda c: np.mean(choice.scores[c]))
    at = next(c for c in made.choices if c.chosen == "fast")
    np.testing.assert_array_equal(  # trained again on the whole part: the plain arm's training
        made.outputs["tuned", at.fold, 0], made.outputs["fast", at.fold, 0]
    )


def test_labels_of_the_test_part_cannot_change_a_choice():
    changed = Y.copy()
    changed[SPLITS[0].test] = 1 - changed[SPLITS[0].test]
    other = data.ArraySource(
        {"image": SOURCE.arrays["image"], "label": changed.astype(np.int32)}, groups=PATIENT
    )
    arm = protocols.tuned({"slow": SLOW, "fast": FAST}, auc, folds=2)
    nested = protocols.nested(SOURCE, 4, 2, stratify="label")
    first, second = (
        protocols.study({"t": arm}, s, nested[:1], epochs=1, size=8, progress=False)
        for s in (SOURCE, other)
    )
    np.testing.assert_array_equal(nested[0].test, SPLITS[0].test)
    assert first.choices
    assert first.choices == second.choices


def test_the_simplest_within_one_standard_error_is_chosen():
    arm = protocols.tuned(
        {"big": FAST, "small": SLOW}, auc, rule="one-standard-error",
        complexity={"big": 2, "small": 1},
    )  # fmt: skip
    from jaxmed.protocols.studies._tuned import choose

    scores = {"big": [0.80, 0.90, 0.85], "small": [0.79, 0.88, 0.84]}
    assert choose(arm, scores) == "small"
    assert choose(arm._replace(rule="best"), scores) == "big"
    assert choose(arm, scores | {"small": [0.9, float("nan"), 0.9]}) == "big"
    with pytest.raises(ValueError, match="failed on an inner fold"):
        choose(arm, {"big": [float("nan")] * 3, "small": [float("nan")] * 3})


def test_a_summary_of_ones_own_is_kept():
    def right(logits, examples):
        return (logits.argmax(-1) == examples["label"]).astype(float)

    made = protocols.study(
        {"a": FAST}, SOURCE, SPLITS, epochs=1, size=8, summary=right, progress=False
    )
    assert all(v.shape == (len(SPLITS[k[1]].test),) for k, v in made.outputs.items())
    columns = protocols.study_table(made)
    assert set(columns["output"]) <= {0.0, 1.0}


def test_bad_studies_are_refused_by_name():
    base = {"steps": 1, "size": 8, "progress": False}
    leak = [protocols.Split(np.arange(0, 21), np.arange(21, 40))]
    for arms, splits, options, error, message in (
        ({"a": FAST}, SPLITS, {"epochs": 1}, ValueError, "either epochs or steps"),
        ({}, SPLITS, {}, ValueError, "an arm, a split and a seed"),
        ({"a": FAST}, SPLITS, {"seeds": (1, 1)}, ValueError, "each seed once"),
        ({"a": FAST}, SPLITS * 2, {}, ValueError, "two splits are repeat 0, fold 0"),
        ({"a": FAST}, leak, {}, data.DataError, "p10 is in both"),
        ({"a": FAST}, SPLITS, {"label": "mask"}, KeyError, "no array 'mask'"),
        ({"a": FAST}, SPLITS, {"strategy": "scan"}, ValueError, "unknown strategy"),
        ({"a": FAST}, SPLITS, {"summary": "argmax"}, ValueError, "summary is softmax"),
    ):
        with pytest.raises(error, match=message):
            protocols.study(arms, SOURCE, splits, **(base | options))
    with pytest.raises(ValueError, match="at least 2 candidates"):
        protocols.tuned({"a": FAST}, auc)
    with pytest.raises(ValueError, match="complexity of 'b'"):
        protocols.tuned({"a": 1, "b": 2}, auc, rule="one-standard-error", complexity={"a": 1})
    few = protocols.study({"a": FAST}, SOURCE, protocols.monte_carlo(SOURCE, 2), **base)
    with pytest.raises(ValueError, match="does not test each of 40 cases once"):
        protocols.runs_of(few)
    with pytest.raises(ValueError, match="needs 2 arms"):
        protocols.compare_arms(few, auc)


def test_the_ledger_counts_looks_and_overlaps(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    names = [f"c{i}" for i in range(6)]
    assert protocols.open_test(path, names, [0, 1] * 3, why="first").count == 1
    again = protocols.open_test(path, names[::-1], [1, 0] * 3, why="second")
    assert again.count == 2
    assert "opened 2 times" in again.notes[0]
    other = protocols.open_test(path, [*names[:3], "new"], [0, 1, 0, 1], why="third")
    assert other.count == 1
    assert "3 of its cases" in other.notes[0]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 3
    with pytest.raises(data.DataError, match="'a' comes twice"):
        protocols.open_test(path, ["a", "a"], why="x")
    path.write_text("no json\n")
    with pytest.raises(data.DataError, match="line 1 is not a record"):
        protocols.open_test(path, names, why="x")


@pytest.mark.parametrize("strategy", ["sequential", "vmap"])
def test_all_trainings_of_an_arm_are_one_compiled_program(strategy):
    traced = []
    base = make()

    def step(state, batch):
        traced.append(1)
        return base.step(state, batch)

    arm = base._replace(step=step)
    protocols.study(
        {"a": arm}, SOURCE, SPLITS, seeds=4, steps=6, size=8, strategy=strategy, width=8,
        progress=False,
    )  # fmt: skip
    assert len(traced) == 1


def test_a_procedure_is_an_arm_with_records_failures_and_a_folder_of_its_own(tmp_path):
    calls = []

    def run(train, test, seed, out):
        calls.append((len(train), seed))
        assert not [*out.iterdir()] or (out / "half").exists()
        if len(calls) == 2:  # killed half way
            (out / "half").touch()
            raise KeyboardInterrupt
        if len(calls) == 4:
            raise jm.train.NonFiniteLossError(3, {"loss": np.inf}, ("a",), None, None)
        return Y[test] + 0.5

    def made(settings):
        arms = {"own": protocols.Procedure(run, settings)}
        cases = data.ArraySource({"position": np.arange(N)}, groups=PATIENT)
        return protocols.study(arms, cases, SPLITS, seeds=1, out=tmp_path, progress=False)

    with pytest.raises(KeyboardInterrupt):
        made({"rate": 1})
    assert [path.name for path in (tmp_path / "running").iterdir()] == ["own-r0-f1-s0"]
    found = made({"rate": 1})
    assert len(calls) == 1 + len(SPLITS)  # the cut one twice, the first one once
    assert calls[1] == calls[2]
    (why,) = [failure.why for failure in found.failures]
    assert "step 3" in why
    assert "the loss is inf" in why
    np.testing.assert_array_equal(found.outputs["own", 0, 0], Y[SPLITS[0].test] + 0.5)
    assert not [*(tmp_path / "running").iterdir()]
    assert np.isnan(found.labels).all()
    with pytest.raises(ValueError, match="other settings"):
        made({"rate": 2})
    short = protocols.Procedure(lambda train, test, seed, out: np.zeros(2))
    with pytest.raises(ValueError, match=r"gave the shape \(2,\) for"):
        protocols.study({"own": short}, {"position": Y}, SPLITS, progress=False)
