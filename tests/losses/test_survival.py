"""Losses of censored times beside their definitions and beside the fitted model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import losses, stats

EDGES = (1.0, 2.0, 4.0)


def test_a_hazard_loss_is_minus_the_log_of_a_probability():
    """Of all that can happen, events in each interval and survival of all, they sum to 1."""
    x = jnp.array([[0.3, -1.0, 2.0]])
    ends = [[0.5, 1], [2.0, 1], [3.0, 1], [9.0, 0]]
    values = losses.discrete_hazard(jnp.repeat(x, 4, 0), jnp.array(ends), edges=EDGES)
    assert float(jnp.exp(-values).sum()) == pytest.approx(1, abs=1e-6)
    survival = losses.discrete_survival(x, edges=EDGES)[0]
    assert float(jnp.exp(-values[3])) == pytest.approx(float(survival[-1]), abs=1e-6)
    np.testing.assert_allclose(jnp.exp(-values[:3]), -np.diff(np.append(1.0, survival)), rtol=1e-5)


@pytest.mark.parametrize(
    ("time", "intervals"), [(0.0, 0), (0.4, 0), (0.5, 1), (1.4, 1), (1.5, 2), (2.9, 2), (3.0, 3)]
)
def test_the_censored_survive_the_intervals_half_behind_them(time, intervals):
    value = losses.discrete_hazard(jnp.zeros((1, 3)), jnp.array([[time, 0.0]]), edges=EDGES)
    assert float(value[0]) == pytest.approx(intervals * np.log(2), abs=1e-6)


@pytest.mark.parametrize(("time", "interval"), [(0.0, 1), (0.4, 1), (1.0, 1), (1.01, 2), (4.0, 3)])
def test_an_event_on_an_edge_is_of_the_interval_that_ends_there(time, interval):
    value = losses.discrete_hazard(jnp.zeros((1, 3)), jnp.array([[time, 1.0]]), edges=EDGES)
    assert float(value[0]) == pytest.approx(interval * np.log(2), abs=1e-6)


def test_survival_between_the_edges_has_a_constant_rate():
    x = jnp.array([[0.0, 1.0, -1.0]])
    s = losses.discrete_survival(x, edges=EDGES, times=(0, 1, 3, 4, 99))[0]
    e = losses.discrete_survival(x, edges=EDGES)[0]
    np.testing.assert_allclose(s, [1, e[0], jnp.sqrt(e[1] * e[2]), e[2], e[2]], rtol=1e-6)


def batch(seed=0, n=40):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    time = np.ceil(rng.exponential(np.exp(-x[:, 0])) * 4)
    return x, np.stack([time, rng.random(n) < 0.7], 1).astype(np.float32)


def test_cox_is_the_partial_likelihood_that_is_maximised_by_the_model():
    x, y = batch()
    model = stats.cox_model(y[:, 0], y[:, 1], x)
    mine = jax.jit(jax.value_and_grad(lambda b: losses.cox(x @ b, y).sum()))
    value, gradient = mine(jnp.float32(model.coefficients))
    assert float(value) == pytest.approx(-model.log_likelihood, rel=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=2e-4)
    value, _ = mine(jnp.zeros(2))
    assert float(value) == pytest.approx(-model.null_log_likelihood, rel=1e-5)


def test_cox_knows_order_and_shift_of_nothing():
    x, y = batch(1)
    eta = x[:, 0]
    value = losses.cox(eta, y)
    order = np.random.default_rng(0).permutation(len(eta))
    np.testing.assert_allclose(losses.cox(eta[order] + 5, y[order]), value[order], atol=1e-5)
    assert losses.cox(eta[:, None], y).shape == value.shape


def test_cox_of_no_event_or_of_the_last_alone_is_nothing():
    eta = jnp.array([1.0, -2.0])
    gradient = jax.grad(lambda e, y: losses.cox(e, y).sum())
    for y in ([[1.0, 0], [2.0, 0]], [[1.0, 0], [2.0, 1]]):
        np.testing.assert_allclose(losses.cox(eta, jnp.array(y)), 0, atol=1e-6)
        np.testing.assert_allclose(gradient(eta, jnp.array(y)), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: losses.cox(np.zeros(3), np.zeros(3)), r"targets \(3,\) must be \(batch, 2\)"),
        (lambda: losses.cox(np.zeros((3, 2)), np.zeros((3, 2))), "log hazards"),
        (lambda: losses.cox(np.zeros(2), np.zeros((3, 2))), "of the outputs' batch"),
        (lambda: losses.discrete_hazard(np.zeros((3, 2)), np.zeros((3, 2)), edges=(1, 2, 3)),
         r"must be \(batch, 3\)"),
        (lambda: losses.discrete_hazard(np.zeros((3, 2)), np.zeros((3, 2)), edges=(2, 1)),
         "edges must ascend"),
        (lambda: losses.discrete_survival(np.zeros((3, 2)), edges=(0, 1)), "edges must ascend"),
    ],
)  # fmt: skip
def test_odd_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize("target", [[-1.0, 1.0], [1.0, 2.0], [np.nan, 0.0]])
def test_a_target_that_is_none_shows(target):
    y = jnp.array([target, [1.0, 1.0]])
    assert np.isnan(losses.cox(jnp.zeros(2), y)[0])
    assert np.isnan(losses.discrete_hazard(jnp.zeros((2, 3)), y, edges=EDGES)[0])
