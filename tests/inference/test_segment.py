"""From a scan's file to a mask on its own grid, and a segmenter's way to disk and back."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from jaxmed.data import Scan, Space, read_image, read_mask, write_mask
from jaxmed.inference import (
    Recipe,
    Segmenter,
    SegmenterError,
    decided,
    load_segmenter,
    prepare,
    probabilities,
    save_segmenter,
    segment,
    segmenter,
)
from jaxmed.networks import plan_unet

RECIPE = Recipe(
    classes=("background", "bright"),
    channels=("T1",),
    spacing=(1.0, 1.0, 1.0),
    patch=(8, 8, 8),
    plan=plan_unet((8, 8, 8), base_features=2),
)


def threshold(params, state, images):
    """A segmenter that needs no training: what is brighter than the mean by one deviation."""
    bright = (np.asarray(images) > 1).astype(np.float32)
    return np.concatenate([1 - bright, bright], -1)


BRIGHT = Segmenter(RECIPE, {}, {}, threshold)


def scan_file(tmp_path, *, orientation=None, repeat=1):
    """A ball on disk, off the middle, and its mask by the same rule, worked out with NumPy."""
    grid = np.stack(np.meshgrid(*map(np.arange, (14, 11, 17)), indexing="ij"), -1)
    array = np.where(np.linalg.norm(grid - [8, 5, 6], axis=-1) < 4.3, 100.0, 20.0)
    truth = (array - array.mean()) / array.std() > 1
    affine = np.array([[-1.0, 0, 0, 30], [0, 1, 0, -12], [0, 0, 1, 4], [0, 0, 0, 1]])
    for axis in range(3):
        array, truth = np.repeat(array, repeat, axis), np.repeat(truth, repeat, axis)
    affine = affine @ np.diag([1 / repeat, 1 / repeat, 1 / repeat, 1])
    images = [nib.Nifti1Image(a.astype(np.float32), affine) for a in (array, truth)]
    if orientation is not None:
        images = [image.as_reoriented(np.array(orientation)) for image in images]
    images[0].to_filename(tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz", np.asarray(images[1].dataobj) > 0.5


@pytest.mark.parametrize(
    "orientation", [None, [[1, -1], [0, 1], [2, 1]], [[2, 1], [1, -1], [0, -1]]]
)
def test_the_mask_is_in_the_files_own_orientation(tmp_path, orientation):
    path, truth = scan_file(tmp_path, orientation=orientation)
    mask = segment(BRIGHT, read_image(path, canonical=True))
    written = write_mask(tmp_path / "mask.nii.gz", mask.array, mask)
    stored, image = nib.load(written), nib.load(path)
    np.testing.assert_array_equal(stored.affine, image.affine)
    np.testing.assert_array_equal(np.asarray(stored.dataobj), truth)
    assert read_mask(written, like=read_image(path)).array.sum() == truth.sum() > 0


def test_another_voxel_size_than_in_training_is_resampled_and_back(tmp_path):
    path, truth = scan_file(tmp_path, repeat=2, orientation=[[1, 1], [2, -1], [0, 1]])
    scan = read_image(path, canonical=True)
    assert prepare(RECIPE, scan).spacing == pytest.approx((1, 1, 1))
    mask = segment(BRIGHT, scan).array
    assert mask.shape == truth.shape == nib.load(path).shape
    overlap = 2 * (mask * truth).sum() / (mask.sum() + truth.sum())
    assert overlap > 0.85


def test_a_scan_is_cut_to_its_nonzero_voxels_which_give_the_statistics():
    image = np.zeros((30, 9, 25, 1), np.float32)
    image[12:20, 3:6, 14:24, 0] = np.random.default_rng(0).uniform(1, 2, (8, 3, 10))
    recipe = dataclasses.replace(RECIPE, over="nonzero")
    scan = read_like(image)
    ready = prepare(recipe, scan)
    assert ready.array.shape == (16, 9, 15, 1)
    np.testing.assert_array_equal(ready.affine[:3, 3], [8, 0, 10])
    inside = ready.array[4:12, 3:6, 4:14]
    assert inside.mean() == pytest.approx(0, abs=1e-5)
    assert inside.std() == pytest.approx(1, abs=1e-5)
    # What was cut off is background, and the mask is back on the whole grid.
    everything = BRIGHT._replace(recipe=recipe, apply=lambda p, s, x: threshold(p, s, x + 9))
    mask = segment(everything, scan).array
    assert mask.shape == image.shape[:3]
    assert mask[8:24, :, 10:].all()
    assert mask.sum() == 16 * 9 * 15
    with pytest.raises(ValueError, match="every voxel of the image is zero"):
        prepare(recipe, read_like(np.zeros((4, 4, 4, 1), np.float32)))


ONES = lambda p, s, x: jnp.stack([jnp.zeros(x.shape[:-1]), jnp.ones(x.shape[:-1])], -1)  # noqa: E731


@pytest.mark.parametrize("spacing", [(1, 1, 3.0), (2, 2, 2.0), (0.6, 1.3, 5.0)])
@pytest.mark.parametrize("cut", [False, True])
def test_a_structure_that_touches_the_border_loses_nothing_on_the_way_back(spacing, cut):
    """Where the network says one class of all it sees, every voxel of the file has it, certain."""
    image = np.random.default_rng(0).uniform(1, 2, (8, 9, 10, 1)).astype(np.float32)
    recipe = dataclasses.replace(RECIPE, spacing=spacing, patch=(4, 4, 4))
    if cut:
        recipe = dataclasses.replace(recipe, over="nonzero")
        image = np.pad(image, [(9, 9), (0, 0), (9, 9), (0, 0)])
    found = probabilities(Segmenter(recipe, {}, {}, ONES), read_like(image))
    looked_at = (slice(5, -5), slice(None), slice(5, -5)) if cut else ()
    expected = np.zeros(image.shape[:-1])
    expected[looked_at] = 1
    np.testing.assert_allclose(found.array[..., 1], expected, atol=1e-6)
    np.testing.assert_allclose(found.array.sum(-1), 1, atol=1e-6)


def test_what_surrounds_a_small_image_is_the_former_zero_of_each_channel():
    rng = np.random.default_rng(0)
    image = np.zeros((6, 6, 6, 2), np.float32)
    image[2:5, 2:5, 2:5] = rng.normal((10, 5), (1, 2), (3, 3, 3, 2))
    recipe = dataclasses.replace(RECIPE, over="nonzero", channels=("T1", "T2"), patch=(10, 10, 10))
    seen = []

    def look(params, state, images):
        seen.append(np.asarray(images))
        return threshold(params, state, images[..., :1])

    segment(Segmenter(recipe, {}, {}, look), read_like(image))
    inner = image[2:5, 2:5, 2:5].reshape(-1, 2)
    zero = -inner.mean(0) / inner.std(0)
    np.testing.assert_allclose(seen[0][0, 0, 0, 0], zero, rtol=1e-4)  # padding
    np.testing.assert_allclose(seen[0][0, 3, 3, 2], zero, rtol=1e-4)  # a zero of the image


def read_like(image):
    return Scan(image, np.eye(4), Space(image.shape[:-1], np.eye(4)))


def test_scans_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"trained on 1 channel\(s\) \(T1\), the image has 2"):
        segment(BRIGHT, read_like(np.zeros((8, 8, 8, 2), np.float32)))
    flat = read_like(np.zeros((8, 8, 8, 1), np.float32))._replace(affine=np.eye(3))
    with pytest.raises(ValueError, match="3 spatial axes"):
        segment(BRIGHT, flat)


def test_a_segmenter_comes_back_from_disk_to_the_bit(tmp_path):
    image = jnp.ones((1, 8, 8, 8, 1)) * jnp.arange(8.0)[:, None]
    params, state = jax.jit(RECIPE.network().init)(jax.random.key(0), image)
    model = segmenter(RECIPE, params, state)
    save_segmenter(tmp_path, model)
    back = load_segmenter(tmp_path)
    assert back.recipe == RECIPE
    jax.tree.map(np.testing.assert_array_equal, back.params, params)
    np.testing.assert_array_equal(back.predict(image), model.predict(image))
    np.testing.assert_allclose(back.predict(image).sum(-1), 1, rtol=1e-5)


def test_folders_without_a_segmenter_are_told_apart(tmp_path):
    with pytest.raises(SegmenterError, match="there is no folder"):
        load_segmenter(tmp_path / "absent")
    with pytest.raises(SegmenterError, match="neither model"):
        load_segmenter(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"experiment": "medmnist"}))
    with pytest.raises(SegmenterError, match="a run of 'medmnist' without a model"):
        load_segmenter(tmp_path)
    with pytest.raises(SegmenterError, match="is a file"):
        load_segmenter(tmp_path / "config.json")
    (tmp_path / "model.json").write_text('{"format": "another"}')
    with pytest.raises(SegmenterError, match="does not describe a model"):
        load_segmenter(tmp_path)


def test_a_recipe_must_fit_together():
    with pytest.raises(ValueError, match="the same axes"):
        Recipe(("a", "b"), ("T1",), (1.0, 1.0), (8, 8, 8), RECIPE.plan)
    with pytest.raises(ValueError, match="at least one"):
        Recipe(("background",), ("T1",), (1.0,), (8,), RECIPE.plan)


def test_no_probability_is_negative_where_rounding_adds_up_to_more_than_1(tmp_path):
    def sure(params, state, images):
        found = np.zeros((*images.shape[:-1], 2), np.float32)
        found[..., 1] = 1 + 1e-6  # as a softmax in float32 may have it
        return found

    path, _ = scan_file(tmp_path)
    found = probabilities(Segmenter(RECIPE, {}, {}, sure), read_image(path)).array
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("regions", "one_piece"), [((), False), ((2, 1), False), ((), True)], ids=str
)
@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize(
    ("affine", "spacing"),
    [
        (np.array([[0, -1.0, 0, 9], [1, 0, 0, -3], [0, 0, -1, 4], [0, 0, 0, 1]]), (1, 1, 1)),
        (np.diag([0.8, -1.0, 1.7, 1]), (1.0, 1.0, 1.0)),
    ],
    ids=["turned", "resampled"],
)
def test_deciding_piece_by_piece_is_deciding_on_all_probabilities(
    tmp_path, monkeypatch, affine, spacing, where, regions, one_piece
):
    """A network that contradicts itself from patch to patch, on images cut to their voxels."""
    if where == "disk":
        monkeypatch.setattr("jaxmed.inference._segment._LARGE", 2000)
    image = np.random.default_rng(0).uniform(1, 2, (9, 12, 10)).astype(np.float32)
    image[:, :2] = 0
    image = np.pad(image, [(6, 6), (0, 0), (0, 6)])
    nib.Nifti1Image(image, affine).to_filename(tmp_path / "scan.nii.gz")
    scan = read_image(tmp_path / "scan.nii.gz", canonical=True)
    ramp = np.random.default_rng(1).normal(size=(5, 6, 4, 3)).astype(np.float32)

    def guess(params, state, images):
        logits = ramp * np.asarray(images)
        return jax.nn.sigmoid(logits[..., :2]) if regions else jax.nn.softmax(logits)

    recipe = dataclasses.replace(
        RECIPE,
        classes=("background", "a", "b"),
        regions=regions,
        one_piece=one_piece,
        patch=(5, 6, 4),
        spacing=spacing,
        over="nonzero",
    )
    model = Segmenter(recipe, {}, {}, guess)
    found = segment(model, scan)
    expected = decided(recipe, probabilities(model, scan))
    assert found.array.dtype == np.int32
    assert set(np.unique(found.array)) == {0, 1, 2}
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.affine, expected.affine)
    assert not one_piece or ndimage.label(found.array)[1] == 1
