"""Models compared: against the tests called by hand, scikit-learn, and what a page must say."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from sklearn import metrics as sk

from jaxmed import report, stats

RNG = np.random.default_rng(1)
N = 90
PATIENT = np.repeat(np.arange(N // 2), 2)
Y = RNG.integers(0, 2, N // 2)[PATIENT]
MODELS = {
    name: np.clip(RNG.normal(0.35 + gap * Y, 0.2), 0.001, 0.999)
    for name, gap in (("good", 0.4), ("fair", 0.25), ("poor", 0.0))
}


@pytest.fixture(scope="module")
def binary():
    return report.compare(Y, MODELS, n_resamples=200)


def test_each_pair_is_tested_and_corrected_as_by_hand(binary):
    found = {(c.metric, c.first, c.second): c for c in binary.comparison.contrasts}
    pairs = [("good", "fair"), ("good", "poor"), ("fair", "poor")]
    assert {key[1:] for key in found} == set(pairs)
    for a, b in pairs:
        test = found["auc", a, b].test
        assert test.p_value == pytest.approx(stats.delong_test(Y, MODELS[a], MODELS[b]).p_value)
        gap = sk.roc_auc_score(Y, MODELS[a]) - sk.roc_auc_score(Y, MODELS[b])
        assert test.effect == pytest.approx(gap)
        right = [(MODELS[m] >= 0.5) == Y for m in (a, b)]
        by_hand = stats.mcnemar_test(*(r.astype(int) for r in right))
        assert found["accuracy", a, b].test.p_value == pytest.approx(by_hand.p_value)
        brier = sk.brier_score_loss(Y, MODELS[a]) - sk.brier_score_loss(Y, MODELS[b])
        assert found["brier", a, b].test.effect == pytest.approx(brier)
    p = [c.test.p_value for c in binary.comparison.contrasts]
    np.testing.assert_allclose(
        [c.adjusted for c in binary.comparison.contrasts], stats.adjust_p_values(p, method="holm")
    )


def test_the_family_of_the_correction_is_the_callers():
    made = report.compare(
        Y, MODELS, metrics=["auc", "brier"], adjustment="bonferroni", family="metric",
        n_resamples=100,
    )  # fmt: skip
    for c in made.comparison.contrasts:
        assert c.adjusted == pytest.approx(min(1, 3 * c.test.p_value))
    assert "Bonferroni" in report.html(made)


@pytest.mark.parametrize("groups", [None, PATIENT])
def test_every_test_of_every_task_runs_and_agrees_with_the_estimates(groups):
    three = RNG.integers(0, 3, N)
    logits = {m: RNG.normal(size=(N, 3)) + g * np.eye(3)[three] for m, g in (("a", 2), ("b", 1))}
    probs = {m: np.exp(v) / np.exp(v).sum(1, keepdims=True) for m, v in logits.items()}
    number = {m: three + RNG.normal(0, s, N) for m, s in (("a", 0.5), ("b", 1.0))}
    many = np.stack([Y, three > 1], 1).astype(int)
    labels = {m: np.clip(RNG.normal(0.3 + g * many, 0.3), 0, 1) for m, g in (("a", 0.4), ("b", 0))}
    two = {m: MODELS[m] for m in ("good", "poor")}
    for task, y, scores in (
        ("binary", Y, two), ("multi-class", three, probs), ("ordinal", three, probs),
        ("multi-label", many, labels), ("regression", three.astype(float), number),
    ):  # fmt: skip
        made = report.compare(y, scores, task=task, groups=groups, n_resamples=100)
        a, b = made.comparison.models.values()
        assert made.comparison.contrasts
        for c in made.comparison.contrasts:
            assert 0 <= c.test.p_value <= c.adjusted <= 1
            assert c.test.unit == ("case" if groups is None else "patient"), c.metric
            low, high = c.test.interval
            assert low <= c.test.effect <= high, (task, c.metric)
            if c.metric in a:
                assert c.test.effect == pytest.approx(a[c.metric].value - b[c.metric].value), c


def test_masks_are_compared_case_by_case():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (8, 6, 6, 4))
    made = {}
    for name, wrong in (("a", 0.1), ("b", 0.3)):
        masks = np.where(rng.random(truth.shape) < wrong, 0, truth)
        pairs = [(f"c{i}", t, p, (1.0, 1.0, 2.0)) for i, (t, p) in enumerate(zip(truth, masks))]
        made[name] = report.overlap(pairs, classes=["x", "y"])
    found = report.compare_segmentations(made, classes=["x", "y"], n_resamples=100)
    names = {c.metric for c in found.comparison.contrasts}
    assert {"dice", "dice/x", "dice/y", "hd95", "hd95/x"} <= names
    dice = next(c for c in found.comparison.contrasts if c.metric == "dice")
    gap = made["a"].values["dice"].mean() - made["b"].values["dice"].mean()
    assert dice.test.effect == pytest.approx(gap)
    assert dice.test.p_value == pytest.approx(2 / 2**8)  # better in all of eight cases
    assert "HD95" in report.html(found)


def test_a_distance_of_an_empty_mask_is_told_and_left_out():
    one = np.zeros((5, 5), int)
    two = one.copy()
    one[1:3, 1:3] = two[1:3, 2:4] = 1
    pairs = [("a", one, two, (2.0, 2.0)), ("b", one, one, (2.0, 2.0)), ("c", one, 0 * one, (1, 1))]
    found = report.segmentation(pairs, classes=["x"])
    assert found.metrics["hd95"].value == pytest.approx(1.0)  # 2 mm, 0 mm
    assert found.metrics["hd95"].n == 2
    assert any("hd95: infinite in 1 of 3 cases" in note for note in found.notes)
    assert found.metrics["dice"].value == pytest.approx((0.5 + 1 + 0) / 3)


def test_rows_that_share_patients_are_warned_of_beside_every_number():
    three = np.arange(N) % 3
    noisy = RNG.dirichlet(np.ones(3), N)
    tasks = (
        ("binary", Y, MODELS["good"]), ("multi-class", three, noisy), ("ordinal", three, noisy),
        ("multi-label", np.stack([Y, 1 - Y], 1), np.stack([MODELS["good"], MODELS["fair"]], 1)),
        ("regression", Y.astype(float), MODELS["good"]),
    )  # fmt: skip
    for task, y, s in tasks:
        found = report.classification(y, s, task=task, patients=PATIENT)
        for name, estimate in found.metrics.items():
            assert any("counted as independent" in note for note in estimate.notes), name
        kept = report.warn_of_repeats(
            report.classification(y, s, task=task, groups=PATIENT), PATIENT
        )
        for name, estimate in kept.metrics.items():
            assert not any("counted as independent" in note for note in estimate.notes), name
    both = report.warn_of_repeats(report.compare(Y, MODELS, n_resamples=50), PATIENT)
    for c in both.comparison.contrasts:
        assert any("counted as independent" in note for note in c.test.notes), c.metric
    for metrics in both.comparison.models.values():
        assert all(any("independent" in n for n in e.notes) for e in metrics.values())


def test_subgroups_of_every_model_are_estimates_on_their_cases(binary):
    sex = np.where(np.arange(N) % 4 < 2, "f", "m")
    ages = np.linspace(20, 80, N)
    found = report.with_subgroups(binary, {"sex": sex, "age": ages}, n_resamples=60)
    keys = {(t.model, t.column, t.metric) for t in found.subgroups}
    assert ("poor", "sex", "auc") in keys
    assert ("good", "age", "sensitivity") in keys
    table = next(
        t for t in found.subgroups if (t.model, t.column, t.metric) == ("good", "sex", "auc")
    )
    for name, estimate in table.found.estimates.items():
        rows = sex == name
        assert estimate.value == pytest.approx(sk.roc_auc_score(Y[rows], MODELS["good"][rows]))
    f, m = table.found.differences.values()
    assert f.p_value == pytest.approx(m.p_value)  # two subgroups are one test
    assert f.p_value == pytest.approx(f.details["unadjusted"])
    rows = [*csv.DictReader(io.StringIO(report.metrics_csv(found)))]
    assert {r["subgroup"] for r in rows if r["column"] == "sex"} == {"f", "m"}
    assert len({r["subgroup"] for r in rows if r["column"] == "age"}) == 3


def test_a_subgroup_without_spread_is_tested_by_permutation():
    y = np.ones(40, int)
    called = (np.arange(40) < 20).astype(int)
    found = stats.subgroups(stats.accuracy, y, called, np.arange(40) < 20, n_resamples=50)
    assert found.gap.value == 1
    assert all(t.p_value < 0.01 for t in found.differences.values())
    assert any("permutation" in note for note in found.notes)


def test_what_is_written_says_the_same_thrice(binary, tmp_path):
    written = report.write(binary, tmp_path)
    record = json.loads(written.metrics.read_text())
    rows = [*csv.DictReader(written.comparison.read_text().splitlines())]
    assert len(rows) == len(record["comparisons"]) == len(binary.comparison.contrasts)
    for row, kept in zip(rows, record["comparisons"]):
        assert float(row["p_adjusted"]) == pytest.approx(kept["p_adjusted"], rel=1e-4)
        assert row["adjustment"] == "holm"
    page = written.report.read_text()
    for figure in ("ROC of each model", "Calibration of each model", "Decision curve"):
        assert figure in page
    estimates = [*csv.DictReader(written.table.read_text().splitlines())]
    assert {row["model"] for row in estimates} == set(MODELS)
    assert all(row["unit"] and row["method"] and row["n"] for row in estimates)


def test_bad_comparisons_are_refused_by_name():
    with pytest.raises(ValueError, match="at least 2 models, but there is 1"):
        report.compare(Y, {"a": MODELS["good"]})
    with pytest.raises(ValueError, match="model b: "):
        report.compare(Y, {"a": MODELS["good"], "b": MODELS["good"][:-1]})
    with pytest.raises(ValueError, match="no test of 'dice'"):
        report.compare(Y, MODELS, metrics=["dice"])
    with pytest.raises(ValueError, match="family is one of all, metric"):
        report.compare(Y, MODELS, family="none")
    with pytest.raises(ValueError, match="holms"):
        report.compare(Y, MODELS, adjustment="holms")
    first = report.overlap([("a", [1, 0], [1, 0]), ("b", [1, 1], [0, 1])], classes=["x"])
    other = first._replace(cases=["b", "a"])
    with pytest.raises(ValueError, match="other cases, or another order"):
        report.compare_segmentations({"m": first, "n": other}, classes=["x"])
