"""Bayesian statistics of studies."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import bayes, stats

FEW = {"warmup": 200, "draws": 200, "chains": 2}


@pytest.mark.slow
def test_sites_are_shrunk_by_as_much_as_they_are_small():
    q = bayes.pooled_rates([1, 45, 88], [2, 50, 100], **FEW)
    raw, mean = q.raw, q.sites[:, 0]
    assert abs(mean[0] - raw[0]) > 0.1  # one of two says little
    assert abs(mean[2] - raw[2]) < 0.03
    assert q.new_site[0] < q.sites[2, 1]
    assert (q.sites[:, 1] < mean).all()


@pytest.mark.slow
def test_estimates_pool_as_the_normal_formula_where_sites_do_not_differ():
    values, errors = np.array([0.80, 0.82, 0.79, 0.81]), np.full(4, 0.02)
    q = bayes.pooled_estimates(values, errors, between=1e-4, **FEW)
    assert np.isclose(q.mean, values.mean(), atol=0.003)
    assert np.isclose((q.upper - q.lower) / 2, 1.96 * 0.01, rtol=0.25)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (3, 60))
    aucs = [stats.auc(one, one + rng.normal(size=60), method="delong") for one in y]
    found = bayes.pooled_estimates(aucs, scale="logit", **FEW)
    assert found.sites.shape == (3, 3)
    assert 0.5 < found.lower < found.mean < found.upper < 1


@pytest.mark.slow
def test_a_clear_difference_and_none_are_told_apart():
    rng = np.random.default_rng(1)
    clear = [0.05 + 0.01 * rng.normal(size=10) for _ in range(6)]
    q = bayes.hierarchical_comparison(clear, rope=0.01, **FEW)
    assert q.first_better > 0.9
    assert np.isclose(q.first_better + q.equivalent + q.second_better, 1)
    assert q.lower < 0.05 < q.upper
    none = [0.002 * rng.normal(size=10) for _ in range(6)]
    assert bayes.hierarchical_comparison(none, rope=0.01, **FEW).equivalent > 0.9


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="two or more data sets"):
        bayes.hierarchical_comparison([[0.1, 0.2]], rope=0.01)
    with pytest.raises(ValueError, match="do not vary"):
        bayes.hierarchical_comparison([[0.1, 0.1], [0.2, 0.2]], rope=0.01)
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        bayes.pooled_rates([3, 1], [2, 2])
    with pytest.raises(ValueError, match="no logit"):
        bayes.pooled_estimates([0.5, 1.0], [0.1, 0.1], scale="logit")
    with pytest.raises(ValueError, match="give errors"):
        bayes.pooled_estimates([0.5, 0.6])
