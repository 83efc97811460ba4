"""Limit cases: confidences that tie, weights of one draw, chains that are NaN."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jaxmed import bayes
from jaxmed.bayes.posteriors._mcmc import _convergence, _notes


def test_tied_confidences_have_the_mean_over_their_orders():
    losses, sure = np.array([1.0, 0, 0, 1]), np.array([0.9, 0.5, 0.5, 0.5])
    orders = [[0, *np.array([1, 2, 3])[list(p)]] for p in itertools.permutations(range(3))]
    risks = [np.cumsum(losses[o]) / np.arange(1, 5) for o in orders]
    curve = bayes.risk_coverage(losses, sure)
    np.testing.assert_allclose(curve.risk, np.mean(risks, axis=0))
    found = bayes.selective_scores(losses, sure)
    assert found.aurc == pytest.approx(np.mean(risks))
    assert bayes.selective_scores(losses[::-1], sure[::-1]) == pytest.approx(found, nan_ok=True)


def test_a_proposal_that_does_not_fit_is_told():
    q = bayes.importance(lambda x: -1e6 * (x**2).sum(1), [0.0], [[100.0]], draws=1000)
    assert not q.pareto_k <= 0.7
    assert "trust nothing" in q.notes[0]


def test_chains_that_are_not_finite_have_not_converged():
    rng = np.random.default_rng(0)
    values, joint = rng.normal(size=(2, 50, 3)), rng.normal(size=(2, 50))
    values[0, 3, 1] = np.nan
    rhat, ess = _convergence(values, joint)
    assert np.isnan([rhat, ess]).all()
    assert len(_notes(rhat, ess, 0, 2)) == 2


def test_a_cost_of_referral_is_a_number():
    with pytest.raises(ValueError, match="costs must be 0 or more"):
        bayes.refer([0.2, 0.8], cost_refer=float("nan"))
