"""Boxes and points go where the voxels go that they mark."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import augment

CASES = {
    "whole voxels": (
        augment.chain(augment.flip(), augment.rot90(), augment.random_crop((14, 16))),
        0,
    ),
    "affine": (
        augment.chain(
            augment.flip(),
            augment.random_affine(rotation=25, scale=(0.9, 1.2), shear=0.1, translation=0.05),
        ),
        1,
    ),
    "elastic": (augment.chain(augment.elastic(0.02), augment.random_crop((20, 18))), 1.5),
}  # fmt: skip


def marked(seed: int, side: int = 22, rank: int = 2):
    """Images with two boxes and a place left empty, and a mask of each box."""
    rng = np.random.default_rng(seed)
    rows = 6
    low = rng.integers(0, side - 9, (rows, 2, rank))
    high = low + rng.integers(4, 9, (rows, 2, rank))
    box = np.concatenate([np.concatenate([low, high], -1), np.zeros((rows, 1, 2 * rank))], 1)
    masks = {}
    for k in range(2):
        mask = np.zeros((rows, *(side,) * rank), np.int32)
        for i in range(rows):
            mask[(i, *(slice(a, b) for a, b in zip(low[i, k], high[i, k], strict=True)))] = 1
        masks[f"mask{k}"] = mask
    label = np.tile(np.array([0, 4, -1], np.int32), (rows, 1))
    batch = {"image": np.zeros((rows, *(side,) * rank, 1), np.float32), "box": box, **masks}
    return {**batch, "box_label": label, "point": (box[:, :2, :rank] + box[:, :2, rank:] - 1) / 2}


def around(mask: np.ndarray) -> np.ndarray | None:
    """The smallest box around what a mask marks."""
    at = np.argwhere(mask)
    return None if not len(at) else np.concatenate([at.min(0), at.max(0) + 1])


@pytest.mark.parametrize("case", CASES)
def test_a_box_is_around_what_it_was_around(case):
    view, slack = CASES[case]
    view = augment.chain(view, masks=("mask0", "mask1"), outside="constant", visible=0.0)
    batch = marked(0)
    moved = jax.tree.map(np.asarray, view(jax.random.key(3), batch))
    seen = 0
    for i in range(6):
        assert moved["box_label"][i, 2] == -1
        assert not moved["box"][i, 2].any()
        for k in range(2):
            wanted = around(moved[f"mask{k}"][i])
            if wanted is None or moved["box_label"][i, k] < 0:
                assert wanted is None or np.prod(wanted[2:] - wanted[:2]) <= 2
                continue
            seen += 1
            box = moved["box"][i, k]
            # The middles of all voxels that are marked lie within; a turned box is wider.
            half = 0.5 * slack + 1e-4
            assert (box[:2] <= wanted[:2] + half).all()
            assert (box[2:] >= wanted[2:] - half).all()
            np.testing.assert_allclose(box, wanted, atol=slack + 1e-4)
    assert seen >= 8


@pytest.mark.parametrize("case", CASES)
def test_a_point_lands_on_the_voxel_that_it_marked(case):
    view, _ = CASES[case]
    view = augment.chain(view, outside="constant", boxes=())
    side, rank = 22, 2
    grid = np.stack(np.meshgrid(*[np.arange(side)] * rank, indexing="ij"), -1).astype(np.float32)
    batch = {
        "image": np.tile(grid, (4, 1, 1, 1)),
        "point": np.tile([[[9.0, 11], [12, 8]]], (4, 1, 1)),
    }
    moved = jax.tree.map(np.asarray, view(jax.random.key(1), batch))
    for i in range(4):
        for k in range(2):
            at = np.round(moved["point"][i, k]).astype(int)
            if (at >= 1).all() and (at < np.array(moved["image"].shape[1:3]) - 1).all():
                # The image holds its own voxels' places: what was read here is where it was.
                np.testing.assert_allclose(
                    moved["image"][i][tuple(at)], batch["point"][i, k], atol=0.8
                )


def test_boxes_in_volumes_and_what_has_left_the_image():
    batch = marked(1, side=14, rank=3)
    flipped = augment.chain(augment.flip(p=1.0))(jax.random.key(0), batch)
    there = np.asarray(batch["box"])[:, :2]
    np.testing.assert_allclose(
        flipped["box"][:, :2],
        np.concatenate([14 - there[..., 3:], 14 - there[..., :3]], -1),
        atol=1e-4,
    )
    image = np.zeros((1, 40, 40, 1), np.float32)
    boxes = {"box": np.array([[[0.0, 0, 40, 40], [0, 0, 1, 1], [39, 39, 40, 40]]])}
    boxes["box_label"] = np.array([[0, 1, 2]])
    cut = augment.chain(augment.random_crop((20, 20)), visible=0.2)
    found = cut(jax.random.key(0), {"image": image, **boxes})
    assert found["box_label"][0, 0] == 0
    np.testing.assert_array_equal(found["box"][0, 0], [0, 0, 20, 20])
    gone = np.asarray(found["box_label"][0, 1:]) < 0
    assert gone.any()
    assert not np.asarray(found["box"][0, 1:])[gone].any()
    most = augment.chain(augment.random_crop((20, 20)), visible=0.3)
    assert most(jax.random.key(0), {"image": image, **boxes})["box_label"][0, 0] == -1


def test_images_move_as_they_did_and_odd_fields_are_told():
    batch = marked(2)
    view = augment.chain(augment.flip(), augment.random_affine())
    bare = view(jax.random.key(0), {"image": batch["image"]})
    np.testing.assert_array_equal(view(jax.random.key(0), batch)["image"], bare["image"])
    with pytest.raises(ValueError, match="chain\\(boxes=\\(\\)\\)"):
        view(jax.random.key(0), {**batch, "box": jnp.zeros((6, 3, 3))})
    with pytest.raises(ValueError, match="one class for each"):
        view(jax.random.key(0), {**batch, "box_label": jnp.zeros((6, 2), int)})
    with pytest.raises(ValueError, match="visible"):
        augment.chain(visible=2.0)
