"""Registration guided by what is seen in both images."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import losses
from jaxmed import registration as reg
from jaxmed.data import Scan, Space

AT = np.indices((24, 24))
AFFINE = np.diag([2.0, 2.0, 1.0])


def _disc(row, column):
    return (1 / (1 + np.exp(2 * (np.hypot(AT[0] - row, AT[1] - column) - 5))))[..., None]


def _scan(array):
    return Scan(np.asarray(array, np.float32), AFFINE, Space((24, 24), AFFINE))


def test_the_loss_is_the_similarity_and_the_weighed_overlap():
    rng = np.random.default_rng(0)
    moved, fixed = (jnp.asarray(rng.uniform(size=(2, 9, 9, 3)), jnp.float32) for _ in range(2))
    where = jnp.asarray(rng.uniform(size=(2, 9, 9)) > 0.3)
    found = reg.guided("ncc", weight=2.5)(moved, fixed, where=where)
    p, q = moved[..., 1:], fixed[..., 1:]
    dice = 2 * (p * q).sum((1, 2)) / (p.sum((1, 2)) + q.sum((1, 2)))
    expected = losses.ncc(moved[..., :1], fixed[..., :1], where=where) + 2.5 * (1 - dice.mean(-1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_what_is_seen_alone_finds_a_planted_shift():
    """Noise has nothing in common, what is seen has: without it nothing could be found."""
    rng = np.random.default_rng(1)
    noise = [0.1 * rng.normal(size=(24, 24, 1)) for _ in range(2)]
    fixed = reg.guided_scan(_scan(noise[0]), _disc(11, 11))
    moving = reg.guided_scan(_scan(noise[1]), _disc(13, 10))
    similarity = reg.guided(partial(losses.lncc, window=5), weight=20)
    found = reg.register(
        fixed, moving, transform="rigid", similarity=similarity, levels=2, steps=60
    )
    centre = np.array([[22.0, 22.0]], np.float32)
    np.testing.assert_allclose(reg.warp_points(found.warp, centre), [[26, 20]], atol=0.5)


def test_what_cannot_guide_is_refused():
    scan = _scan(_disc(11, 11))
    with pytest.raises(ValueError, match="one channel, got 2"):
        reg.guided_scan(_scan(np.zeros((24, 24, 2))), _disc(11, 11))
    with pytest.raises(ValueError, match=r"\(23, 24, 1\); expected \(24, 24\)"):
        reg.guided_scan(scan, _disc(11, 11)[1:])
    with pytest.raises(ValueError, match="0 to 1; these go from 0 to 3"):
        reg.guided_scan(scan, 3.0 * (_disc(11, 11) > 0.5))
    with pytest.raises(ValueError, match="greater than 0"):
        reg.guided(weight=0)
    with pytest.raises(ValueError, match="guided_scan joins them"):
        reg.register(scan, scan, similarity=reg.guided())
