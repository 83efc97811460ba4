from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jaxmed import data


def scan_of(array, affine=None):
    rank = array.ndim if array.dtype.kind in "iu" else array.ndim - 1
    affine = np.eye(rank + 1) if affine is None else affine
    return data.Scan(array, affine, data.Space(array.shape[:rank], affine))


def ramp(shape, affine):
    """An image whose value is a linear function of the place in the patient."""
    index = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)], -1)
    place = index @ affine.T
    return (place[..., :-1] @ np.arange(1.0, len(shape) + 1))[..., None].astype(np.float32)


@pytest.mark.parametrize("shape", [(12, 9), (8, 9, 10)])
def test_resampling_keeps_every_point_in_its_place(shape):
    affine = np.diag([*np.linspace(1, 2, len(shape)), 1.0])
    affine[:-1, -1] = 5
    scan = scan_of(ramp(shape, affine), affine)
    for spacing in (0.8, 1.7):
        new = data.resample_spacing(scan, (spacing,) * len(shape), antialias=False)
        np.testing.assert_allclose(new.spacing, spacing)
        inside = tuple(slice(2, -2) for _ in shape)
        expected = ramp(new.space.shape, new.affine)
        np.testing.assert_allclose(new.array[inside], expected[inside], rtol=1e-4)
        size = np.array(new.space.shape) * spacing
        assert np.all(abs(size - np.array(shape) * scan.spacing) <= spacing)


def test_blur_before_coarsening_keeps_the_mean():
    rng = np.random.default_rng(0)
    scan = scan_of(rng.random((60, 60, 1)).astype(np.float32))
    coarse = data.resample_spacing(scan, (3, 3))
    plain = data.resample_spacing(scan, (3, 3), antialias=False)
    assert coarse.array.std() < plain.array.std() / 2
    assert abs(coarse.array.mean() - scan.array.mean()) < 0.01


def test_masks_go_by_majority_and_come_back():
    index = np.stack(np.meshgrid(*[np.arange(40)] * 2, indexing="ij"), -1)
    mask = (np.linalg.norm(index - 20, axis=-1) < 12).astype(np.int32)
    mask[index[..., 0] > 20] *= 2
    scan = scan_of(mask)
    fine = data.resample_spacing(scan, (0.5, 0.7))
    assert set(np.unique(fine.array)) == {0, 1, 2}
    np.testing.assert_allclose((fine.array == 2).sum() * 0.35, (mask == 2).sum(), rtol=0.03)
    back = data.to_space(fine.array, fine.affine, scan.file)
    assert (back != mask).mean() < 0.01


def test_crops_come_back_exactly():
    mask = np.random.default_rng(0).integers(0, 3, (7, 8, 9)).astype(np.int32)
    cut = data.crop_or_pad_scan(scan_of(mask), (5, 10, 9))
    back = data.to_space(cut.array, cut.affine, cut.file)
    np.testing.assert_array_equal(back[1:6], mask[1:6])
    assert not back[[0, 6]].any()


def test_images_go_to_any_grid_as_scipy_says():
    rng = np.random.default_rng(0)
    image = rng.random((9, 10, 2)).astype(np.float32)
    turn = np.array([[0.9, -0.3, 1.0], [0.3, 0.9, -0.5], [0, 0, 1]])
    out = data.to_space(image, np.eye(3), data.Space((8, 7), turn))
    grid = np.stack([*np.meshgrid(np.arange(8), np.arange(7), indexing="ij"), np.ones((8, 7))])
    where = np.tensordot(turn, grid, 1)[:2]
    seen = np.all((where > -0.75) & (where < np.reshape([8.75, 9.75], (2, 1, 1))), axis=0)
    assert 0 < (~seen).sum() < 10
    for c in range(2):
        expected = ndimage.map_coordinates(image[..., c], where, order=1, mode="nearest")
        np.testing.assert_allclose(out[..., c], np.where(seen, expected, 0), atol=1e-5)


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    old=st.floats(0.2, 5),
    new=st.floats(0.2, 5),
)
def test_what_is_the_same_everywhere_stays_so_to_the_border_and_back(shape, old, new):
    rank = len(shape)
    affine = np.diag([*[old] * rank, 1.0])
    for array in (np.full(shape, 7, np.int32), np.full((*shape, 1), 3.25, np.float32)):
        scan = data.Scan(array, affine, data.Space(tuple(shape), affine))
        other = data.resample_spacing(scan, (new,) * rank)
        back = data.to_space(other.array, other.affine, scan.file)
        for found in (other.array, back):
            np.testing.assert_allclose(found, array.flat[0], rtol=1e-6)


def test_labels_of_any_size_survive_every_way_between_grids():
    ids = np.array([0, 16777217, 614454277, 2**31 - 1], np.int32)
    mask = np.repeat(np.repeat(ids, 3)[:, None], 4, axis=1)
    scan = scan_of(mask)
    turned = data.to_space(mask, np.eye(3), data.Space((12, 4), np.diag([1.0, -1, 1]) + 0))
    fine = data.resample_spacing(scan, (0.5, 0.7))
    back = data.to_space(fine.array, fine.affine, scan.file)
    for found in (turned, fine.array, back, data.crop_or_pad(mask, (14, 3))):
        assert set(np.unique(found)) <= set(ids.tolist())
    np.testing.assert_array_equal(back, mask)
    assert set(np.unique(fine.array)) == set(ids.tolist())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_images_of_whole_numbers_are_rounded_not_cut(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (9, 8, 1)).astype(dtype)
    for spacing in ((0.6, 0.6), (1.7, 1.7)):
        whole = data.resample_spacing(scan_of(image.astype(np.float64)), spacing).array
        found = data.resample_spacing(
            data.Scan(image, np.eye(3), data.Space((9, 8), np.eye(3))), spacing
        ).array
        assert found.dtype == dtype
        # Twice rounded where the image is blurred first.
        assert abs(found - whole).max() <= 1.001
        assert abs((found - whole).mean()) < 0.1


def test_crop_or_pad_about_a_centre():
    array = np.arange(6)
    assert data.crop_or_pad(array, (3,), centre=(0,), value=-1).tolist() == [-1, 0, 1]
    assert data.crop_or_pad(array, (4,), centre=(5,), value=-1).tolist() == [3, 4, 5, -1]
    assert data.crop_or_pad(array, (2,), centre=(20,), value=-1).tolist() == [-1, -1]


def test_patches_show_the_foreground_and_keep_image_and_mask_together():
    mask = np.zeros((40, 30, 6), np.int32)
    mask[3, 28, 2] = 1
    example = {
        "image": mask[..., None].astype(np.float32),
        "mask": mask,
        "label": np.int32(4),
        "affine": np.eye(4),
    }
    always = data.random_patch((8, 8, 8), foreground=1)
    never = data.random_patch((8, 8, 8), foreground=0)
    seen = 0
    for seed in range(40):
        cut = always(np.random.default_rng(seed), example)
        assert cut["mask"].sum() == 1
        assert cut["mask"].shape == (8, 8, 8)
        np.testing.assert_array_equal(cut["image"][..., 0], cut["mask"])
        assert cut.keys() == {"image", "mask", "label"}
        seen += never(np.random.default_rng(seed), example)["mask"].sum()
    assert seen < 20


@pytest.mark.parametrize("method", ["zscore", "unit", "percentile", "window"])
def test_normalisation(method):
    rng = np.random.default_rng(0)
    image = rng.gamma(2, size=(20, 30, 2)).astype(np.float32) * [1, 50]
    image = np.concatenate([image, np.full((20, 30, 1), 7.0)], -1)
    limits = (0.5, 2.0) if method == "window" else (1, 99)
    out = data.normalise(image, method, limits=limits)
    assert out.dtype == np.float32
    if method != "window":
        assert not out[..., 2].any()
    if method == "zscore":
        np.testing.assert_allclose(out[..., :2].mean((0, 1)), 0, atol=1e-5)
        np.testing.assert_allclose(out[..., :2].std((0, 1)), 1, atol=1e-5)
    else:
        np.testing.assert_allclose(out[..., 0].min(), 0, atol=1e-6)
        np.testing.assert_allclose(out[..., 0].max(), 1, atol=1e-6)
    inside = image[..., 0] > 1
    part = data.normalise(image, "zscore", where=inside)
    np.testing.assert_allclose(part[inside][:, 0].mean(), 0, atol=1e-5)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="2 positive lengths"):
        data.resample_spacing(scan_of(np.zeros((3, 3), np.int32)), (1,))
    with pytest.raises(ValueError, match="whole numbers"):
        data.to_space(np.zeros((3, 3)), np.eye(3), data.Space((3, 3), np.eye(3)))
    with pytest.raises(ValueError, match="method"):
        data.normalise(np.zeros((3, 3, 1)), "sigma")


@pytest.mark.parametrize("spacing", [(0.5, 2.0), (2.0, 2.0)])
def test_half_precision_image_is_resampled_as_single_is(spacing):
    half = np.random.default_rng(0).normal(size=(5, 6, 2)).astype(np.float16)
    space = data.Space((5, 6), np.eye(3))
    got = data.resample_spacing(data.Scan(half, np.eye(3), space), spacing).array
    want = data.resample_spacing(
        data.Scan(half.astype(np.float32), np.eye(3), space), spacing
    ).array
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, want, atol=4e-3)
    turned = data.Space((5, 6), np.array([[-1.0, 0, 4], [0, 1, 0], [0, 0, 1]]))
    np.testing.assert_array_equal(data.to_space(half, np.eye(3), turned), half[::-1])
