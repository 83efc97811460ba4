from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import ops


@pytest.mark.parametrize(("spatial", "factor"), [((5,), 3), ((4, 1), 2), ((3, 4, 2), (2, 1, 4))])
def test_linear_equals_jax_image_with_all_its_derivatives(spatial, factor):
    x = jax.random.normal(jax.random.key(0), (2, *spatial, 3))
    factors = (factor,) * len(spatial) if isinstance(factor, int) else factor
    shape = (2, *(n * f for n, f in zip(spatial, factors)), 3)

    def ours(x):
        return ops.upsample(x, factor)

    def theirs(x):
        return jax.image.resize(x, shape, "linear")

    g = jax.random.normal(jax.random.key(1), shape)

    @jax.jit
    def everything(x):
        pairs = [(ours(x), theirs(x)), (jax.vjp(ours, x)[1](g)[0], jax.vjp(theirs, x)[1](g)[0])]
        pairs.append((jax.jvp(ours, (x,), (x,))[1], theirs(x)))
        pairs.append((jax.vmap(ours)(jnp.stack([x, 2 * x]))[1], 2 * theirs(x)))
        return pairs

    for got, want in everything(x):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_nearest_repeats():
    x = jax.random.normal(jax.random.key(0), (1, 3, 2, 2, 1))
    want = np.asarray(x).repeat(2, 1).repeat(3, 2).repeat(1, 3)
    nearest = jax.jit(lambda x: ops.upsample(x, (2, 3, 1), method="nearest"))
    np.testing.assert_array_equal(nearest(x), want)
    gradient = jax.grad(lambda x: nearest(x).sum())(x)
    np.testing.assert_allclose(gradient, 6.0)
    half = jax.eval_shape(lambda x: ops.upsample(x, 2), x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="method='area'"):
        ops.upsample(jnp.ones((1, 2, 1)), 2, method="area")
    with pytest.raises(ValueError, match="factor=0"):
        ops.upsample(jnp.ones((1, 2, 1)), 0)
