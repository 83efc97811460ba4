"""Limit cases of diagnostic metrics: rare positives, one patient, nothing called."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as sk

from jaxmed import stats


def coverage(n1, n0, area, *, spread=1.0, studies=600, **options):
    rng = np.random.default_rng(2)
    y = np.repeat([1, 0], [n1, n0])
    shift = np.sqrt(1 + spread**2) * special.ndtri(area)
    held = 0
    for _ in range(studies):
        x = np.concatenate([rng.normal(shift, spread, n1), rng.normal(0, 1, n0)])
        e = stats.auc(y, x, **options)
        held += e.lower <= area <= e.upper
    return held / studies


@pytest.mark.parametrize(("n1", "n0"), [(10, 300), (300, 10)])
def test_the_auc_of_a_rare_class_is_covered(n1, n0):
    assert coverage(n1, n0, 0.95) > 0.93
    assert coverage(n1, n0, 0.95, method="logit-delong-plain") < 0.9  # what it was


def test_many_misplaced_cases_keep_the_logit_limits_and_few_get_the_outer_ones():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.normal(size=200) + y
    auto, plain = stats.auc(y, x), stats.auc(y, x, method="logit-delong-plain")
    assert (auto.lower, auto.upper, auto.notes) == (plain.lower, plain.upper, ())
    x = rng.normal(size=200) + 3.5 * y
    auto, plain, score = (
        stats.auc(y, x, method=m) for m in ("logit-delong", "logit-delong-plain", "newcombe")
    )
    assert auto.lower == min(plain.lower, score.lower)
    assert auto.upper == max(plain.upper, score.upper)
    assert "too few misplaced" in auto.notes[0]


def test_positives_of_one_patient_are_one_patient():
    y = np.repeat([1, 0], [20, 30])
    groups = np.concatenate([np.zeros(20), np.arange(1, 31)])
    x = np.random.default_rng(0).normal(size=50) + 2 * y
    e = stats.auc(y, x, groups=groups)
    assert any("single group" in note for note in e.notes)
    assert e.upper - e.lower > 0.4  # Newcombe's of one positive and 30 negatives
    for made in (
        stats.sensitivity(y, x > 1, groups=groups),
        stats.ppv(y, y, groups=groups),
        stats.npv(1 - y, 1 - y, groups=groups),
    ):
        assert (made.n, made.unit, made.lower, made.upper) == (1, "patient", 0.0, 1.0)
        assert "of one group" in made.notes[0]
    assert stats.specificity(y, x > 1, groups=groups).n == 30


@pytest.mark.parametrize(("metric", "called"), [(stats.ppv, 0), (stats.npv, 1)])
def test_nothing_called_at_a_prevalence_is_undefined(metric, called):
    e = metric([1, 0, 1, 0], [called] * 4, prevalence=0.1)
    assert np.isnan(e.value)
    assert (e.lower, e.upper) == (0, 1)
    assert "nothing was called" in e.notes[-1]


def test_macro_precision_is_scikit_learns_over_classes_that_occur():
    rng = np.random.default_rng(1)
    for _ in range(30):
        y, guess = rng.choice([0, 2, 3, 7], (2, 12))
        want = sk.precision_score(y, guess, average="macro", zero_division=0)
        assert stats.macro_precision(y, guess).value == pytest.approx(want)


def test_top_one_is_accuracy_with_ties():
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.4, 0.4], [1 / 3] * 3, [0.1, 0.2, 0.7]])
    for y in ([0, 1, 0, 2], [1, 2, 2, 0]):
        assert stats.top_k_accuracy(y, p, k=1).value == stats.accuracy(y, p).value
    assert stats.top_k_accuracy([1, 2, 1, 1], p, k=2).value == 1


def test_the_default_thresholds_are_hundredths():
    p = np.repeat(np.arange(1, 100) / 100, 2)
    y = np.tile([0, 1], 99)
    curve = stats.decision_curve(y, p, n_resamples=0)
    np.testing.assert_array_equal(curve.thresholds, np.arange(1, 100) / 100)
    for i in (5, 28, 56, 69):
        one = stats.decision_curve(y, p, thresholds=[(i + 1) / 100], n_resamples=0)
        assert curve.net_benefit[i] == one.net_benefit[0]
    with pytest.raises(ValueError, match="thresholds"):
        stats.decision_curve(y, p, thresholds=[0.1, np.nan], n_resamples=0)


def test_neighbouring_scores_are_told_apart():
    low, high = 1.0, np.nextafter(1.0, 2)
    (point,) = stats.operating_points([0, 1], [low, high])
    assert point.threshold == high
    assert (point.sensitivity, point.specificity) == (1, 1)
