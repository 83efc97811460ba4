"""Groupwise templates: laws of the mean, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed import registration as reg
from jaxmed.data import Scan, Space

SHAPE = (22, 20)
AFFINE = np.array([[1.2, -0.9, 10], [0.9, 1.2, -20], [0, 0, 1.0]])  # turned, 1.5 mm


def _scan(centre, size, shape=SHAPE, affine=AFFINE):
    """An ellipse with a hole, in voxels of the template's grid, on any grid."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    points = index @ affine[:2, :2].T + affine[:2, 2]
    at = (points - AFFINE[:2, 2]) @ np.linalg.inv(AFFINE[:2, :2]).T
    apart = np.sqrt((((at - centre) / size) ** 2).sum(-1))
    image = np.exp(-((apart - 1) ** 2) / 0.1)[..., None]
    return Scan(image.astype(np.float32), affine, Space(shape, affine))


SCANS = [_scan((9, 9), (4, 5)), _scan((11, 9.5), (5, 4)), _scan((10, 10.5), (6, 6))]


@pytest.fixture(scope="module")
def found():
    return reg.template(SCANS, levels=1, rounds=2, steps=20, penalty={"diffusion": 0.05})


def test_the_maps_have_the_identity_for_their_mean(found):
    velocities = np.stack([w.values for w in found.warps])
    assert [w.kind for w in found.warps] == ["velocity"] * 3
    assert np.abs(velocities).max() > 1
    np.testing.assert_allclose(velocities.mean(0), 0, atol=1e-5)
    assert found.losses.shape == (3, 40)
    assert min(float(reg.folds(w, SCANS[0].space)) for w in found.warps) == 0


def test_the_mean_is_sharper_than_that_of_the_scans_as_they_lie(found):
    plain = np.mean([s.array for s in SCANS], 0)
    moved = [reg.warp_scan(w, s, found.mean).array for w, s in zip(found.warps, SCANS, strict=True)]
    np.testing.assert_allclose(found.mean.array, np.mean(moved, 0), atol=1e-5)
    assert found.mean.array.max() > 0.97 > 0.95 > plain.max()
    inner = (slice(3, -3), slice(3, -3))
    spread = np.std(moved, 0)[inner].mean()
    assert spread < 0.5 * np.std([s.array for s in SCANS], 0)[inner].mean()


def test_the_order_of_the_scans_changes_nothing(found):
    other = reg.template(
        SCANS[::-1], levels=1, rounds=2, steps=20, penalty={"diffusion": 0.05}, space=SCANS[0]
    )
    np.testing.assert_allclose(other.mean.array, found.mean.array, atol=5e-3)


def test_linear_maps_bring_scans_of_other_grids_to_their_middle():
    affine = np.diag([1.7, 1.7, 1.0])
    affine[:2, 2] = AFFINE[:2, :2] @ np.array([11, 10]) + AFFINE[:2, 2] - 1.7 * 14
    shifts = np.array([[8.0, 10.0], [12.0, 9.0]])
    scans = [_scan(shifts[0], (4, 5)), _scan(shifts[1], (4, 5), (29, 29), affine)]
    found = reg.template(scans, transform="rigid", similarity="mse", levels=1, steps=30)
    middle = (AFFINE[:2, :2] @ shifts.mean(0) + AFFINE[:2, 2]).astype(np.float32)
    for warp, shift in zip(found.warps, shifts, strict=True):
        want = AFFINE[:2, :2] @ shift + AFFINE[:2, 2]
        assert np.linalg.norm(reg.warp_points(warp, middle) - want) < 0.4
    again = reg.template(scans, levels=1, rounds=1, steps=1, initial=found.warps, rate=1e-6)
    for one, two in zip(again.warps, found.warps, strict=True):
        np.testing.assert_allclose(
            reg.warp_points(one, middle), reg.warp_points(two, middle), atol=1e-2
        )


def test_what_has_no_template_is_refused_with_its_reason():
    flat = SCANS[0]._replace(array=np.ones_like(SCANS[0].array))
    wide = SCANS[0]._replace(array=np.tile(SCANS[0].array, 2))
    for scans, options, match in (
        (SCANS[:1], {}, "two scans or more"),
        ([SCANS[0], flat], {}, "scan 1 is constant"),
        ([SCANS[0], wide], {}, "as many channels"),
        (SCANS, {"transform": "displacement"}, "no logarithm to average"),
        (SCANS, {"rounds": 0}, "rounds=0"),
        (SCANS, {"similarity": "dice"}, "of masks"),
        (SCANS, {"initial": [reg.affine_warp(np.eye(3))]}, "1 warps for 3 scans"),
    ):
        with pytest.raises(ValueError, match=match):
            reg.template(scans, **options)
