"""Brier score, log loss, calibration error, slope."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from jaxmed import stats


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_brier_log_loss_and_ece(binning: str) -> None:
    rng = np.random.default_rng(1)
    p = rng.random(300)
    y = (rng.random(300) < p).astype(int)
    assert stats.brier(y, p).value == pytest.approx(sk.brier_score_loss(y, p))
    assert stats.log_loss(y, p).value == pytest.approx(sk.log_loss(y, p))
    assert stats.brier(y, np.stack([1 - p, p], 1)).value == pytest.approx(sk.brier_score_loss(y, p))
    # A model that always says the base rate is calibrated in every bin.
    flat = np.full(300, y.mean())
    assert stats.ece(y, flat, binning="width", n_resamples=0).value == pytest.approx(0, abs=1e-12)
    assert stats.brier(y, flat).details["skill"] == pytest.approx(0, abs=1e-12)
    e = stats.ece(y, p, binning=binning, n_bins=10, n_resamples=100)
    bins = stats.reliability(y, p, binning=binning, n_bins=10)
    by_hand = np.sum(bins.count / 300 * np.abs(bins.observed - bins.confidence))
    assert e.value == pytest.approx(by_hand, abs=1e-12)
    assert "bins by " + binning in e.method
    # A value on an edge belongs to the bin below it (right) or above it (left).
    edge = stats.ece([1, 0], [0.5, 0.4], n_bins=2, n_resamples=0).value
    assert edge == pytest.approx(abs((1 - 0.5 + 0 - 0.4) / 2))
    apart = stats.ece([1, 0], [0.5, 0.4], n_bins=2, closed="left", n_resamples=0).value
    assert apart == pytest.approx((0.5 + 0.4) / 2)
    with pytest.raises(ValueError, match="sigmoid"):
        stats.brier(y, 5 * p)


@pytest.mark.parametrize("p", [0.5, 0.3, 0.4621, 0.0, 1.0])
@pytest.mark.parametrize("shaken", [0.0, 1e-16])
def test_probabilities_that_are_all_the_same_have_no_slope(p: float, shaken: float) -> None:
    """Whatever the rounding of a singular design makes of them."""
    rng = np.random.default_rng(0)
    probs = np.clip(p + shaken * rng.normal(size=40), 0, 1)
    slope = stats.calibration_slope(np.arange(40) % 2, probs)
    assert np.isnan(slope.value)
    assert (slope.lower, slope.upper) == (-np.inf, np.inf)
    assert slope.notes == ("the probabilities are all the same: they have no slope",)


def test_calibration_slope_recovers_a_known_distortion() -> None:
    rng = np.random.default_rng(2)
    logit = 2 * rng.normal(size=4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-(0.5 + 0.5 * logit)))).astype(int)
    p = 1 / (1 + np.exp(-logit))
    slope = stats.calibration_slope(y, p)
    assert slope.lower < 0.5 < slope.upper
    assert slope.details["intercept"] == pytest.approx(0.5, abs=0.12)
    fixed = stats.recalibrate(p, slope.value, slope.details["intercept"])
    assert stats.calibration_slope(y, fixed).value == pytest.approx(1, abs=1e-8)
    assert stats.calibration_intercept(y, fixed).value == pytest.approx(0, abs=1e-8)
    assert stats.spiegelhalter_test(y, p).p_value < 1e-6
    assert stats.spiegelhalter_test(y, fixed).p_value > 0.01
    assert stats.cumulative_test(y, p, n_resamples=99).p_value == pytest.approx(0.01)
    apart = stats.calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert apart.notes == ("outcomes are separated by the probabilities: no finite fit",)
    assert stats.fit_temperature(y, p) > 1.5
    parts = stats.corp(y, p)
    assert parts.score == pytest.approx(
        parts.miscalibration - parts.discrimination + parts.uncertainty
    )
    from sklearn.isotonic import IsotonicRegression

    np.testing.assert_allclose(
        stats.isotonic(y, p), IsotonicRegression().fit_transform(p, y), atol=1e-10
    )
