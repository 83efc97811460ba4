"""Rounded targets: a density that cannot collapse, stable in value and gradient, far out too."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from scipy import stats as law

from jaxmed import bayes
from jaxmed.bayes.posteriors._rounded import RoundedNormal, log_interval


def exact(middle, half):
    """Log probability of an interval and its derivatives, in float64 and the lower tail."""
    m, h = -np.abs(np.asarray(middle, float)), np.asarray(half, float)
    high, low = special.log_ndtr(m + h), special.log_ndtr(m - h)
    value = high + np.log(-np.expm1(low - high))
    ends = [np.exp(law.norm.logpdf(m + s * h) - value) for s in (1, -1)]
    return value, -np.sign(middle) * (ends[0] - ends[1]), ends[0] + ends[1]


def test_value_and_gradient_hold_far_in_the_tails():
    middle = np.array([-1000, -40, -6, -5, -2, -0.3, 1e-3, 0.7, 3, 4.9, 8, 40, 1000], np.float32)
    half = np.array([1e-2, 0.3, 0.5, 0.52, 1, 3, 30], np.float32)
    m, h = (jnp.asarray(v.ravel()) for v in np.meshgrid(middle, half))
    both = jax.jit(jax.vmap(jax.value_and_grad(log_interval, (0, 1))))
    value, (along, across) = both(m, h)
    want = exact(m, h)
    np.testing.assert_allclose(value, want[0], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(along, want[1], rtol=3e-5, atol=1e-6)
    np.testing.assert_allclose(across, want[2], rtol=3e-5, atol=1e-6)


@pytest.mark.slow
def test_a_step_far_below_the_noise_is_the_normal_density():
    y, outputs = jnp.linspace(-3, 3, 7), jnp.stack([jnp.zeros(7), jnp.full(7, 0.2)], -1)
    fine = bayes.normal(rounding=1e-5).log_prob(outputs, y)
    np.testing.assert_allclose(fine, bayes.normal().log_prob(outputs, y), rtol=1e-5)
    np.testing.assert_allclose(
        bayes.normal_log_score(y, 0.0, 1.2, rounding=1e-6),
        bayes.normal_log_score(y, 0.0, 1.2),
        rtol=1e-6,
    )


@pytest.mark.parametrize("scale", [1e-4, 0.3, 2.0])
def test_the_probabilities_of_all_values_sum_to_one(scale):
    scores = 0.5 * np.arange(-60, 60)
    density = np.exp(-bayes.normal_log_score(scores, 0.1, scale, rounding=0.5))
    assert np.isclose(0.5 * density.sum(), 1)
    assert density.max() <= 2 * (1 + 1e-12)


@pytest.mark.slow
def test_draws_have_the_density():
    shape = RoundedNormal(jnp.array(1.0), jnp.array(0.2), 1.0)
    draws = np.asarray(shape.sample(jax.random.key(0), (4000,)))
    grid = np.linspace(-1, 3, 2001)
    cumulative = np.cumsum(np.exp(shape.log_prob(grid))) * (grid[1] - grid[0])
    assert law.kstest(draws, lambda v: np.interp(v, grid, cumulative)).pvalue > 0.001
    assert np.isclose(draws.var(), shape.variance, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_curvature_is_the_fisher_information(scale):
    """Averaged over where the mean lies between two values."""
    means, values = np.linspace(0, 1, 40, endpoint=False), np.arange(-9, 10)
    m, v = (jnp.asarray(a.ravel(), jnp.float32) for a in np.meshgrid(means, values))
    own = bayes.normal(rounding=1.0)
    outputs = jnp.stack([m, jnp.full_like(m, np.log(scale))], -1)
    score = jax.vmap(jax.grad(lambda o, y: own.log_prob(o[None], y[None])[0]))(outputs, v)
    p = np.exp(own.log_prob(outputs, v))
    want = (p[:, None] * np.asarray(score) ** 2).sum(0) / len(means)
    root = own.factor(outputs[:1])[0]
    np.testing.assert_allclose(np.diag(root @ root.T), want, rtol=0.12)
    fixed = bayes.normal(scale, rounding=1.0).factor(outputs[:1, :1])[0, 0, 0]
    assert np.isclose(fixed**2, want[0], rtol=0.02)


def test_bad_steps_are_told():
    with pytest.raises(ValueError, match="rounding must be a step of 0 or more"):
        bayes.normal(rounding=-1.0)
    with pytest.raises(ValueError, match="rounding must be a step of 0 or more"):
        bayes.normal_log_score([0.0], 0.0, 1.0, rounding=np.nan)
