"""A cell carried along an axis, against the loop that it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.ops import sweep

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


def cell(carry, x):
    new = 0.5 * carry + jnp.sin(x)
    return new, new * x


def loop(x, axis, reverse, mask):
    slices = np.moveaxis(x, axis, 0)
    carry, outputs = np.zeros_like(slices[0]), np.zeros_like(slices)
    order = range(len(slices))[::-1] if reverse else range(len(slices))
    for at in order:
        new = 0.5 * carry + np.sin(slices[at])
        counts = mask[:, at].reshape(-1, 1, 1)
        carry = np.where(counts, new, carry)
        outputs[at] = np.where(counts, new * slices[at], 0)
    return carry, np.moveaxis(outputs, 0, axis)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_loop(axis, reverse, masked):
    mask = np.ones((2, X.shape[axis]), bool)
    if masked:
        mask[0, 1], mask[1, -1] = False, False
    start = jnp.zeros_like(jnp.moveaxis(X, axis, 0)[0])
    given = {"start": start, "axis": axis, "reverse": reverse}
    expected = loop(X, axis, reverse, mask)
    found = sweep(cell, jnp.asarray(X), mask=jnp.asarray(mask) if masked else None, **given)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    if masked:
        broken = np.where(np.moveaxis(mask.reshape(2, -1, 1, 1), 1, axis), X, np.nan)
        again = sweep(cell, jnp.asarray(broken), mask=jnp.asarray(mask), **given)
        np.testing.assert_array_equal(again[1], found[1])


def test_what_is_computed_again_has_the_same_slopes():
    def loss(x, remat):
        return jnp.sum(jnp.square(sweep(cell, x, start=jnp.zeros((2, 4, 5)), remat=remat)[1]))

    one, other = (jax.grad(loss)(jnp.asarray(X), remat) for remat in (False, True))
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_arrays_that_go_together_are_swept_as_one(masked):
    def apart(carry, given):
        new, out = cell(carry, given["a"] + given["b"])
        return new, {"out": out, "new": new}

    mask = jnp.asarray([[True, True, False, True], [False, True, True, True]]) if masked else None
    options = {"start": jnp.zeros((2, 3, 5)), "axis": 2, "reverse": True, "mask": mask}
    x = jnp.asarray(X)
    carry, outputs = sweep(apart, {"a": 0.25 * x, "b": 0.75 * x}, **options)
    expected = sweep(cell, x, **options)
    np.testing.assert_allclose(carry, expected[0], atol=1e-6)
    np.testing.assert_allclose(outputs["out"], expected[1], atol=1e-6)
    assert outputs["new"].shape == X.shape


def test_what_cannot_be_swept_is_refused():
    start = jnp.zeros((2, 4, 5))
    with pytest.raises(ValueError, match="between the batch and the channels"):
        sweep(cell, jnp.asarray(X), start=start, axis=3)
    with pytest.raises(ValueError, match="no steps to sweep along axis 1"):
        sweep(cell, jnp.zeros((2, 0, 4, 5)), start=start)
    with pytest.raises(ValueError, match=r"the mask must be \(batch, steps\), \(2, 3\)"):
        sweep(cell, jnp.asarray(X), start=start, mask=jnp.ones((2, 4), bool))
    with pytest.raises(ValueError, match="go together must be of one length"):
        sweep(cell, [jnp.asarray(X), jnp.zeros((2, 2, 4, 5))], start=start)
