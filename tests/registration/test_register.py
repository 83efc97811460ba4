"""Registration of pairs: planted warps, laws of similarity, and what is refused."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from jaxmed import losses
from jaxmed import registration as reg
from jaxmed.data import Scan, Space

GRID = (28, 30)
AFFINE = np.array([[1.2, -0.9, 10], [0.9, 1.2, -20], [0, 0, 1.0]])  # turned, 1.5 mm


def _picture(points):
    """Brightness at places in millimetres: blobs and waves, smooth everywhere."""
    rng = np.random.default_rng(0)
    middle = AFFINE[:2, :2] @ ((np.array(GRID) - 1) / 2) + AFFINE[:2, 2]
    blobs = middle + rng.uniform(-14, 14, (9, 2))
    apart = ((points[..., None, :] - blobs) ** 2).sum(-1)
    return np.exp(-apart / (2 * rng.uniform(2, 4, 9) ** 2)) @ rng.uniform(0.5, 1.5, 9)


def _places(shape, affine):
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:2, :2].T + affine[:2, 2]


def _scan(picture, shape=GRID, affine=AFFINE):
    image = picture(_places(shape, affine))[..., None].astype(np.float32)
    return Scan(image, affine, Space(shape, affine))


def _planted(warp):
    """A pair of which ``warp`` is the answer, the moving image on a coarser grid of its own."""
    other = np.diag([1.7, 1.7, 1.0])
    other[:2, 2] = AFFINE[:2, :2] @ ((np.array(GRID) - 1) / 2) + AFFINE[:2, 2] - 1.7 * 16
    fixed = _scan(lambda p: _picture(np.asarray(reg.warp_points(warp, p.astype(np.float32)))))
    return fixed, _scan(_picture, (33, 33), other)


def _apart(found, truth):
    """How far apart two warps send the voxels of the middle, in voxels of 1.5 mm."""
    points = _places(GRID, AFFINE)[4:-4, 4:-4].astype(np.float32)
    both = [np.asarray(reg.warp_points(w, points)) for w in (found, truth)]
    return np.linalg.norm(both[0] - both[1], axis=-1) / 1.5


def _about(matrix):
    """A linear map about the middle of the fixed image."""
    middle = AFFINE[:2, :2] @ ((np.array(GRID) - 1) / 2) + AFFINE[:2, 2]
    whole = np.eye(3)
    whole[:2, :2] = matrix
    whole[:2, 2] = middle - matrix @ middle + [2.0, -3.0]
    return reg.affine_warp(whole)


TURN = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])


@pytest.mark.parametrize(
    ("transform", "similarity", "matrix"),
    [
        ("rigid", "mse", TURN),
        ("affine", "ncc", np.array([[1.15, 0.1], [-0.2, 0.9]])),
        ("rigid", "mutual_information", TURN),
    ],
)
def test_linear_maps_are_recovered_on_oblique_grids(transform, similarity, matrix):
    truth = _about(matrix)
    fixed, moving = _planted(truth)
    found = reg.register(fixed, moving, transform=transform, similarity=similarity, levels=2)
    assert _apart(reg.affine_warp(np.eye(3)), truth).max() > 3
    assert _apart(found.warp, truth).max() < 0.5
    assert found.warp.kind == "affine"


@pytest.mark.parametrize(
    ("transform", "options"),
    [
        ("velocity", {"symmetric": True, "penalty": {"diffusion": 0.3}}),
        ("displacement", {"similarity": "mse", "penalty": {"diffusion": 0.3, "jacobian": 1.0}}),
        ("bspline", {"similarity": "mse", "penalty": {"bending": 0.1}}),
    ],
)
def test_smooth_warps_are_recovered(transform, options):
    at = _places(GRID, AFFINE)
    middle = at.mean((0, 1))
    bump = np.exp(-(((at - middle) / 12) ** 2).sum(-1, keepdims=True))
    truth = reg.displacement_warp(bump * np.array([3.0, -2.0]), AFFINE)
    fixed, moving = _planted(truth)
    found = reg.register(fixed, moving, transform=transform, levels=2, steps=50, **options)
    before, after = (_apart(w, truth) for w in (reg.affine_warp(np.eye(3)), found.warp))
    assert before.max() > 2
    assert after.mean() < 0.3
    assert np.quantile(after, 0.95) < 0.65
    assert float(found.folds) == 0
    moved = reg.warp_scan(found.warp, moving, fixed.space).array[4:-4, 4:-4]
    left = np.abs(moved - fixed.array[4:-4, 4:-4]).mean()
    start = reg.warp_scan(reg.affine_warp(np.eye(3)), moving, fixed.space).array[4:-4, 4:-4]
    assert left < 0.35 * np.abs(start - fixed.array[4:-4, 4:-4]).mean()


@pytest.mark.slow
def test_a_planted_flow_of_a_head_is_recovered_to_half_a_voxel():
    pytest.importorskip("nilearn", exc_type=ImportError)
    from jaxmed.data import phantoms

    head = phantoms.brain(1, noise=0.0, seed=3)[0]
    shape = head["mask"].shape
    turn = np.array([[0.8, -0.6, 0, 5], [0.6, 0.8, 0, -9], [0, 0, 1, 3], [0, 0, 0, 1.0]])
    affine = turn @ np.diag([4.0, 4.0, 4.0, 1.0])
    at = np.stack(np.meshgrid(*[np.linspace(0, np.pi, n) for n in shape], indexing="ij"), -1)
    field = 12 * np.sin(at).prod(-1, keepdims=True) * np.cos(2 * at[..., [1, 2, 0]])
    truth = reg.velocity_warp(field.astype(np.float32), affine)
    moving = Scan(head["image"], affine, Space(shape, affine))
    fixed = reg.warp_scan(truth, moving, moving)
    found = reg.register(fixed, moving, levels=(1, 0), steps=40)
    tissue = np.argwhere(fixed.array[..., 0] > 0.2)
    points = (tissue @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    want = np.asarray(reg.warp_points(truth, points))
    apart = np.linalg.norm(np.asarray(reg.warp_points(found.warp, points)) - want, axis=1) / 4
    before = np.linalg.norm(points - want, axis=1) / 4
    assert before.mean() > 0.7
    assert apart.mean() < 0.3
    assert np.quantile(apart, 0.9) < 0.5
    assert float(found.folds) == 0


def _pair(seed=0, shape=(16, 18)):
    rng = np.random.default_rng(seed)
    at = np.indices(shape)
    blobs = rng.uniform(4, 12, (3, 2))
    images = []
    for middles in (blobs, blobs + rng.uniform(-1, 1, (3, 2))):
        image = sum(np.exp(-((at[0] - a) ** 2 + (at[1] - b) ** 2) / 12) for a, b in middles)
        images.append(image[..., None].astype(np.float32))
    return images


@pytest.mark.parametrize("transform", ["affine", "velocity"])
def test_symmetric_registration_of_exchanged_images_is_the_inverse(transform):
    a, b = _pair()
    run = partial(
        reg.register, transform=transform, similarity="lncc", levels=1, steps=15, symmetric=True
    )
    there, back = run(a, b).warp, run(b, a).warp
    want = reg.invert(there)
    np.testing.assert_allclose(back.values, want.values, atol=2e-3)
    assert np.abs(np.asarray(there.values) - np.asarray(want.values)).max() > 0.1


def test_batches_by_vmap_equal_a_loop():
    pairs = [_pair(i) for i in range(2)]
    fixed, moving = (np.stack(side) for side in zip(*pairs, strict=True))
    run = partial(reg.register, transform="velocity", similarity="ncc", levels=1, steps=4)
    together = jax.vmap(run)(fixed, moving)
    for i, (a, b) in enumerate(pairs):
        alone = run(a, b)
        np.testing.assert_allclose(together.warp.values[i], alone.warp.values, atol=1e-4)
        np.testing.assert_allclose(together.losses[i], alone.losses, atol=1e-5)


def test_an_initial_warp_is_in_the_result_and_labels_pull():
    shape = (24, 18)  # dark at the far end, from which rolled rows come
    fixed, moving = _pair(3, shape)
    shift = reg.affine_warp(np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]]))
    away = np.roll(moving, 3, 0)
    run = partial(reg.register, levels=1, steps=10, similarity="mse")
    plain = run(fixed, moving, transform="displacement")
    for initial in (shift, reg.displacement_warp(np.tile([3.0, 0.0], (*shape, 1)), np.eye(3))):
        begun = run(fixed, away, transform="displacement", initial=initial)
        inner = (slice(2, -4), slice(2, -2))
        points = _places(shape, np.eye(3))[inner].astype(np.float32)
        got = reg.warp_points(begun.warp, points)
        want = reg.warp_points(plain.warp, points) + np.array([3.0, 0.0])
        np.testing.assert_allclose(got, want, atol=0.1)
    masks = tuple((image[..., 0] > 0.5).astype(np.int32) for image in (fixed, moving))
    scan = Scan(masks[1], np.eye(3), Space(shape, np.eye(3)))

    def dice(warp):
        moved = np.stack([reg.warp_scan(warp, scan, scan).array, masks[0]]).astype(np.float32)
        one, two = moved[:, None, ..., None]
        return float(losses.dice(one, two, activation=None, include_background=True)[0])

    pulled = run(fixed, moving, transform="velocity", labels=masks, label_weight=3.0)
    alone = run(masks[0], masks[1], transform="velocity", similarity="dice", steps=20)
    start = dice(reg.affine_warp(np.eye(3)))
    assert dice(pulled.warp) < 0.6 * start
    assert dice(alone.warp) < 0.6 * start


def test_voxels_that_do_not_count_are_not_seen():
    fixed, moving = _pair(5)
    counts = np.ones(fixed.shape[:2], bool)
    counts[:4, :5] = False
    run = partial(reg.register, transform="displacement", similarity="lncc", levels=1, steps=5)
    found = []
    for seed in (0, 1):
        dirty = fixed.copy()
        dirty[~counts] = np.random.default_rng(seed).normal(size=(20, 1))
        found.append(run(dirty, moving, where=(counts, None)).warp.values)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[0]).max() > 0.05
    with pytest.raises(ValueError, match="voxels that count of fixed have shape"):
        run(fixed, moving, where=(counts[1:], None))


def test_what_cannot_be_registered_is_refused_with_its_reason():
    a, b = _pair()
    flat = np.ones_like(a)
    for similarity in ("ncc", "lncc", "mind", "mutual_information"):
        with pytest.raises(ValueError, match="moving is constant"):
            reg.register(a, flat, similarity=similarity)
    still = reg.register(flat, flat, similarity="mse", levels=1, steps=2, transform="velocity")
    assert not np.abs(still.warp.values).any()
    with pytest.raises(ValueError, match="fixed has values that are not finite"):
        reg.register(np.where(a > 0.5, np.nan, a), b)
    with pytest.raises(ValueError, match=r"fixed has shape \(16, 18, 1\) and moving"):
        reg.register(a, np.concatenate([b, b], -1))
    scans = [Scan(x, np.eye(3), Space(x.shape[:2], np.eye(3))) for x in (a, b)]
    volume = Scan(np.ones((4, 4, 4, 1), np.float32), np.eye(4), Space((4, 4, 4), np.eye(4)))
    with pytest.raises(ValueError, match="as many axes"):
        reg.register(scans[0], volume, similarity="mse")
    with pytest.raises(ValueError, match="the affine of moving has no inverse"):
        reg.register(scans[0], scans[1]._replace(affine=np.diag([1.0, 0, 1])))
    with pytest.raises(ValueError, match="labels of moving have shape"):
        reg.register(a, b, labels=(np.ones((16, 18), int), np.ones((16, 17), int)))
    with pytest.raises(ValueError, match="both masks are empty"):
        reg.register(np.zeros((8, 8), int), np.zeros((8, 8), int), similarity="dice")
    with pytest.raises(ValueError, match="transform='elastic'"):
        reg.register(a, b, transform="elastic")
    with pytest.raises(ValueError, match="similarity='ssd'"):
        reg.register(a, b, similarity="ssd")
    with pytest.raises(ValueError, match="penalty 'elastic'"):
        reg.register(a, b, penalty={"elastic": 1.0})
    with pytest.raises(ValueError, match="transform='rigid' has no field"):
        reg.register(a, b, transform="rigid", penalty={"bending": 1.0})
    with pytest.raises(ValueError, match="no closed form"):
        reg.register(a, b, transform="displacement", symmetric=True)
    for options, match in (
        ({"levels": (1, 0), "steps": (3,)}, "one level or more"),
        ({"steps": 0}, "one level or more"),
        ({"levels": 2.0}, "whole numbers"),
        ({"rate": float("nan")}, "rate=nan must be above 0"),
        ({"nodes": 0}, "nodes=0 must be above 0"),
        ({"label_weight": -1}, "label_weight=-1 must be above 0"),
        ({"squarings": -1}, "squarings=-1 is negative"),
        ({"penalty": {"diffusion": float("nan")}}, "has the weight nan"),
        ({"penalty": {"diffusion": -1}}, "has the weight -1"),
        ({"where": (np.zeros((16, 18)), None)}, "that count of fixed are none"),
    ):
        with pytest.raises(ValueError, match=match):
            reg.register(a, b, **options)
    with pytest.raises(ValueError, match=r"16 x 18 x 1 voxels: .* the slice alone"):
        reg.register(a[:, :, None], b[:, :, None])
    for given in ("fixed.nii.gz", a * 1j, None):
        with pytest.raises(ValueError, match=r"fixed is a .* array of real numbers"):
            reg.register(given, b)


def test_images_that_lie_apart_are_refused_until_they_are_brought_together():
    a, b = _pair()
    far = np.eye(3)
    far[0, 2] = 200
    fixed = Scan(a, np.eye(3), Space((16, 18), np.eye(3)))
    moving = Scan(b, far, Space((16, 18), far))
    run = partial(reg.register, fixed, moving, levels=1, steps=2, transform="rigid")
    for search in (run, partial(reg.convex_adam, fixed, moving)):
        with pytest.raises(ValueError, match=r"wholly outside .*centre_warp"):
            search()
    found = run(initial=reg.centre_warp(fixed, moving))
    assert np.abs(reg.warp_points(found.warp, np.float32([8, 9])) - np.array([208, 9])).max() < 2


def test_penalties_have_their_closed_forms_whatever_the_spacing():
    at = np.stack(np.meshgrid(np.arange(6) * 2.0, np.arange(5) * 0.5, indexing="ij"), -1)
    slope = np.array([[0.1, 0.2], [-0.3, 0.05]])
    line = (at @ slope.T)[None].astype(np.float32)
    bowl = (at**2 @ np.array([[1.0, 0.0], [0.0, 0.5]]))[None].astype(np.float32)
    spacing = (2.0, 0.5)
    np.testing.assert_allclose(
        reg.diffusion_energy(line, spacing=spacing), (slope**2).sum(), rtol=1e-4
    )
    np.testing.assert_allclose(reg.bending_energy(line, spacing=spacing), 0, atol=1e-6)
    np.testing.assert_allclose(reg.bending_energy(bowl, spacing=spacing), 4 + 1, rtol=1e-4)
    assert float(reg.folding_energy(line, spacing=spacing)[0]) == 0
    mirrored = np.stack([-3 * at[..., 0], 0 * at[..., 0]], -1)[None]
    np.testing.assert_allclose(reg.folding_energy(mirrored, spacing=spacing), 2, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(batch, \*grid, rank\)"):
        reg.diffusion_energy(line[0])
