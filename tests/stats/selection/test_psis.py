"""Pareto shapes that cannot be fitted pass no comparison."""

from __future__ import annotations

import numpy as np

from jaxmed import stats


def test_the_worst_tail_comes_with_the_warning():
    ll = np.random.default_rng(0).normal(-10, 1000, size=(1000, 4))
    e = stats.psis_loo(ll)
    assert not np.isnan(e.pareto_k).any()
    assert (e.pareto_k > 0.7).all()
    assert "4 of 4 Pareto shapes" in e.notes[0]


def test_weights_stay_weights_where_no_tail_can_be_smoothed():
    weights, k = stats.pareto_smooth(np.random.default_rng(1).normal(0, 800, size=(200, 3)))
    np.testing.assert_allclose(np.exp(weights).sum(axis=0), 1)
    assert (k > 0.7).all()
