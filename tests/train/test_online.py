"""Online steps: their textbook's, in a ball, and their regret within its bound."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize

from jaxmed.train import online_gradient, online_newton

D = 3


def rounds(seed, n, *, hostile=False):
    """Inputs of length 1 at most and targets in [-1, 1] of squared errors."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D)) * [1, 0.3, 0.05]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1)
    y = np.clip(x @ [0.9, -0.4, 2.0] + 0.3 * rng.normal(size=n), -1, 1)
    if hostile:  # the truth is turned round for long stretches
        y *= np.where(np.arange(n) // 64 % 2, -1, 1)
    return x.astype(np.float32), y.astype(np.float32)


def loss(w, x, y):
    return (x @ w - y) ** 2


def run(rule, x, y):
    """The losses of each round, before it is learned from, and the last state."""

    def body(carry, at):
        w, state = carry
        value, slope = jax.value_and_grad(loss)(w, *at)
        change, state = rule.update(slope, state, w)
        return (optax.apply_updates(w, change), state), (value, w)

    w = jnp.zeros(D)
    return jax.jit(lambda: jax.lax.scan(body, (w, rule.init(w)), (x, y)))()


def nearest(x, a, radius):
    """The nearest point of the ball, by A's norm: by a root of the Lagrangian's condition."""
    if np.linalg.norm(x) <= radius:
        return x
    at = lambda m: np.linalg.solve(a + m * np.eye(len(x)), a @ x)  # noqa: E731
    gap = lambda m: np.linalg.norm(at(m)) - radius  # noqa: E731
    return at(optimize.brentq(gap, 0, 1e3 * np.trace(a) * np.linalg.norm(x), xtol=1e-14))


def by_hand(x, y, gamma, epsilon, radius=None):
    """The textbook's steps in float64, with a new inverse in each."""
    w, a, path = np.zeros(D), epsilon * np.eye(D), []
    for row, target in zip(x.astype(float), y.astype(float), strict=True):
        path.append(w)
        g = 2 * (row @ w - target) * row
        a = a + np.outer(g, g)
        w = w - np.linalg.inv(a) @ g / gamma
        if radius is not None:
            w = nearest(w, a, radius)
    return np.array(path), a


@pytest.mark.parametrize("radius", [None, 1.0])
def test_newton_steps_are_those_of_a_full_inverse(radius):
    x, y = rounds(0, 300, hostile=True)
    gamma, epsilon = 0.1, 2.0
    rule = online_newton(gamma, epsilon=epsilon, radius=radius)
    (_, state), (_, path) = run(rule, x, y)
    expected, a = by_hand(x, y, gamma, epsilon, radius)
    np.testing.assert_allclose(path, expected, atol=2e-4)
    np.testing.assert_allclose(state.root @ state.root.T, np.linalg.inv(a), rtol=1e-3, atol=1e-6)
    lengths = np.linalg.norm(path, axis=1)
    if radius is not None:
        assert (lengths > 0.999).sum() > 30, "the ball was hardly ever left"
        assert lengths.max() < 1 + 1e-5
    else:
        assert lengths.max() > 1.05


# Of losses (x.w - y)^2 with |x| <= 1, |y| <= 1, |w| <= 1: G = 4, D = 2, alpha = 1 / 8.
G, DIAMETER, ALPHA = 4.0, 2.0, 1 / 8
GAMMA = min(1 / (4 * G * DIAMETER), ALPHA) / 2


def best_in_ball(x, y):
    a, b = x.T.astype(float) @ x, x.T.astype(float) @ y
    free = np.linalg.solve(a, b)
    w = nearest(free, a, 1.0)  # the loss is A's distance to the free optimum, and a constant
    return float(loss(w, x, y).sum())


@pytest.mark.parametrize("hostile", [False, True])
def test_regret_of_newton_is_within_its_bound_and_logarithmic(hostile):
    rule = online_newton(GAMMA, radius=1.0)
    n = 4096
    x, y = rounds(1, n, hostile=hostile)
    (_, state), (losses, path) = run(rule, x, y)
    assert np.linalg.norm(path, axis=1).max() < 1 + 1e-5
    total = np.cumsum(np.asarray(losses, float))
    ends = np.array([64, 256, 1024, 4096])
    found = np.array([total[t - 1] - best_in_ball(x[:t], y[:t]) for t in ends])
    epsilon = 1 / (GAMMA * DIAMETER) ** 2
    grown = -2 * np.linalg.slogdet(np.asarray(state.root, float))[1] - D * np.log(epsilon)
    assert found[-1] <= (grown + 1) / (2 * GAMMA)
    assert (found <= 5 * (1 / ALPHA + G * DIAMETER) * D * np.log(ends)).all()


def test_regret_of_gradient_steps_is_within_theirs():
    n = 2048
    for hostile in (False, True):
        x, y = rounds(2, n, hostile=hostile)
        _, (losses, path) = run(online_gradient(DIAMETER / G, radius=1.0), x, y)
        assert np.linalg.norm(path, axis=1).max() < 1 + 1e-5
        found = float(np.sum(losses)) - best_in_ball(x, y)
        assert found <= 1.5 * G * DIAMETER * np.sqrt(n)
    # Of a strongly convex loss, |w - z|^2 with curvature 2, the steps are running means.
    z = np.random.default_rng(3).normal(size=(50, D)).astype(np.float32)
    rule = online_gradient(1.0, curvature=2.0)
    w, state = jnp.zeros(D), None
    for row in z:
        state = rule.init(w) if state is None else state
        change, state = rule.update(2 * (w - row), state, w)
        w = optax.apply_updates(w, change)
    np.testing.assert_allclose(w, z.mean(0), atol=1e-5)


@pytest.mark.parametrize("make", [online_gradient, online_newton])
def test_parameters_of_a_network_are_one_vector(make):
    tree = {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2, jnp.bfloat16)}
    slope = {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.array([1.0, -1.0], jnp.bfloat16)}
    rule = make(0.7, radius=1.5)
    change, state = jax.jit(rule.update)(slope, rule.init(tree), tree)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), change) == jax.tree.map(
        lambda a: (a.shape, a.dtype), tree
    )
    flat, back = jax.flatten_util.ravel_pytree(tree)
    plain = make(0.7, radius=1.5)
    whole, _ = plain.update(jax.flatten_util.ravel_pytree(slope)[0], plain.init(flat), flat)
    expected = back(whole)
    for name in tree:
        np.testing.assert_allclose(
            change[name].astype(jnp.float32), expected[name].astype(jnp.float32), atol=0.01
        )
    assert jax.tree.leaves(state)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: online_newton(0), "gamma must be positive and finite, but is 0"),
        (lambda: online_newton(1, epsilon=np.inf), "epsilon must be positive"),
        (lambda: online_newton(1, radius=-1), "radius must be positive"),
        (lambda: online_gradient(np.nan), "rate must be positive"),
        (lambda: online_gradient(1, curvature=0), "curvature must be positive"),
        (lambda: online_newton(1).init(jnp.zeros(2**14 + 1)), "16385 x 16385 for 16385 parameters"),
        (lambda: online_newton(1).update(jnp.ones(1), online_newton(1).init(jnp.ones(1))),
         "needs the parameters"),
    ],
)  # fmt: skip
def test_mistakes_are_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()
