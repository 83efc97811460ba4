from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import augment
from jaxmed.augment._chain import _names

KEY = jax.random.key(3)
STILL = augment.random_affine(rotation=0, scale=(1, 1))  # makes a chain interpolate


def atlas(n, shape):
    """Images whose channels are their voxels' coordinates; masks that number the voxels."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).astype(np.float32)
    number = np.arange(np.prod(shape)).reshape(shape).astype(np.int32)
    return {"image": np.stack([index] * n), "mask": np.stack([number] * n)}


def places(batch, shape):
    return np.stack(np.unravel_index(np.asarray(batch["mask"]), shape), -1)


CHAINS = {
    "affine": augment.random_affine(rotation=40, scale=(0.7, 1.4), shear=0.2, translation=0.1),
    "all": augment.chain(
        augment.random_crop((9, 8, 8)),
        augment.rot90((1, 2)),
        augment.random_affine(spacing=(1.0, 2.0, 3.0), p_rotation=0.7),
        augment.flip(),
        augment.elastic(0.05, knots=5),
    ),
}


@pytest.mark.parametrize(("name", "shape"), [("affine", (16, 12)), ("all", (10, 12, 9))])
def test_masks_stay_aligned_with_images(name, shape):
    out = CHAINS[name](KEY, atlas(4, shape))
    # Interpolating coordinates gives the point that was read; the mask the voxel nearest to it.
    gap = abs(np.asarray(out["image"]) - places(out, shape))
    assert gap.max() <= 0.5 + 1e-3
    assert out["mask"].dtype == jnp.int32
    assert np.asarray(out["image"]).std(axis=0).max() > 0.5  # each example its own draw


def test_what_lies_outside():
    ones = {"image": np.ones((8, 10, 10, 1), np.float32), "mask": np.ones((8, 10, 10), np.int32)}
    move = augment.random_affine(rotation=0, scale=(1, 1), translation=0.5)
    for outside, least in (("constant", 0), ("mirror", 1)):
        out = augment.chain(move, outside=outside)(KEY, ones)
        assert out["image"].min() == out["mask"].min() == least


@pytest.mark.parametrize(("rank", "size"), [(2, 40), (3, 16)])
def test_an_affine_is_what_its_options_say(rank, size):
    shape = (size,) * rank
    view = augment.random_affine(rotation=20, scale=(0.8, 1.25), translation=0.1)
    image = np.asarray(view(KEY, atlas(12, shape))["image"])
    index = atlas(1, shape)["image"][0]
    middle = (size - 1) / 2
    angles, scales, shifts = [], [], []
    for each in image:
        # Where nothing was cut off at the border, the map is affine: fit it.
        inside = np.all((each > 0.01) & (each < size - 1.01), axis=-1)
        design = np.column_stack([index[inside] - middle, np.ones(inside.sum())])
        fit, *_ = np.linalg.lstsq(design, each[inside] - middle, rcond=None)
        np.testing.assert_allclose(design @ fit, each[inside] - middle, atol=2e-3)
        matrix, shift = fit[:-1].T, fit[-1]
        scale = np.linalg.det(matrix) ** (-1 / rank)
        turn = matrix * scale
        np.testing.assert_allclose(turn @ turn.T, np.eye(rank), atol=2e-3)
        scales.append(scale)
        shifts.append(abs(shift).max() / size)
        angles.append(np.degrees(np.arccos(np.clip((np.trace(turn) - rank + 2) / 2, -1, 1))))
    assert 0.8 < min(scales) < 0.95 < 1.05 < max(scales) < 1.25
    assert 0.03 < max(shifts) < 0.1
    assert 5 < max(angles) < 20 * np.sqrt(rank * (rank - 1) / 2)


def test_a_turn_of_flat_voxels_is_a_turn_in_millimetres():
    size = np.array([1.0, 3.0])
    view = augment.random_affine(rotation=30, scale=(1, 1), spacing=size.tolist())
    image = np.asarray(view(KEY, atlas(1, (41, 21)))["image"])[0]
    step = np.stack([image[21, 10] - image[20, 10], image[20, 11] - image[20, 10]], 1)
    turn = size[:, None] * step / size
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-4)
    assert abs(turn[0, 1]) > 0.05


def test_flips_and_quarter_turns_move_whole_voxels():
    batch = atlas(32, (5, 5))
    flipped = np.asarray(augment.flip()(KEY, batch)["mask"])
    turned = np.asarray(augment.rot90()(KEY, batch)["mask"])
    one = batch["mask"][0]
    flips = [one, one[::-1], one[:, ::-1], one[::-1, ::-1]]
    turns = [np.rot90(one, k) for k in range(4)]
    for made, allowed in ((flipped, flips), (turned, turns)):
        seen = {next(i for i, a in enumerate(allowed) if (a == m).all()) for m in made}
        assert seen == {0, 1, 2, 3}
    only = np.asarray(augment.flip(1, p=1.0)(KEY, batch)["mask"])
    np.testing.assert_array_equal(only, batch["mask"][:, :, ::-1])


def test_whole_voxel_steps_agree_with_their_coordinates():
    batch = atlas(6, (7, 8, 8))
    steps = (augment.rot90((1, 2)), augment.random_crop((5, 6, 6)), augment.flip((0, 2)))
    exact = augment.chain(*steps)(KEY, batch)
    mapped = augment.chain(*steps, STILL)(KEY, batch)
    for name in batch:
        np.testing.assert_allclose(exact[name], mapped[name], atol=1e-4)


def test_a_new_step_changes_no_draw_and_a_row_does_not_know_the_batch():
    batch = {"image": np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)}
    plain = augment.chain(augment.flip(), augment.noise())(KEY, batch)
    more = augment.chain(augment.flip(), augment.gamma(p=0.0), augment.noise())
    np.testing.assert_array_equal(plain["image"], more(KEY, batch)["image"])
    fewer = augment.chain(augment.flip(), augment.noise())(KEY, {"image": batch["image"][:2]})
    np.testing.assert_array_equal(plain["image"][:2], fewer["image"])
    names = _names([*augment.noise().steps] * 2)
    assert len(set(names)) == 2


def test_only_the_named_fields_are_touched():
    rng = np.random.default_rng(0)
    t1 = rng.normal(size=(2, 6, 6, 1)).astype(np.float32)
    batch = {"t1": t1, "t2": t1, "seg": np.ones((2, 6, 6), np.int32), "label": np.arange(2)}
    view = augment.chain(augment.flip(p=1.0), augment.noise(), images=("t1", "t2"), masks=("seg",))
    out = view(KEY, batch)
    assert out["label"] is batch["label"]
    assert abs(out["t1"] - out["t2"]).max() > 1e-3  # moved together, shaded each for itself
    assert out["seg"].shape == (2, 6, 6)
    nested = augment.chain(view, lambda key, batch: batch | {"label": batch["label"] + 1})
    with pytest.raises(ValueError, match=r"none of the images \('image',\)"):
        nested(KEY, batch)
    nested = augment.chain(view, lambda k, b: b | {"label": b["label"] + 1}, images=("t1",))
    np.testing.assert_array_equal(nested(KEY, batch)["label"], [1, 2])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: augment.flip(3)(KEY, atlas(1, (4, 4))), r"spatial axes 0\.\.1"),
        (lambda: augment.rot90()(KEY, atlas(1, (4, 5))), "of one length"),
        (lambda: augment.random_crop((9, 2))(KEY, atlas(1, (4, 5))), "does not fit"),
        (lambda: augment.random_affine(spacing=(1, 1))(KEY, atlas(1, (4, 4, 4))), "spacing"),
        (lambda: augment.flip()(KEY, {"image": np.ones((3, 4))}), r"got \(3, 4\)"),
        (
            lambda: augment.flip()(KEY, {"image": np.ones((1, 4, 4, 1)), "mask": np.ones((1, 4))}),
            "a mask has the grid of its image",
        ),
        (lambda: augment.flip(p=1.5), "probability"),
        (lambda: augment.random_affine(scale=(0, 1)), "0 < least"),
        (lambda: augment.elastic(knots=2), "at least 4"),
    ],
)
def test_nonsense_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_thick_slices_turn_in_their_plane_alone():
    grid = jnp.arange(4.0)[None, None, None, :, None] * jnp.ones((1, 6, 6, 4, 1))
    turn = augment.random_affine(rotation=(0, 0, 40), scale=(1, 1))
    key = jax.random.key(0)
    np.testing.assert_allclose(turn(key, {"image": grid})["image"], grid, atol=1e-5)
    plane = jax.random.normal(jax.random.key(1), (1, 6, 6, 1, 1)) * jnp.ones((1, 6, 6, 4, 1))
    moved = turn(key, {"image": plane})["image"]
    assert not np.allclose(moved, plane, atol=0.1)
    np.testing.assert_allclose(moved, moved[:, :, :, :1] * jnp.ones((4, 1)), atol=1e-5)
    with pytest.raises(ValueError, match="about three axes"):
        turn(key, {"image": jnp.ones((1, 6, 6, 1))})
    with pytest.raises(ValueError, match="one angle"):
        augment.random_affine(rotation=(1, 2))
