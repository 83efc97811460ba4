"""Motion: a planted beat is found, its strain and what is carried along; laws of the order."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxmed import registration as reg
from jaxmed.data import Scan, Space, phantoms
from jaxmed.registration.motion._frames import in_order

# Turned, voxels of 1.5 mm, far from the origin.
AFFINE = np.array([[1.2, -0.9, 30], [0.9, 1.2, -50], [0, 0, 1.0]])


@pytest.fixture(scope="module")
def cine():
    return phantoms.beat(1, (48, 48), frames=6, squeeze=0.25, seed=2)[0]


@pytest.fixture(scope="module")
def space():
    return Space((48, 48), AFFINE)


@pytest.fixture(scope="module")
def rest(cine, space):
    """The mask of the frame at rest."""
    return Scan(cine["mask"][0], AFFINE, space)


@pytest.fixture(scope="module")
def found(cine, space):
    scan = Scan(np.moveaxis(cine["image"][..., 0], 0, -1), AFFINE, space)
    options = {"penalty": {"diffusion": 0.05}, "levels": (1, 0), "steps": 30, "nodes": 1.5}
    return reg.track(scan, cyclic=True, **options)


def _told(cine, warps):
    """How far from the planted place each warp sends the muscle's voxels, in voxels."""
    index = np.argwhere(cine["mask"][0] == 1)
    points = (index @ AFFINE[:2, :2].T + AFFINE[:2, 2]).astype(np.float32)
    apart = []
    for warp, motion in zip(warps, cine["motion"], strict=True):
        want = (index + motion[tuple(index.T)]) @ AFFINE[:2, :2].T + AFFINE[:2, 2]
        apart.append(np.linalg.norm(reg.warp_points(warp, points) - want, axis=-1) / 1.5)
    return np.array(apart)


def test_a_planted_beat_is_found_to_a_third_of_a_voxel(cine, found):
    still = _told(cine, [reg.affine_warp(np.eye(3))] * 6)
    apart = _told(cine, found.warps)
    assert still[3].mean() > 2
    assert apart.mean(1).max() < 0.33
    assert apart[0].max() == 0
    assert np.asarray(found.folds).max() == 0
    assert found.losses.shape == (6, 60)
    assert not np.asarray(found.losses[0]).any()


def test_strain_is_the_planted_one(cine, rest, found):
    wall = rest._replace(array=rest.array == 1)
    directions = reg.directions_about(rest, 2)
    curves = reg.strain_curves(found, wall, directions)
    truth = {"radial": [], "circumferential": []}
    index = np.argwhere(wall.array)
    away = index - np.argwhere(rest.array == 2).mean(0)
    apart = np.linalg.norm(away, axis=-1)
    for motion in cine["motion"]:
        there = np.linalg.norm(away + motion[tuple(index.T)], axis=-1)
        truth["circumferential"].append((((there / apart) ** 2 - 1) / 2).mean())
        truth["radial"].append((((apart / there) ** 2 - 1) / 2).mean())
    assert min(truth["circumferential"]) < -0.1
    np.testing.assert_allclose(curves["circumferential"], truth["circumferential"], atol=0.02)
    # Radial strain is of a wall some voxels thick, and smoothness shares it with the blood.
    np.testing.assert_allclose(curves["radial"], truth["radial"], atol=0.08)
    assert np.argmax(curves["radial"]) == np.argmin(curves["circumferential"]) == 3


def test_masks_and_points_are_carried_along(cine, rest, found):
    masks = reg.carry_mask(found, rest)
    dice = [
        2 * ((m.array == 1) & (t == 1)).sum() / ((m.array == 1).sum() + (t == 1).sum())
        for m, t in zip(masks, cine["mask"], strict=True)
    ]
    still = 2 * ((rest.array == 1) & (cine["mask"][3] == 1)).sum()
    still /= (rest.array == 1).sum() + (cine["mask"][3] == 1).sum()
    assert min(dice) > 0.93 > 0.8 > still
    np.testing.assert_array_equal(masks[0].array, rest.array)
    points = np.float32([[45.0, 10.0], [40.0, 5.0]])
    carried = reg.carry_points(found, points)
    assert carried.shape == (6, 2, 2)
    np.testing.assert_allclose(carried[3], reg.warp_points(found.warps[3], points))


@pytest.mark.parametrize("how", ["direct", "chained"])
def test_a_volume_is_followed_from_a_frame_in_the_middle(how):
    cine = phantoms.beat(1, (24, 24, 4), frames=4, squeeze=0.2, noise=0.0, seed=1)[0]
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    scans = [Scan(x, affine, Space((24, 24, 4), affine)) for x in cine["image"][:3]]
    options = {"levels": 1, "steps": 25, "similarity": "mse", "transform": "displacement"}
    tracked = reg.track(scans, reference=-2, how=how, penalty={"diffusion": 0.02}, **options)
    left = []
    for warp, scan in zip(tracked.warps, scans, strict=True):
        moved = reg.warp_scan(warp, scan, scan.space).array
        apart = [np.abs(x - scans[1].array)[3:-3, 3:-3].mean() for x in (moved, scan.array)]
        left.append(apart)
    assert left[1] == [0, 0]
    for after, before in (left[0], left[2]):
        assert after < 0.4 * before


def test_frames_are_gone_through_away_from_the_reference():
    assert in_order(4, 1, cyclic=False) == ((2, 1), (3, 2), (0, 1))
    assert in_order(5, 4, cyclic=True) == ((0, 4), (1, 0), (3, 4), (2, 3))
    for count in (2, 3, 6):
        for reference in range(count):
            for cyclic in (False, True):
                order = in_order(count, reference, cyclic=cyclic)
                done = {reference}
                for frame, before in order:
                    assert before in done
                    done.add(frame)
                assert done == set(range(count))
                assert len(order) == count - 1


def test_patients_by_vmap_equal_a_loop():
    cines = np.stack([c["image"] for c in phantoms.beat(2, (12, 12), frames=3, seed=5)])

    def run(images):
        return reg.track(images, levels=1, steps=3, similarity="ncc").warps[2].values

    together = jax.vmap(run)(cines)
    for images, values in zip(cines, together, strict=True):
        np.testing.assert_allclose(values, run(images), atol=1e-4)
    assert np.abs(together).max() > 0.05


def test_directions_are_right_handed_and_follow_an_oblique_axis():
    mask = np.zeros((20, 20, 6), np.int32)
    for k in range(6):  # the chamber leans by half a voxel a slice
        at = np.indices((20, 20))
        mask[..., k] = np.hypot(at[0] - 7 - 0.5 * k, at[1] - 9) < 4
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    found = reg.directions_about(Scan(mask, affine, Space(mask.shape, affine)), 1)
    lean = np.array([0.5, 0, 4]) / np.linalg.norm([0.5, 0, 4])
    np.testing.assert_allclose(found.longitudinal[3, 3, 3], lean, atol=0.02)
    for one, two in ((found.radial, found.circumferential), (found.radial, found.longitudinal)):
        np.testing.assert_allclose((one * two).sum(-1), 0, atol=1e-5)
    turned = np.cross(found.radial, found.circumferential)[2, 2]
    np.testing.assert_allclose(turned, found.longitudinal[2, 2], atol=1e-5)


def test_what_cannot_be_tracked_is_refused_with_its_reason():
    image = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    space = Space((8, 8), np.eye(3))
    scans = [Scan(x, np.eye(3), space) for x in image]
    for cine, match in (
        (image[:1], "two frames or more"),
        (image[..., 0, 0], "cine has shape"),
        (image[:, :, :1], "an axis of one voxel"),
        (np.where(image > 2, np.nan, image), "values that are not finite"),
        (image * np.array([1, 0, 1]).reshape(3, 1, 1, 1), "frame 1 is constant"),
        ([scans[0], scans[1]._replace(affine=2 * np.eye(3))], "frame 1 lies on another grid"),
        (Scan(image[0, ..., 0], np.eye(3), space), "frames along the last one"),
    ):
        with pytest.raises(ValueError, match=match):
            reg.track(cine, levels=1, steps=1)
    for options, match in (
        ({"reference": 3}, "reference=3 of 3 frames"),
        ({"how": "both"}, "how='both'"),
        ({"transform": "affine"}, "not as one body"),
        ({"similarity": "dice"}, "of masks"),
        ({"where": np.ones((8, 7))}, "voxels that count have shape"),
    ):
        with pytest.raises(ValueError, match=match):
            reg.track(image, **options)
    with pytest.raises(ValueError, match="affine is that of arrays"):
        reg.track(scans, affine=np.eye(3))
    empty = Scan(np.zeros((8, 8), np.int32), np.eye(3), space)
    with pytest.raises(ValueError, match="no voxel of label 3"):
        reg.directions_about(empty, 3)
    with pytest.raises(ValueError, match="wall has no voxel"):
        reg.strain_curves([], empty, {})
    with pytest.raises(ValueError, match="direction 'r' has shape"):
        reg.strain_curves([], empty._replace(array=empty.array + 1), {"r": np.ones(2)})
