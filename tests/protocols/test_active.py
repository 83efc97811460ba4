"""Acquisitions by their formulas, rounds that are cut anywhere, curves of labels."""

from __future__ import annotations

import functools
import itertools
import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmed import protocols as pr
from jaxmed.bayes import decompose
from jaxmed.core import stream
from jaxmed.protocols.active import _uncertain
from jaxmed.protocols.active._uncertain import mutual_information
from jaxmed.quantities import auc

KEY = jax.random.key(0)
ASKED = {
    "random": pr.ask_random,
    "least confident": pr.ask_least_confident,
    "margin": pr.ask_margin,
    "entropy": pr.ask_entropy,
    "bald": pr.ask_bald,
    "committee": pr.ask_committee,
    "power bald": pr.ask_power_bald,
    "batch bald": pr.ask_batch_bald,
    "core set": pr.ask_core_set,
    "badge": pr.ask_badge,
    "typical": pr.ask_typical,
    "mixed": pr.ask_mixed((pr.ask_entropy, 1), (pr.ask_core_set, 2)),
}


def pool(seed=0, samples=6, cases=20, classes=3, labelled=3):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), size=(samples, cases))
    return pr.pool_of(p, rng.normal(size=(cases, 4)), rng.normal(size=(labelled, 4)))


@pytest.mark.parametrize("name", ASKED)
def test_an_acquisition_asks_for_different_cases_of_the_pool(name):
    ask, given = ASKED[name], pool()
    for n in (1, 7, 20):
        found = ask(KEY, given, n)
        assert found.shape == (n,)
        assert len(set(found.tolist())) == n
        assert found.min() >= 0
        assert found.max() < 20
        np.testing.assert_array_equal(found, ask(KEY, given, n))
    for n in (0, 21):
        with pytest.raises(ValueError, match=r"n must be|the pool has 20"):
            ask(KEY, given, n)


@pytest.mark.parametrize("name", ["entropy", "bald", "badge", "core set", "typical"])
def test_copies_of_one_case_are_no_obstacle(name):
    same = pr.pool_of(np.full((2, 5, 2), 0.5), np.ones((5, 3)), np.ones((1, 3)))
    assert sorted(ASKED[name](KEY, same, 5).tolist()) == [0, 1, 2, 3, 4]


def test_scores_of_doubt_are_their_formulas():
    given = pool()
    p = given.samples.mean(0)
    ordered = np.sort(p, axis=1)
    scores = {
        "least confident": 1 - p.max(1),
        "margin": ordered[:, -2] - ordered[:, -1],
        "entropy": -(p * np.log(p)).sum(1),
        "bald": decompose(given.samples).epistemic,
    }
    for name, score in scores.items():
        np.testing.assert_array_equal(ASKED[name](KEY, given, 20), np.argsort(-score), name)
    votes = np.stack([np.bincount(v, minlength=3) for v in given.samples.argmax(-1).T]) / 6
    entropy = -(votes * np.log(np.maximum(votes, 1e-300))).sum(1)
    found = entropy[ASKED["committee"](KEY, given, 20)]
    np.testing.assert_allclose(found, np.sort(entropy)[::-1])


def joint_information(samples, chosen):
    """I(y_1, ..., y_b; parameters), over all configurations of the classes."""
    classes = samples.shape[2]
    joint = 0.0
    for labels in itertools.product(range(classes), repeat=len(chosen)):
        p = np.prod([samples[:, i, c] for i, c in zip(chosen, labels, strict=True)], axis=0).mean()
        joint -= p * np.log(p)
    inside = -(samples[:, chosen] * np.log(samples[:, chosen])).sum(-1).mean(0).sum()
    return joint - inside


@given(st.integers(0, 2**16))
def test_batch_bald_takes_the_case_of_largest_joint_information(seed):
    given = pool(seed, cases=7, classes=2)
    found = pr.ask_batch_bald(KEY, given, 4).tolist()
    for k in range(4):
        gains = {
            i: joint_information(given.samples, [*found[:k], i])
            for i in range(7)
            if i not in found[:k]
        }
        assert gains[found[k]] >= max(gains.values()) - 1e-9
    assert found[0] == pr.ask_bald(KEY, given, 1)[0]


def test_batch_bald_beyond_what_can_be_listed_is_near_to_it(monkeypatch):
    given = pool(3, samples=5, cases=9, classes=2)
    exact = pr.ask_batch_bald(KEY, given, 5).tolist()
    monkeypatch.setattr(_uncertain, "_CONFIGURATIONS", 8)
    few = pr.ask_batch_bald(KEY, given, 5).tolist()
    assert len(set(few)) == 5
    monkeypatch.undo()
    drawn = _uncertain._Drawn(np.ones((20_000, 5)), np.arange(20_000) % 5)
    rng = np.random.default_rng(0)
    for i in range(3):
        drawn = drawn.extended(given.samples, exact[: i + 1], rng)
    entropies = drawn.entropies(given.samples)
    for i in range(9):
        if i in exact[:3]:
            continue
        chosen = [*exact[:3], i]
        inside = (
            -(given.samples[:, chosen] * np.log(given.samples[:, chosen])).sum(-1).mean(0).sum()
        )
        wanted = joint_information(given.samples, chosen) + inside
        np.testing.assert_allclose(entropies[i], wanted, atol=0.02)


def test_copies_tell_nothing_new_and_batch_bald_knows():
    given = pool(1, cases=8, classes=2)
    twice = np.repeat(given.samples[:, :4], 2, axis=1)
    found = pr.ask_batch_bald(KEY, pr.pool_of(twice), 2)
    alone = pr.ask_bald(KEY, pr.pool_of(twice), 2)
    assert len(set((alone // 2).tolist())) == 1
    assert len(set((found // 2).tolist())) == 2


def test_power_draws_by_information():
    given = pool(2, cases=4)
    share = mutual_information(given)
    share = share / share.sum()
    first = [int(pr.ask_power_bald(jax.random.key(i), given, 1)[0]) for i in range(1500)]
    np.testing.assert_allclose(np.bincount(first, minlength=4) / 1500, share, atol=0.05)


@given(st.integers(0, 2**16))
def test_a_core_set_is_at_most_twice_the_best_cover(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(9, 1))
    found = pr.ask_core_set(KEY, pr.pool_of(features=x, labelled=x[:1] + 0.01), 2)
    centres = np.concatenate([x[:1] + 0.01, x[found]])
    reach = lambda c: np.abs(x - c.T).min(1).max()  # noqa: E731
    best = min(
        reach(np.concatenate([x[:1] + 0.01, x[list(pair)]]))
        for pair in itertools.combinations(range(9), 2)
    )
    assert reach(centres) <= 2 * best + 1e-9


def test_badge_draws_by_distances_of_gradients():
    given = pool(4, samples=1, cases=6)
    p = given.samples[0]
    gradients = ((p - np.eye(3)[p.argmax(1)])[:, :, None] * given.features[:, None]).reshape(6, -1)
    first = int(np.argmax((gradients**2).sum(1)))
    distance = ((gradients - gradients[first]) ** 2).sum(1)
    second = []
    for i in range(1500):
        found = pr.ask_badge(jax.random.key(i), given, 2)
        assert found[0] == first
        second.append(int(found[1]))
    np.testing.assert_allclose(np.bincount(second, minlength=6) / 1500, distance / distance.sum(),
                               atol=0.05)  # fmt: skip


def test_typical_cases_are_of_different_kinds_and_no_outliers():
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 3
    x = 20 * rng.normal(size=(3, 2))[kind] + rng.normal(size=(60, 2))
    x[57:] += 6  # outliers of each kind
    found = pr.ask_typical(KEY, pr.pool_of(features=x), 3)
    assert sorted(kind[found].tolist()) == [0, 1, 2]
    assert found.max() < 57
    more = pr.ask_typical(KEY, pr.pool_of(features=x, labelled=x[kind == 0][:1]), 2)
    assert sorted(kind[more].tolist()) == [1, 2]


TRUTH = (np.arange(30) % 3 == 0).astype(int)
X = np.random.default_rng(0).normal(size=(30, 2)) + 1.5 * TRUTH[:, None]
NAMES = [f"case {i}" for i in range(30)]


def train(rows, labels, number):
    means = np.stack([X[rows][labels == c].mean(0) if (labels == c).any() else X.mean(0)
                      for c in (0, 1)])  # fmt: skip

    def look(at):
        z = -((X[at][:, None] - means) ** 2).sum(-1)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return {"samples": np.stack([p, p**2 / (p**2).sum(1, keepdims=True)]), "features": X[at]}

    return look


OPTIONS = {
    "acquire": pr.ask_entropy,
    "oracle": lambda rows: TRUTH[rows],
    "classes": 2,
    "rounds": 4,
    "per_round": 2,
    "start": 4,
    "measure": lambda look, number: {
        "auc": auc(TRUTH == 1, np.mean(look(np.arange(30))["samples"], 0)[:, 1])
    },
}


def same(one, other):
    assert len(one.rounds) == len(other.rounds)
    for a, b in zip(one.rounds, other.rounds, strict=True):
        np.testing.assert_array_equal(a.asked, b.asked)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.measured == b.measured
    np.testing.assert_array_equal(one.rows, other.rows)


@pytest.mark.parametrize("name", ASKED)
def test_rounds_label_what_they_ask_for(name):
    run = pr.active_rounds(train, NAMES, **{**OPTIONS, "acquire": ASKED[name]})
    assert [r.labelled for r in run.rounds] == [4, 6, 8, 10, 12]
    assert len(set(run.rows.tolist())) == 12
    np.testing.assert_array_equal(run.labels, TRUTH[run.rows])
    assert all(0 <= r.measured["auc"] <= 1 for r in run.rounds)
    assert repr(run) == "ActiveRun of 5 rounds, 12 cases labelled"


@pytest.mark.parametrize("where", ["oracle", "train", "measure"])
@pytest.mark.parametrize("at", range(5))
def test_a_run_that_is_cut_anywhere_ends_as_the_whole_one(tmp_path, where, at):
    whole = pr.active_rounds(train, NAMES, **OPTIONS)
    calls = {"oracle": 0, "train": 0, "measure": 0}
    asked = []

    def counted(what, function):
        def call(*arguments):
            calls[what] += 1
            if what == where and calls[what] == at + 1:
                raise KeyboardInterrupt
            if what == "oracle":
                asked.extend(arguments[0].tolist())
            return function(*arguments)

        return call

    options = {**OPTIONS, "out": tmp_path}
    for name in ("oracle", "measure"):
        options[name] = counted(name, OPTIONS[name])
    with pytest.raises(KeyboardInterrupt):
        pr.active_rounds(counted("train", train), NAMES, **options)
    again = pr.active_rounds(counted("train", train), NAMES, **options)
    same(again, whole)
    assert len(asked) == len(set(asked)) == 12, "a label was asked for twice"
    same(pr.active_rounds(counted("train", train), NAMES, **options), whole)


def test_a_finished_run_is_extended(tmp_path):
    short = {**OPTIONS, "rounds": 2, "out": tmp_path}
    pr.active_rounds(train, NAMES, **short)
    same(pr.active_rounds(train, NAMES, **{**OPTIONS, "out": tmp_path}),
         pr.active_rounds(train, NAMES, **OPTIONS))  # fmt: skip
    with pytest.raises(ValueError, match="other per_round, seed"):
        pr.active_rounds(train, NAMES, **{**OPTIONS, "out": tmp_path, "seed": 1, "per_round": 3})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"acquire": pr.ask_margin}, r"acquire \(ask_entropy, not ask_margin\)"),
        ({"acquire": pr.ask_mixed((pr.ask_entropy, 1))}, r"acquire \(ask_entropy, not ask_mixed"),
        ({"begin": pr.ask_typical}, r"begin \(ask_random, not ask_typical\)"),
        ({"features": X + 1}, "other features"),
        ({"features": None}, "other features"),
        ({"costs": np.ones(30)}, "other costs"),
        ({"groups": NAMES}, "other groups, patients"),
        ({"classes": 3}, "other classes"),
        ({"start": [0, 1, 2, 3]}, "other start, begin"),
    ],
)
def test_a_folder_is_of_one_strategy(tmp_path, change, told):
    options = {**OPTIONS, "rounds": 1, "features": X, "out": tmp_path}
    pr.active_rounds(train, NAMES, **options)
    with pytest.raises(ValueError, match=told):
        pr.active_rounds(train, NAMES, **{**options, **change})
    nearly = {**options, "features": X * (1 + 1e-12)}  # as another machine may round them
    same(pr.active_rounds(train, NAMES, **nearly), pr.active_rounds(train, NAMES, **options))


def test_what_was_given_and_is_not_any_more_is_told(tmp_path):
    given = {"costs": np.ones(30), "groups": [f"p{i // 2}" for i in range(30)]}
    options = {**OPTIONS, "rounds": 1, "out": tmp_path}
    pr.active_rounds(train, NAMES, **options, **given)
    with pytest.raises(ValueError, match="other costs"):
        pr.active_rounds(train, NAMES, **options, groups=given["groups"])
    others = {**given, "groups": [f"p{i // 3}" for i in range(30)]}
    with pytest.raises(ValueError, match="other costs, patients"):
        pr.active_rounds(train, NAMES, **options, **others)


def test_mixtures_are_told_apart_by_their_parts_and_shares(tmp_path):
    half = pr.ask_mixed((pr.ask_entropy, 1), (pr.ask_random, 1))
    options = {**OPTIONS, "rounds": 1, "acquire": half, "out": tmp_path}
    pr.active_rounds(train, NAMES, **options)
    pr.active_rounds(train, NAMES, **options)
    for other in (
        pr.ask_mixed((pr.ask_entropy, 1), (pr.ask_random, 2)),
        pr.ask_mixed((pr.ask_margin, 1), (pr.ask_random, 1)),
        functools.partial(half),
        lambda key, pool, n: pr.ask_entropy(key, pool, n),
    ):
        with pytest.raises(ValueError, match="other acquire"):
            pr.active_rounds(train, NAMES, **{**options, "acquire": other})


def test_a_record_of_an_earlier_version_goes_on_and_a_measure_may_come_later(tmp_path):
    options = {**OPTIONS, "rounds": 1, "out": tmp_path}
    pr.active_rounds(train, NAMES, **{**options, "measure": None})
    path = tmp_path / "active.json"
    record = json.loads(path.read_text())
    for name in ("acquire", "begin", "features", "patients", "costs"):
        del record["settings"][name]
    path.write_text(json.dumps(record))
    same(pr.active_rounds(train, NAMES, **options),
         pr.active_rounds(train, NAMES, **{**options, "out": None}))  # fmt: skip
    assert json.loads(path.read_text())["settings"]["acquire"] == "ask_entropy"


def test_patients_are_asked_for_whole():
    groups = [f"patient {i // 3}" for i in range(30)]
    run = pr.active_rounds(train, NAMES, **{**OPTIONS, "start": 2, "rounds": 3}, groups=groups)
    assert [r.labelled for r in run.rounds] == [6, 12, 18, 24]
    for one in run.rounds:
        assert all(len(set(np.array(groups)[one.asked[i : i + 3]])) == 1
                   for i in range(0, len(one.asked), 3))  # fmt: skip


def test_a_start_may_be_given_or_typical():
    given = pr.active_rounds(train, NAMES, **{**OPTIONS, "start": [3, 7], "rounds": 0})
    assert given.rows.tolist() == [3, 7]
    options = {**OPTIONS, "begin": pr.ask_typical, "features": X, "rounds": 0}
    found = pr.active_rounds(train, NAMES, **options)
    np.testing.assert_array_equal(
        found.rows,
        pr.ask_typical(
            stream(KEY, "round", 0),
            pr.pool_of(features=X), 4,
        ),
    )  # fmt: skip


def test_answers_may_come_from_a_table():
    table = {name: int(label) for name, label in zip(NAMES, TRUTH, strict=True)}
    options = {**OPTIONS, "oracle": pr.table_oracle(table, NAMES)}
    same(pr.active_rounds(train, NAMES, **options), pr.active_rounds(train, NAMES, **OPTIONS))
    with pytest.raises(KeyError, match="no label yet of 2 cases that are asked for"):
        pr.table_oracle({}, NAMES)(np.array([0, 1]))


def test_curves_are_paired_by_seed_and_case():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    noise = rng.normal(size=(3, 4, 40))
    rounds = np.arange(4)[None, :, None]
    outputs = {
        "random": y * (0.5 + 0.5 * rounds) + noise,
        "better": y * (1.5 + 0.5 * rounds) + noise,
    }
    metric = lambda y, x: auc(y == 1, x)  # noqa: E731
    counts = [10, 20, 40, 80]
    found = pr.label_curve(outputs, y, counts, metric)
    values = np.array([[[metric(y, x) for x in run] for run in outputs[n]] for n in outputs])
    areas = np.trapezoid(values, counts, axis=2) / 70
    np.testing.assert_allclose(found.areas["random"].value, areas[0].mean())
    np.testing.assert_allclose(found.gains["better"].value, (areas[1] - areas[0]).mean())
    assert found.gains["better"].lower > 0
    assert found.points["better"][2].value == pytest.approx(values[1, :, 2].mean())
    assert 0 < found.saved["better"] < 1
    same_run = pr.label_curve({"random": outputs["random"], "same": outputs["random"]}, y, counts,
                              metric)  # fmt: skip
    assert same_run.gains["same"].value == 0
    assert "better - random" in repr(found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"oracle": lambda rows: TRUTH[rows] + 5}, "the oracle answered 5 of case|answered 6"),
        ({"oracle": lambda rows: TRUTH[rows] / 2}, "an answer is a class, 0 to 1"),
        ({"oracle": lambda rows: [[1]] * 3 + [[1, 2]]}, "oracle answers must be an array.*lengths"),
        ({"oracle": lambda rows: [1, None, 1, 1]}, "the oracle answered None of case"),
        ({"oracle": lambda rows: ["a"] * 4}, "the oracle answered 'a' of case"),
        ({"acquire": lambda key, pool, n: [[1], [1, 2]]}, "acquisition of round 1 gives must be"),
        ({"start": [[0], [1, 2]]}, "start must be an array of numbers.*lengths"),
        ({"features": [[0.0]] * 29 + [[1.0, 2.0]]}, "features must be an array.*lengths"),
        ({"oracle": lambda rows: [1]}, r"asked for \(4,\) labels and gave \(1,\)"),
        ({"acquire": lambda key, pool, n: np.zeros(n, int)}, "of round 1 gave"),
        ({"acquire": lambda key, pool, n: np.arange(n) + 99}, "outside a pool of 26"),
        ({"rounds": 99}, "more than the 30 cases"),
        ({"start": [0, 0]}, "each once"),
        ({"start": [99]}, "positions from 0 to 29"),
        ({"features": X[:3]}, "features are of 3 cases"),
        ({"per_round": 0}, "per_round"),
    ],
)
def test_mistakes_are_told(change, told):
    with pytest.raises((ValueError, IndexError), match=told):
        pr.active_rounds(train, NAMES, **{**OPTIONS, **change})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: pr.pool_of(), "probabilities or features"),
        (lambda: pr.pool_of([[0.5, 0.9]]), "add up to 1"),
        (lambda: pr.pool_of([[0.5, 0.5]], np.ones((3, 2))), "of 1 cases, features are of 3"),
        (lambda: pr.pool_of(None, np.ones((3, 2)), np.ones((1, 5))), "5 features, the others 2"),
        (lambda: pr.ask_entropy(KEY, pr.pool_of(None, np.ones((3, 2))), 1), "needs probabilities"),
        (lambda: pr.ask_badge(KEY, pr.pool_of([[0.5, 0.5]]), 1), "needs features"),
        (lambda: pr.ask_bald(KEY, pr.pool_of([[0.5, 0.5]]), 1), "several samples"),
        (lambda: pr.ask_mixed(), "shares above 0"),
        (lambda: pr.active_rounds(train, [], **OPTIONS), "one or more names"),
        (lambda: pr.active_rounds(train, ["a", "a"], **OPTIONS), "each once"),
        (lambda: pr.label_curve({}, [0, 1], [1, 2], auc), "none of"),
        (lambda: pr.label_curve({"random": [[[0.0]]]}, [0], [2, 1], auc), "rising"),
        (lambda: pr.label_curve({"random": [[[0.0]]]}, [0], [1, 2], auc), r"\(seeds, 2, 1"),
    ],
)
def test_more_mistakes_are_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def _rounds(**given):
    truth = np.array([0, 0, 0, 1, 1, 1])

    def train(rows, labels, number):
        return given.get("look", lambda at: {"samples": np.full((len(at), 2), 0.5)})

    settings = {
        "acquire": pr.ask_margin, "oracle": lambda rows: truth[rows], "classes": 2, "rounds": 1,
        "per_round": 1, "start": [0, 5],
    } | {k: v for k, v in given.items() if k != "look"}  # fmt: skip
    return pr.active_rounds(train, list("abcdef"), **settings)


@pytest.mark.parametrize("start", [[], [0.7, 5], "ab", [[0, 5]], [True, False]])
def test_a_start_that_is_no_positions_is_refused(start):
    with pytest.raises(ValueError, match="start must be one or more positions"):
        _rounds(start=start)


def test_a_start_may_be_any_whole_number():
    assert len(_rounds(start=np.int64(2)).rows) == 3


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (None, "function from positions"),
        (lambda at: np.full((len(at), 2), 0.5), "is a dict of"),
        (lambda at: {"sample": np.full((len(at), 2), 0.5)}, r"got \['sample'\]"),
        (lambda at: {"samples": np.full((3, 2), 0.5)}, "of 4 cases"),
        (lambda at: {"scores": 0.5}, "of 4 cases"),
    ],
)
def test_a_look_that_sees_nothing_of_the_cases_is_told(look, told):
    with pytest.raises(ValueError, match=told):
        _rounds(look=look)


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_file_that_is_no_record_is_told(tmp_path, text):
    (tmp_path / "active.json").write_text(text)
    with pytest.raises(ValueError, match=r"active\.json is no"):
        _rounds(out=tmp_path)
