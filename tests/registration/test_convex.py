"""Discrete search, then Adam: what is far is found, on any grids and in any modality."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxmed import registration as reg
from jaxmed.data import Scan, Space
from jaxmed.registration.pairs._convex import _coupled, _searched

AFFINE = np.array([[1.2, -0.9, 10], [0.9, 1.2, -20], [0, 0, 1.0]])  # turned, 1.5 mm


def _texture(shape, seed=0, far=0):
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=(*(n + 2 * far for n in shape), 1))
    for axis in range(len(shape)):
        wide = sum(np.roll(wide, k, axis) for k in (-1, 0, 1)) / 3
    return wide.astype(np.float32)


def _shifted(shape, shift, seed=0):
    """An image, and one that has at p + shift what it has at p."""
    far = max(map(abs, shift))
    wide = _texture(shape, seed, far)
    cut = [tuple(slice(far - s, far - s + n) for s, n in zip(by, shape, strict=True))
           for by in ((0,) * len(shape), shift)]  # fmt: skip
    return [wide[c] for c in cut]


def test_a_search_finds_the_offset_of_every_cell():
    fixed, moving = _shifted((20, 22), (3, -2))
    cells = np.asarray(_coupled(fixed, moving, None, 4))
    want = np.broadcast_to([3, -2], (6, 8, 2))
    np.testing.assert_allclose(cells[7:-7, 7:-7], want, atol=1e-4)
    both = np.asarray(_searched(fixed, moving, (None, None), reach=4, consistent=True))
    np.testing.assert_allclose(both[7:-7, 7:-7], want, atol=0.05)


def test_what_is_too_far_for_a_slope_is_found_in_both_modalities():
    fixed, moving = _shifted((36, 36), (8, -5), seed=3)
    space = Space((36, 36), AFFINE)
    scans = [Scan(fixed, AFFINE, space), Scan(2 - 3 * moving, AFFINE, space)]
    points = np.argwhere(np.ones((12, 12))) + 12
    want = (points + np.array([8, -5])) @ AFFINE[:2, :2].T + AFFINE[:2, 2]
    at = (points @ AFFINE[:2, :2].T + AFFINE[:2, 2]).astype(np.float32)

    def apart(warp):
        return np.median(np.linalg.norm(reg.warp_points(warp, at) - want, axis=-1)) / 1.5

    found = reg.convex_adam(*scans, reach=5, steps=20, penalty={"diffusion": 0.02})
    alone = reg.register(*scans, similarity="mind", levels=2, steps=20)
    assert apart(found.warp) < 0.4
    assert apart(alone.warp) > 3
    assert found.losses.shape == (20,)
    assert float(found.losses[-1]) < float(found.losses[0])


def test_an_initial_warp_and_other_grids_are_in_the_result():
    fixed, moving = _shifted((24, 24, 10), (2, 0, 1), seed=4)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    start = np.eye(4)
    start[:3, 3] = [30, 0, 0]
    scans = [Scan(fixed, affine, Space(fixed.shape[:3], affine)),
             Scan(moving, start @ affine, Space(fixed.shape[:3], start @ affine))]  # fmt: skip
    options = {"features": "brightness", "search": 0, "reach": 2, "steps": 0}
    found = reg.convex_adam(*scans, initial=reg.affine_warp(start), **options)
    moved = reg.warp_points(found.warp, np.float32([12, 12, 10]))
    np.testing.assert_allclose(moved, [12 + 2 + 30, 12, 10 + 2], atol=0.3)
    assert found.losses.shape == (0,)


@pytest.mark.slow
def test_pairs_by_vmap_equal_a_loop_and_voxels_that_do_not_count_are_not_seen():
    pairs = [_shifted((12, 12), (2, 1), seed) for seed in (5, 6)]
    fixed, moving = (np.stack(side) for side in zip(*pairs, strict=True))

    def run(a, b):
        return reg.convex_adam(a, b, search=0, reach=2, steps=2).warp.values

    together = jax.vmap(run)(fixed, moving)
    np.testing.assert_allclose(together[1], run(*pairs[1]), atol=1e-4)
    counts = np.ones((12, 12), bool)
    counts[:4] = False
    found = []
    for seed in (0, 1):
        dirty = pairs[0][0].copy()
        dirty[~counts] = np.random.default_rng(seed).normal(size=(48, 1))
        options = {"search": 0, "reach": 2, "steps": 2, "consistent": False}
        found.append(reg.convex_adam(dirty, pairs[0][1], where=(counts, None), **options))
    np.testing.assert_allclose(found[0].warp.values, found[1].warp.values, atol=1e-5)


def test_what_cannot_be_searched_is_refused_with_its_reason():
    image = _texture((8, 8))
    for options, match in (
        ({"features": "sift"}, "features='sift'"),
        ({"reach": 0}, "reach=0"),
        ({"search": -1}, "search=-1"),
        ({"penalty": {"elastic": 1}}, "penalty 'elastic'"),
        ({"steps": -3}, "one level or more"),
    ):
        with pytest.raises(ValueError, match=match):
            reg.convex_adam(image, image, **options)
    with pytest.raises(ValueError, match="moving is constant"):
        reg.convex_adam(image, np.ones_like(image))
