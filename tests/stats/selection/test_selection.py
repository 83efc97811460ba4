"""Choosing among models: the best of several, leave-one-out."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import stats


def test_choosing_the_best_is_corrected() -> None:
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 120)
    coins = rng.integers(0, 2, (30, 120))
    e = stats.bbc_cv(lambda t, p: np.mean(t == p), y, coins, n_resamples=300)
    assert e.details["naive"] > 0.55
    assert abs(e.value - 0.5) < abs(e.details["naive"] - 0.5)


def test_decision_curve_by_hand_and_psis_on_equal_draws() -> None:
    y, p = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.3, 0.6, 0.2, 0.1])
    c = stats.decision_curve(y, p, thresholds=[0.25, 0.5], n_resamples=20)
    assert c.net_benefit == pytest.approx([2 / 5 - 1 / 5 / 3, 1 / 5 - 1 / 5])
    assert c.treat_all == pytest.approx([2 / 5 - 3 / 5 / 3, 2 / 5 - 3 / 5])
    ll = np.tile(np.log([0.2, 0.5, 0.9]), (100, 1))
    e = stats.psis_loo(ll)
    assert e.elpd == pytest.approx(np.log([0.2, 0.5, 0.9]).sum())
    assert e.p_effective == pytest.approx(0, abs=1e-9)
