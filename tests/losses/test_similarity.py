"""Similarities of images: by hand, and their limits where they are undefined."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import losses

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(1, 11, 13, 1)).astype(np.float32)
OTHER = RNG.normal(size=(1, 11, 13, 1)).astype(np.float32)


@pytest.mark.parametrize("value", [0.1, 1000.3, 1e-3, 0.0])
@pytest.mark.parametrize("name", ["ncc", "lncc", "mutual_information"])
def test_a_constant_image_pulls_nowhere(name, value):
    """Rounding of a mean makes a constant image vary by an ulp, over which slopes are huge."""
    loss = getattr(losses, name)
    constant = jnp.full(IMAGE.shape, value) * (1 + 1e-7 * RNG.integers(-1, 2, IMAGE.shape))
    for pair in ((constant, IMAGE), (IMAGE, constant)):
        found, slope = jax.value_and_grad(lambda x, y: loss(x, y)[0])(*pair)
        if name != "mutual_information":
            assert float(found) == 1
            assert float(jnp.abs(slope).max()) == 0
        else:
            assert np.isfinite(found)
            assert np.isfinite(slope).all()


def test_windows_hold_what_counts_alone():
    known = np.zeros(IMAGE.shape, bool)
    known[:, :7] = True
    blank = np.where(known, IMAGE, np.nan)
    found = losses.lncc(blank, OTHER, where=known, window=5)
    alone = losses.lncc(IMAGE[:, :7], OTHER[:, :7], window=5)
    np.testing.assert_allclose(found, alone, rtol=1e-4)
    flat = np.where(known, 0.1, IMAGE).astype(np.float32)
    assert losses.lncc(flat, OTHER, where=known)[0] == 1


def test_windows_are_correlated_by_hand():
    x, y = IMAGE[0, ..., 0].astype(np.float64), OTHER[0, ..., 0].astype(np.float64)
    found = []
    for i in range(11):
        for j in range(13):
            box = np.s_[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            found.append(np.corrcoef(x[box].ravel(), y[box].ravel())[0, 1])
    assert losses.lncc(IMAGE, OTHER, window=3)[0] == pytest.approx(1 - np.mean(found), abs=1e-3)
