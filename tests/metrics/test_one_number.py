"""`metrics` and `stats` give one number for one quantity, and take arguments by one rule each."""

from __future__ import annotations

import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmed import metrics, quantities, stats

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
RAW = {"activation": None}

# One score a case: the metric, and the estimate of (labels, scores).
BINARY = {
    "accuracy": (metrics.accuracy(**RAW), lambda y, p: stats.accuracy(y, p, threshold=0.5)),
    "balanced_accuracy": (
        metrics.balanced_accuracy(**RAW),
        lambda y, p: stats.balanced_accuracy(y, p, threshold=0.5),
    ),
    "precision": (metrics.precision(**RAW), lambda y, p: stats.ppv(y, p, threshold=0.5)),
    "recall": (metrics.recall(**RAW), lambda y, p: stats.sensitivity(y, p, threshold=0.5)),
    "specificity": (
        metrics.specificity(**RAW),
        lambda y, p: stats.specificity(y, p, threshold=0.5),
    ),
    "f1": (metrics.f1(**RAW), lambda y, p: stats.f1(y, p, threshold=0.5)),
    "mcc": (metrics.mcc(**RAW), lambda y, p: stats.mcc(y, p, threshold=0.5)),
    "low threshold": (
        metrics.accuracy(threshold=0.25, **RAW),
        lambda y, p: stats.accuracy(y, p, threshold=0.25),
    ),
    "auc": (metrics.auc(**RAW), stats.auc),
    "average_precision": (metrics.average_precision(**RAW), stats.average_precision),
    "brier": (metrics.brier(**RAW), stats.brier),
    "log_loss": (metrics.log_loss(**RAW), stats.log_loss),
    "ece": (metrics.ece(**RAW), lambda y, p: stats.ece(y, p, n_resamples=0)),
    "ece of the label": (
        metrics.ece(top_label=True, **RAW),
        lambda y, p: stats.ece(y, p, of="top", n_resamples=0),
    ),
}
# A score a class.
SEVERAL = {
    "accuracy": (metrics.accuracy(**RAW), stats.accuracy),
    "balanced_accuracy": (metrics.balanced_accuracy(**RAW), stats.balanced_accuracy),
    "precision": (metrics.precision(average="macro", **RAW), stats.macro_precision),
    "recall": (metrics.recall(average="macro", **RAW), stats.macro_recall),
    "f1": (
        metrics.f1(average="macro", **RAW),
        lambda y, p: stats.f1(y, p, average="macro"),
    ),
    "weighted f1": (
        metrics.f1(average="weighted", **RAW),
        lambda y, p: stats.f1(y, p, average="weighted"),
    ),
    "micro f1": (metrics.f1(average="micro", **RAW), lambda y, p: stats.f1(y, p, average="micro")),
    "mcc": (metrics.mcc(**RAW), stats.mcc),
    "quadratic_kappa": (
        metrics.quadratic_kappa(**RAW),
        lambda y, p: stats.kappa(y, p, weights="quadratic"),
    ),
    "auc": (metrics.auc(**RAW), stats.multiclass_auc),
    "weighted auc": (
        metrics.auc(average="weighted", **RAW),
        lambda y, p: stats.multiclass_auc(y, p, average="weighted"),
    ),
    "brier": (metrics.brier(**RAW), stats.brier),
    "log_loss": (metrics.log_loss(**RAW), stats.log_loss),
    "ece": (metrics.ece(**RAW), lambda y, p: stats.ece(y, p, n_resamples=0)),
}


@st.composite
def predictions(draw, classes):
    """Labels, probabilities on a coarse grid (ties, scores at thresholds), counts, known rows.

    Classes may be absent from the truth, from the predictions, or from both.
    """
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    used = draw(st.integers(1, classes))
    y = rng.integers(0, used, n)
    if classes == 2:
        p = rng.integers(0, 5, n) / 4
    else:
        parts = rng.integers(0, 3, (n, classes)) + 1e-9 * (rng.random((n, 1)) < 0.5)
        parts[parts.sum(1) < 0.5] = 1
        p = parts / parts.sum(1, keepdims=True)
    return p, y, rng.integers(1, 4, n), rng.random(n) < 0.8


def _value(estimate, y, p):
    """The value; what cannot be estimated at all is as undefined as what is NaN with a note."""
    try:
        return estimate(y, p).value
    except ValueError:
        return np.nan


def _hold(pairs, p, y, counts, known):
    known[0] = True
    rows = np.repeat(np.flatnonzero(known), counts[known])
    hidden = np.where(known, y, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", metrics.UndefinedMetricWarning)
        found = metrics.evaluate(
            metrics.collection({name: metric for name, (metric, _) in pairs.items()}),
            p, hidden, weight=counts, where=known,
        )  # fmt: skip
    for name, (_, estimate) in pairs.items():
        want = _value(estimate, y[rows], p[rows])
        if name == "average_precision" and y[rows].all():
            assert found[name] == 1  # the estimate asks for both classes, as chance is 1 there
            continue
        assert found[name] == pytest.approx(want, rel=1e-9, abs=1e-12, nan_ok=True), name


@quick
@given(case=predictions(2))
def test_of_two_classes(case):
    _hold(BINARY, *case)


@quick
@given(case=predictions(4))
def test_of_several_classes(case):
    _hold(SEVERAL, *case)


@pytest.mark.parametrize("pairs", [BINARY, SEVERAL], ids=["binary", "several"])
def test_inside_jit_too(pairs):
    """One compiled pass over ties and scores at the threshold, all exact in float32."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2 if pairs is BINARY else 3, 40)
    p = rng.integers(0, 5, 40) / 4 if pairs is BINARY else rng.multinomial(8, [1 / 3] * 3, 40) / 8
    many = metrics.collection({name: metric for name, (metric, _) in pairs.items()})
    found = many.compute(jax.jit(many.from_batch)(p.astype(np.float32), y))
    for name, (_, estimate) in pairs.items():
        assert found[name] == pytest.approx(estimate(y, p).value, rel=2e-5), name


def test_a_score_at_the_threshold_is_positive_and_of_equal_scores_the_first_is_chosen():
    at, calls = [0.5, 0.5], [1, 0]
    assert metrics.evaluate(metrics.confusion_matrix(**RAW), at, calls).tolist() == [[0, 1], [0, 1]]
    assert stats.counts(calls, at, threshold=0.5) == stats.Counts(tp=1, fp=1, fn=0, tn=0)
    zero = metrics.evaluate(metrics.accuracy(), [0.0], [1])  # a logit of 0 is a probability of 1/2
    assert zero == metrics.evaluate(metrics.accuracy(), [[0.0]], [[1]]) == 1
    mask = np.ones((1, 2, 1), int)
    assert metrics.evaluate(metrics.dice(), np.zeros((1, 2, 1)), mask) == 1
    assert metrics.evaluate(metrics.dice(**RAW), np.full((1, 2, 1), 0.5), mask) == 1

    tie = [[0.5, 0.5]] * 2
    assert metrics.evaluate(metrics.accuracy(**RAW), tie, [0, 0]) == 1
    assert stats.accuracy([0, 0], tie).value == 1
    assert metrics.evaluate(metrics.accuracy(threshold=0.5, **RAW), tie, [1, 1]) == 1
    assert stats.accuracy([1, 1], tie, threshold=0.5).value == 1
    three = [[0.4, 0.4, 0.2]] * 2
    assert metrics.evaluate(metrics.accuracy(**RAW), three, [0, 0]) == 1
    assert stats.accuracy([0, 0], three).value == 1


def test_a_macro_average_counts_the_classes_that_occur():
    """Class 1 occurs nowhere, class 3 is only predicted, class 2 is never predicted."""
    y, called = [0, 0, 2], [0, 0, 3]
    one_hot = np.eye(4)[called]
    for name, want in (("precision", 1 / 3), ("recall", 1 / 3)):
        macro = getattr(metrics, name)(average="macro", **RAW)
        assert metrics.evaluate(macro, one_hot, y) == pytest.approx(want)
        assert getattr(stats, f"macro_{name}")(y, called).value == pytest.approx(want)
    assert stats.f1(y, called, average="macro").value == pytest.approx(1 / 3)
    assert stats.balanced_accuracy(y, called).value == 0.5  # of the classes that are true
    assert stats.macro_precision([0, 0, 2, 2], [0, 0, 2, 2]).value == 1


def test_a_ratio_of_nothing_is_undefined_alone_and_0_among_others():
    """No positive in the truth, none called: recall and precision have no answer."""
    none = ([0.1, 0.2], [0, 0])
    for metric, estimate in (
        (metrics.recall, stats.sensitivity), (metrics.precision, stats.ppv), (metrics.f1, stats.f1)
    ):  # fmt: skip
        assert np.isnan(metrics.evaluate(metric(**RAW), *none))
        assert np.isnan(estimate(none[1], none[0], threshold=0.5).value)
        assert metrics.evaluate(metric(zero_division=1.0, **RAW), *none) == 1
    missed = metrics.evaluate(metrics.precision(average="macro", **RAW), [0.1, 0.2], [0, 1])
    assert missed == 0.25  # class 1 occurs and is never called


def test_the_areas_and_averages_of_the_ranks_are_one():
    """Placements, counts and weights of one are three ways to one area."""
    rng = np.random.default_rng(3)
    y, x = rng.random(50) < 0.4, rng.integers(0, 9, 50) / 8
    one = np.ones((1, 50))
    assert quantities.auc(y, x) == pytest.approx(quantities.placements(y, x).auc, rel=1e-12)
    assert quantities.auc(y, x) == pytest.approx(quantities.weighted_auc(y, x, one)[0], rel=1e-12)
    plain = quantities.average_precision(y, x)
    assert plain == pytest.approx(quantities.weighted_average_precision(y, x, one)[0], rel=1e-12)


def test_the_mean_area_of_several_classes_is_one():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 60), rng.random((60, 4)).round(1)
    for y in (labels, labels % 3):  # a class without a case is left out
        want = stats.multiclass_auc(y, scores).value
        assert quantities.macro_auc(y, scores) == pytest.approx(want, rel=1e-12)


def test_quantities_and_statistics_load_no_jax():
    code = (
        "import sys; import jaxmed.quantities, jaxmed.stats; "
        "print(*(m for m in ('jax', 'matplotlib') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
