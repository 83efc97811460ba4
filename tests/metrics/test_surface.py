"""Surface distances: brute force over all pairs, hand-worked masks, empty masks, scale."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from jaxmed import metrics


def _masks(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.05
    return a, np.roll(a, 2, axis=0) | (rng.random(shape) < 0.02)


def _border(mask: np.ndarray) -> np.ndarray:
    """Voxels with a face neighbour outside the mask or the image."""
    padded = np.pad(mask, 1)
    inner = np.ones(mask.shape, bool)
    for axis in range(mask.ndim):
        for step in (-1, 1):
            shifted = np.roll(padded, step, axis=axis)
            inner &= shifted[tuple(slice(1, -1) for _ in mask.shape)]
    return np.argwhere(mask & ~inner)


@pytest.mark.parametrize(("shape", "spacing"), [((24, 20), (0.7, 1.3)), ((12, 10, 9), (1, 2, 3))])
def test_distances_are_those_of_all_pairs(shape: tuple, spacing: tuple) -> None:
    a, b = _masks(0, shape)
    pairs = cdist(_border(a) * spacing, _border(b) * spacing)
    one, two = pairs.min(axis=1), pairs.min(axis=0)
    space = {"spacing": spacing}
    assert metrics.hausdorff(a, b, **space) == pytest.approx(max(one.max(), two.max()))
    assert metrics.hausdorff(a, b, percentile=95, **space) == pytest.approx(
        max(np.percentile(one, 95), np.percentile(two, 95))
    )
    pooled = np.concatenate([one, two])
    assert metrics.hausdorff(a, b, percentile=95, definition="pooled", **space) == pytest.approx(
        np.percentile(pooled, 95)
    )
    average = metrics.average_surface_distance
    assert average(a, b, **space) == pytest.approx(pooled.mean())
    assert average(a, b, definition="masd", **space) == pytest.approx((one.mean() + two.mean()) / 2)
    assert metrics.surface_dice(a, b, tolerance=1.0, **space) == pytest.approx(
        np.mean(pooled <= 1.0)
    )
    # Symmetry, and a change of unit.
    assert average(a, b, **space) == pytest.approx(average(b, a, **space))
    wide = tuple(10 * s for s in spacing)
    assert average(a, b, spacing=wide) == pytest.approx(10 * average(a, b, **space))


def test_empty_masks_follow_the_stated_rule() -> None:
    none, some = np.zeros((6, 6), bool), np.eye(6, dtype=bool)
    assert np.isnan(metrics.hausdorff(none, none))
    assert metrics.hausdorff(none, some) == np.inf
    assert metrics.average_surface_distance(some, none) == np.inf
    assert metrics.surface_dice(none, some, tolerance=1) == 0
    assert np.isnan(metrics.surface_dice(none, none, tolerance=1))
    assert metrics.hausdorff(some, some) == 0
    assert metrics.surface_dice(some, some, tolerance=0) == 1


def test_bad_input_is_named() -> None:
    a = np.eye(4, dtype=bool)
    with pytest.raises(ValueError, match="shape"):
        metrics.hausdorff(a, np.eye(5, dtype=bool))
    with pytest.raises(ValueError, match="0 and 1"):
        metrics.hausdorff(2 * np.eye(4, dtype=int), a)
    with pytest.raises(ValueError, match="spacing"):
        metrics.hausdorff(a, a, spacing=(1, 0))
    with pytest.raises(ValueError, match="percentile"):
        metrics.hausdorff(a, a, percentile=0)


@pytest.mark.parametrize("edge", [1.1, 0.3, 1 / 3, 0.7])
@pytest.mark.parametrize("voxels", [1, 3, 7])
def test_a_surface_as_far_as_the_tolerance_is_within_it_wherever_it_lies(edge, voxels):
    tolerance = round(edge * voxels, 6) if edge != 1 / 3 else edge * voxels
    scores, distances = set(), set()
    for at in range(12):
        a, b = np.zeros((20, 2), bool), np.zeros((20, 2), bool)
        a[at] = b[at + voxels] = True
        scores.add(metrics.surface_dice(a, b, tolerance=tolerance, spacing=(edge, 1)))
        distances.add(metrics.hausdorff(a, b, spacing=(edge, 1)))
        assert metrics.surface_dice(a, b, tolerance=0.999 * tolerance, spacing=(edge, 1)) == 0
    assert scores == {1.0}
    assert len(distances) == 1
