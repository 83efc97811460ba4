"""The selective scan beside the recurrence written as a loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import ops
from jaxmed.networks.layers._state_space import Mamba

RNG = np.random.default_rng(0)


def drawn(batch=2, time=11, d=3, n=4):
    x, step = RNG.normal(size=(2, batch, time, d))
    decay = -np.exp(RNG.normal(size=(d, n)))
    into, out = RNG.normal(size=(2, batch, time, n))
    return [np.asarray(a, np.float32) for a in (x, np.log1p(np.exp(step)), decay, into, out)]


def looped(x, step, decay, into, out):
    state, found = np.zeros((x.shape[0], *decay.shape)), []
    for t in range(x.shape[1]):
        state = np.exp(step[:, t, :, None] * decay) * state
        state = state + (step[:, t] * x[:, t])[:, :, None] * into[:, t, None]
        found.append((state * out[:, t, None]).sum(-1))
    return np.stack(found, 1)


@pytest.mark.parametrize("chunk", [1, 4, 256])
def test_the_scan_is_the_loop(chunk):
    given = drawn()
    np.testing.assert_allclose(
        ops.selective_scan(*given, chunk=chunk), looped(*given), rtol=1e-4, atol=1e-5
    )


def test_its_derivative_is_the_loops():
    given = drawn(batch=1, time=5, d=2, n=2)
    weights = RNG.normal(size=(1, 5, 2))

    def total(*args):
        return (ops.selective_scan(*args, chunk=2) * weights).sum()

    found = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3, 4)))(*given)
    for i, gradient in enumerate(found):
        direction, small = RNG.normal(size=given[i].shape), 1e-4
        ends = []
        for sign in (1, -1):
            moved = [a.astype(np.float64) for a in given]
            moved[i] = moved[i] + sign * small * direction
            ends.append((looped(*moved) * weights).sum())
        slope = (ends[0] - ends[1]) / (2 * small)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_half_precision_is_summed_in_single():
    given = [jnp.asarray(a, jnp.bfloat16) for a in drawn()]
    assert ops.selective_scan(*given).dtype == jnp.float32


def test_shapes_that_do_not_belong_together_are_refused():
    x, step, decay, into, out = drawn()
    with pytest.raises(ValueError, match=r"decay is \(d, n\)"):
        ops.selective_scan(x, step, decay[:2], into, out)
    with pytest.raises(ValueError, match=r"into and out are \(batch, time, n\)"):
        ops.selective_scan(x, step, decay, into[:, :3], out)


def test_a_time_does_not_see_what_comes_after():
    layer = Mamba(state=3)
    x = jnp.asarray(RNG.normal(size=(1, 7, 4)), jnp.float32)
    variables = layer.init(jax.random.key(0), x)
    apply = jax.jit(layer.apply)
    whole, changed = apply(variables, x), apply(variables, x.at[:, 4:].add(1.0))
    np.testing.assert_allclose(whole[:, :4], changed[:, :4], atol=1e-6)
    assert np.abs(whole[:, 4:] - changed[:, 4:]).max() > 1e-3
