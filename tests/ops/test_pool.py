from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxmed import ops

SETTINGS = settings(max_examples=8, deadline=None, derandomize=True)


@st.composite
def geometry(draw):
    ndim = draw(st.integers(1, 3))
    window = [draw(st.integers(1, 3)) for _ in range(ndim)]
    blocks = draw(st.booleans())
    stride = window if blocks else [draw(st.integers(1, 3)) for _ in range(ndim)]
    spatial = [draw(st.integers(w, 7 - ndim + w)) for w in window]
    return (2, *spatial, 2), window, stride, draw(st.sampled_from(["VALID", "SAME"]))


def _lax_max(x, window, stride, padding):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *stride, 1), padding)


@SETTINGS
@given(geometry(), st.booleans())
def test_max_pool_and_its_gradient_equal_lax_ties_included(case, ties):
    shape, window, stride, padding = case
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, shape) if ties else rng.normal(size=shape)
    x = jnp.asarray(x, jnp.float32)

    @partial(jax.jit, static_argnums=0)
    def both(f, x):
        y, pull = jax.vjp(f, x)
        g = jnp.arange(1.0, y.size + 1).reshape(y.shape)
        return y, pull(g)[0]

    ours = both(lambda x: ops.max_pool(x, window, stride=stride, padding=padding), x)
    theirs = both(lambda x: _lax_max(x, window, stride, padding), x)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


def test_max_pool_forward_mode_second_order_vmap_and_nan():
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 3))
    dx = jax.random.normal(jax.random.key(1), x.shape)

    @jax.jit
    def f(x):
        return ops.max_pool(x, 2)

    y, dy = jax.jit(partial(jax.jvp, f))((x,), (dx,))
    x, dx, y = jax.device_get((x, dx, y))
    winners = x[:, :4].reshape(2, 2, 2, 3, 2, 3) == y[:, :, None, :, None]
    want = np.where(winners, dx[:, :4].reshape(winners.shape), 0).sum((2, 4))
    np.testing.assert_allclose(dy, want, rtol=1e-6)
    hessian_vector = jax.jit(
        lambda x, dx: jax.jvp(jax.grad(lambda x: (f(x) ** 3).sum()), (x,), (dx,))[1]
    )(x, dx)
    assert np.isfinite(hessian_vector).all()
    assert np.abs(hessian_vector).sum() > 0
    np.testing.assert_array_equal(jax.jit(jax.vmap(f))(np.stack([x, -x]))[1], f(-x))
    broken = x.copy()
    broken[0, 0, 1, 0] = np.nan
    assert np.isnan(np.asarray(f(broken))[0, 0, 0, 0])
    assert ops.max_pool(jnp.arange(4).reshape(1, 4, 1), 2).ravel().tolist() == [1, 3]
    half = jax.eval_shape(lambda x: ops.max_pool(x, 3, stride=2), x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


@SETTINGS
@given(geometry())
def test_avg_pool_is_the_mean_of_the_voxels_that_exist(case):
    shape, window, stride, padding = case
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    pool = partial(ops.avg_pool, window=window, stride=stride, padding=padding)

    @jax.jit
    def ours_and_theirs(x):
        args = (lax.add, (1, *window, 1), (1, *stride, 1), padding)
        total = lax.reduce_window(x, 0.0, *args)
        count = lax.reduce_window(jnp.ones_like(x), 0.0, *args)
        ours = pool(x), pool(x, count_padding=True)
        return ours, (total / count, total / np.prod(window))

    ours, theirs = ours_and_theirs(x)
    for got, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_avg_pool_gradient_spreads_evenly():
    gradient = jax.jit(jax.grad(lambda x: ops.avg_pool(x, (2, 3)).sum()))(np.ones((1, 4, 7, 1)))
    want = np.full((1, 4, 7, 1), 1 / 6)
    want[:, :, 6] = 0  # the seventh column is under no window
    np.testing.assert_allclose(gradient, want, rtol=1e-6)


def test_stochastic_pool_draws_in_proportion_and_expects_the_weighted_mean():
    window = np.array([1.0, 0.0, 3.0, -2.0], np.float32).reshape(1, 2, 2, 1)
    x = np.tile(window, (20000, 1, 1, 1))
    draw = jax.jit(lambda x: ops.stochastic_pool(jax.random.key(0), x, 2))
    y = np.asarray(draw(x)).ravel()
    assert set(np.unique(y)) == {1.0, 3.0}
    assert abs((y == 3).mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / y.size)
    mean = jax.jit(partial(ops.stochastic_pool, None), static_argnums=1)
    assert mean(window, 2).item() == pytest.approx(2.5)
    zeros = np.zeros((1, 3, 3, 1), np.float32)
    assert not np.any(jax.jit(lambda x: ops.stochastic_pool(jax.random.key(1), x, 3))(zeros))
    gradient = jax.jit(jax.grad(lambda x: draw(x).sum()))(window)
    assert sorted(np.asarray(gradient).ravel().tolist()) == [0, 0, 0, 1]
    assert np.isfinite(jax.jit(jax.grad(lambda x: mean(x, 3).sum()))(zeros)).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"window": 9}, "larger than the padded spatial shape"),
        ({"window": (2, 2, 2)}, "3 entries"),
        ({"window": 0}, "at least 1"),
        ({"window": 2, "padding": "FULL"}, "padding='FULL'"),
        ({"window": 2, "padding": [(1, 1)]}, "1 pairs for 2"),
    ],
)
def test_bad_geometry_is_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ops.max_pool(jnp.ones((1, 4, 4, 1)), **kwargs)
    with pytest.raises(ValueError, match=r"got shape \(4, 4\)"):
        ops.avg_pool(jnp.ones((4, 4)), 2)
