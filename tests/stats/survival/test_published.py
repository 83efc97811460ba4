"""Values that are published, and tables that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats

# Freireich et al. (1963), Blood 21:699, as Gehan (1965), Biometrika 52:203, has it: weeks of
# remission of 21 pairs of children with leukaemia.
MERCAPTOPURINE = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
TIME = np.array(MERCAPTOPURINE + PLACEBO)
EVENT = np.array(RELAPSED + [1] * 21)
ARM = np.repeat([0, 1], 21)


def test_kaplan_meier_of_the_leukaemia_trial():
    """Kleinbaum and Klein, Survival Analysis, chapter 2: product limit, Greenwood's error."""
    curve = stats.kaplan_meier(MERCAPTOPURINE, RELAPSED, method="plain")
    weeks = [6, 7, 10, 13, 16, 22, 23]
    value, lower, _ = curve.at(weeks)
    np.testing.assert_allclose(value, [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], atol=6e-4)
    errors = (value - lower) / 1.959964
    np.testing.assert_allclose(
        errors, [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346], atol=6e-5
    )
    assert curve.at_risk_at([0, 6, 7, 23]).tolist() == [21, 21, 17, 6]
    assert stats.survival_quantile(MERCAPTOPURINE, RELAPSED).value == 23
    assert stats.survival_quantile(PLACEBO, np.ones(21)).value == 8


def test_log_rank_of_the_leukaemia_trial():
    """Kleinbaum and Klein: 16.79 with 19.25 and 10.75 expected; Gehan's weights 13.46."""
    r = stats.log_rank_test(TIME, EVENT, ARM)
    assert r.statistic == pytest.approx(16.79, abs=0.005)
    np.testing.assert_allclose(r.details["expected"], [19.25, 10.75], atol=0.005)
    assert r.details["observed"] == [9, 21]
    assert r.df == 1
    gehan = stats.log_rank_test(TIME, EVENT, ARM, weighting="gehan")
    assert gehan.statistic == pytest.approx(13.46, abs=0.005)


def test_cox_model_of_the_leukaemia_trial():
    """Breslow's ties, Kleinbaum and Klein: 1.509 (.410), -2 log L 172.759, ratio 2.027 to 10.094.

    Efron's, Venables and Ripley, Modern Applied Statistics with S: 1.57 (.412).
    """
    m = stats.cox_model(TIME, EVENT, ARM[:, None], ties="breslow")
    assert m.coefficients[0] == pytest.approx(1.509, abs=6e-4)
    assert np.sqrt(m.covariance[0, 0]) == pytest.approx(0.410, abs=6e-4)
    assert -2 * m.log_likelihood == pytest.approx(172.759, abs=6e-4)
    assert m.hazard_ratios[0].lower == pytest.approx(2.027, abs=6e-4)
    assert m.hazard_ratios[0].upper == pytest.approx(10.094, abs=6e-3)
    m = stats.cox_model(TIME, EVENT, ARM[:, None])
    assert m.coefficients[0] == pytest.approx(1.572, abs=6e-4)
    assert np.sqrt(m.covariance[0, 0]) == pytest.approx(0.412, abs=6e-4)
    # With ties the score test is not the log-rank test of that covariance, but near it.
    assert m.score.statistic == pytest.approx(16.79, rel=0.05)


def test_maintained_chemotherapy():
    """Miller (1981), Survival Analysis: log-rank statistic 3.40, p .065."""
    maintained = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161]
    event = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
    other = [5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45]
    after = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    r = stats.log_rank_test(maintained + other, event + after, np.repeat([0, 1], [11, 12]))
    assert r.statistic == pytest.approx(3.40, abs=0.005)
    assert r.p_value == pytest.approx(0.065, abs=6e-4)
    value = stats.kaplan_meier(maintained, event).at([9, 13, 18, 23, 31, 34, 48])[0]
    np.testing.assert_allclose(value, [0.909, 0.818, 0.716, 0.614, 0.491, 0.368, 0.184], atol=6e-4)


def test_incidence_by_hand():
    """Five cases: 1/5 at once, then 4/5 * 3/4 * 1/3 of it at the third time, 2/5 in all."""
    curve = stats.cumulative_incidence([1, 2, 3, 4, 5], [1, 2, 1, 0, 2])
    np.testing.assert_allclose(curve.value, [0.2, 0.2, 0.4, 0.4, 0.4])
    other = stats.cumulative_incidence([1, 2, 3, 4, 5], [1, 2, 1, 0, 2], cause=2)
    np.testing.assert_allclose(curve.value[-1] + other.value[-1], 1)


def test_concordance_by_hand():
    """Pairs: 1 with 2, 3, 4 and 3 with 4; the censored second with none after it."""
    e = stats.survival_concordance([1, 2, 3, 4], [1, 0, 1, 1], [0.5, 0.9, 0.5, 0.1])
    assert e.details["pairs"] == 4
    assert e.value == (0 + 0.5 + 1 + 1) / 4
