"""Pasted lesions: where they lie, what they carry, what stays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxmed import augment
from jaxmed.testing import check_augment

KEY = jax.random.key(0)


def batch(shape=(24, 20), rows=6, dtype=np.float32):
    """Smooth backgrounds; a bright lesion with a core of class 2 in every second image."""
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(rows, *shape, 1)), (0, *[3] * len(shape), 0))
    mask = np.zeros((rows, *shape), np.int32)
    for i in range(0, rows, 2):
        at = tuple(slice(2 + i, 6 + i) for _ in shape)
        mask[(i, *at)] = 1
        mask[(i, *(slice(3 + i, 5 + i) for _ in shape))] = 2
    return {"image": (image + 5.0 * (mask[..., None] > 0)).astype(dtype), "mask": mask}


@pytest.fixture(scope="module", params=[(24, 20), (14, 12, 13)], ids=["2d", "3d"])
def pasted(request):
    """A batch and what became of it under twenty keys."""
    one = batch(request.param)
    view = jax.jit(jax.vmap(augment.paste_lesions(1.0, blend=1.0), (0, None)))
    keys = jax.random.split(KEY, 20)
    return one, jax.tree.map(np.asarray, view(keys, one))


def test_a_lesion_comes_whole_and_touches_no_other(pasted):
    one, many = pasted
    rank = one["mask"].ndim - 1
    size = 4**rank
    near = ndimage.generate_binary_structure(rank, rank)
    came = many["mask"] != one["mask"]
    healthy = ~one["mask"].astype(bool).reshape(len(one["mask"]), -1).any(1)
    for made, new in zip(many["mask"], came, strict=True):
        for i, row in enumerate(made):
            labels, count = ndimage.label(row, near)
            # One of the four voxels a side, and the own one where there was one.
            assert count <= 1 + (not healthy[i])
            for k in range(1, count + 1):
                piece = labels == k
                assert piece.sum() == size
                assert (row[piece] == 2).sum() == 2**rank
            assert new[i].sum() in (0, size)
    assert came.reshape(*came.shape[:2], -1).any(2)[:, healthy].all()


def test_places_differ_from_draw_to_draw(pasted):
    _, many = pasted
    centres = {ndimage.center_of_mass(made[1] > 0) for made in many["mask"]}
    assert len(centres) > 10


def test_nothing_far_from_a_lesion_changes(pasted):
    one, many = pasted
    for made, image in zip(many["mask"], many["image"], strict=True):
        for i in range(len(made)):
            new = made[i] != one["mask"][i]
            far = ndimage.distance_transform_edt(~new) > 2.01 if new.any() else ~new
            np.testing.assert_array_equal(image[i][far], one["image"][i][far])


def test_brightness_fits_what_surrounds_it():
    one = batch()
    one["image"] = one["image"] + np.arange(6, dtype=np.float32).reshape(-1, 1, 1, 1) * 10
    view = jax.jit(augment.paste_lesions(1.0, blend=2.0))
    made = view(KEY, one)
    for i in (1, 3, 5):
        new = np.asarray(made["mask"])[i] > 0
        inside = float(np.asarray(made["image"])[i, ..., 0][new].mean())
        around = float(one["image"][i, ..., 0][~new].mean())
        assert inside - around == pytest.approx(5.0, abs=1.0)
    cut = jax.jit(augment.paste_lesions(1.0, blend=0, match=False))(KEY, one)
    values = np.unique(np.asarray(cut["image"])[1])
    assert set(values) <= set(np.unique(one["image"]))


def test_lesions_lie_where_they_may():
    one = batch()
    organ = np.zeros((6, 24, 20), np.int32)
    organ[:, 12:20, 10:18] = 1
    lesion = one["mask"] > 0
    masks = np.where(lesion, 2, organ)
    view = jax.jit(jax.vmap(augment.paste_lesions(1.0, classes=[2], on=[1], blend=0), (0, None)))
    made = np.asarray(view(jax.random.split(KEY, 10), {**one, "mask": masks})["mask"])
    new = (made == 2) & ~lesion
    assert new.any()
    assert (np.broadcast_to(masks, made.shape)[new] == 1).all()
    inside = {**one, "body": organ}
    view = jax.jit(augment.paste_lesions(1.0, within="body", blend=0))
    new = (np.asarray(view(KEY, inside)["mask"]) > 0) & ~lesion
    assert new.any()
    assert organ[new].all()


def test_labels_and_boxes_follow():
    one = batch()
    one["label"] = (one["mask"] > 0).any((1, 2)).astype(np.int32)
    box = np.zeros((6, 2, 4), np.float32)
    label = np.full((6, 2), -1, np.int32)
    for i in (0, 2, 4):
        box[i, 0] = [2 + i, 2 + i, 6 + i, 6 + i]
        label[i, 0] = 0
    label[4, 1] = 7  # no place is free
    one |= {"box": box, "box_label": label}
    view = jax.jit(augment.paste_lesions(1.0, sets={"label": 1}, box_class=3))
    made = jax.tree.map(np.asarray, view(KEY, one))
    np.testing.assert_array_equal(made["label"], 1)
    np.testing.assert_array_equal(made["mask"][4], one["mask"][4])
    for i in (1, 3, 5):
        assert made["box_label"][i].tolist() == [3, -1]
        low, high = made["box"][i, 0, :2], made["box"][i, 0, 2:]
        inside = np.zeros((24, 20), bool)
        inside[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))] = True
        assert (made["mask"][i][inside] > 0).all()
        assert not made["mask"][i][~inside].any()


@pytest.mark.slow  # Each eager operation compiles; the registry has the laws of its keys.
def test_the_laws_of_augmentations():
    one = {name: jnp.asarray(x) for name, x in batch((12, 12)).items()}
    chained = augment.chain(augment.flip(), augment.paste_lesions(0.7), augment.noise())
    assert check_augment(chained, one)


def test_padding_gives_no_lesions_and_none_is_pasted_without_any():
    one = batch()
    weight = np.array([0.0, 1, 0, 1, 0, 1], np.float32)
    view = jax.jit(augment.paste_lesions(1.0))
    for given in (
        {**one, "weight": weight},
        {**one, "mask": np.zeros_like(one["mask"]), "weight": np.ones_like(weight)},
    ):
        made = view(KEY, given)
        np.testing.assert_array_equal(made["mask"], given["mask"])
        np.testing.assert_array_equal(made["image"], given["image"])


def test_what_is_wrong_is_said():
    one = batch()
    view = augment.paste_lesions(1.0)
    with pytest.raises(ValueError, match="give sets="):
        view(KEY, {**one, "label": np.zeros(6, np.int32)})
    with pytest.raises(ValueError, match="mask holds whole numbers"):
        view(KEY, {**one, "mask": one["mask"].astype(np.float32)})
    with pytest.raises(ValueError, match=r"mask \(batch, \*spatial\)"):
        view(KEY, {**one, "mask": one["mask"][..., None]})
    with pytest.raises(ValueError, match="blend is a number of voxels"):
        augment.paste_lesions(blend=-1)
    with pytest.raises(KeyError, match="body"):
        augment.paste_lesions(within="body")(KEY, one)
