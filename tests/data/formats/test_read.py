from __future__ import annotations

import os

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxmed import data
from jaxmed.data.dicom._dataset import is_dicom


@pytest.fixture
def volume(tmp_path, save_nifti):
    array = np.random.default_rng(0).normal(size=(5, 6, 4)).astype(np.float32)
    return array, save_nifti(tmp_path / "scan.nii.gz", array)


def refused(rule, call, *args, **options):
    with pytest.raises(data.DataError) as caught:
        call(*args, **options)
    assert [f.rule for f in caught.value.faults] == [rule]
    return str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("name", ["a.png", "a.nii.gz", "a", "a.csv"])
def test_a_pipe_is_no_file_to_wait_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert not is_dicom(tmp_path / name)
    with pytest.raises(data.DataError, match=name):
        data.read_image(tmp_path / name)
    assert data.check(tmp_path / name)


def test_a_volume_is_read_as_it_lies_or_turned(volume, turned):
    array, path = volume
    scan = data.read_image(path)
    np.testing.assert_allclose(scan.array[..., 0], array)
    np.testing.assert_allclose(scan.affine, turned)
    np.testing.assert_allclose(scan.spacing, (2, 1.5, 3))
    ras = data.read_image(path, canonical=True)
    assert nib.aff2axcodes(ras.affine) == ("R", "A", "S")
    assert ras.array.shape == (6, 5, 4, 1)
    np.testing.assert_allclose(ras.spacing, (1.5, 2, 3))
    # Every voxel keeps its place in the patient: voxel (0, 2, 3) of the turned scan, in the file.
    here = np.linalg.solve(turned, ras.affine @ [0, 2, 3, 1]).round().astype(int)
    assert ras.array[0, 2, 3, 0] == array[tuple(here[:3])]


def test_four_dimensional_volumes_have_channels(tmp_path, save_nifti):
    array = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    scan = data.read_image(save_nifti(tmp_path / "a.nii", array))
    np.testing.assert_allclose(scan.array, array, rtol=1e-6)
    space, channels = data.read_space(tmp_path / "a.nii")
    assert (space.shape, channels) == ((3, 4, 5), 2)


@pytest.mark.parametrize(
    ("name", "array", "scale"),
    [
        ("grey.png", np.arange(12, dtype=np.uint8).reshape(3, 4), 255),
        ("colour.png", np.arange(36, dtype=np.uint8).reshape(3, 4, 3), 255),
        ("deep.png", (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4), 65535),
        ("colour.tif", np.arange(36, dtype=np.uint8).reshape(3, 4, 3), 255),
        ("float.tiff", np.linspace(-2, 7, 12, dtype=np.float32).reshape(3, 4), 1),
    ],
)
def test_pictures_are_scaled_to_the_unit_interval(tmp_path, name, array, scale):
    Image.fromarray(array).save(tmp_path / name)
    scan = data.read_image(tmp_path / name)
    expected = array if array.ndim == 3 else array[..., None]
    np.testing.assert_allclose(scan.array, expected / scale, rtol=1e-6)
    assert scan.array.dtype == np.float32


def test_jpeg_and_pages_of_a_tiff(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(
        data.read_image(tmp_path / "a.jpg").array[..., 0], smooth / 255, atol=0.02
    )
    pages = [Image.fromarray(np.full((3, 4), i, np.uint8)) for i in range(5)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    scan = data.read_image(tmp_path / "s.tif")
    assert scan.array.shape == (3, 4, 5, 1)
    np.testing.assert_allclose(scan.array[1, 2, :, 0] * 255, range(5))


def test_picture_masks_of_black_and_white_palettes_and_grey(tmp_path):
    mask = np.array([[0, 1, 0], [1, 1, 0]], np.uint8)
    Image.fromarray(mask * 255).save(tmp_path / "white.png")
    Image.fromarray(np.stack([mask * 255] * 3, -1)).save(tmp_path / "grey.png")
    palette = Image.fromarray(mask * 2)
    palette.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    palette.save(tmp_path / "palette.png")
    for name, expected in (("white", mask), ("grey", mask), ("palette", 2 * mask)):
        scan = data.read_mask(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(scan.array, expected)
        assert scan.array.dtype == np.int32
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[0, 0] = [1, 2, 3]
    Image.fromarray(colour).save(tmp_path / "colour.png")
    refused("mask-shape", data.read_mask, tmp_path / "colour.png")


def test_unreadable_files_are_refused_by_name(tmp_path, volume):
    _, path = volume
    refused("exists", data.read_image, tmp_path / "none.nii.gz")
    whole = path.read_bytes()
    uncompressed = tmp_path / "plain.nii"
    nib.load(path).to_filename(uncompressed)
    for name, content in {
        "cut.nii.gz": whole[: len(whole) // 2],
        "empty.nii.gz": b"",
        "text.nii.gz": b"hello",
        "cut.nii": uncompressed.read_bytes()[:-100],
        "text.nii": b"hello" * 100,
        "text.png": b"hello",
        "scan.xyz": b"hello",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert name in refused("readable", data.read_image, tmp_path / name)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-30])
    refused("readable", data.read_image, tmp_path / "cut.png")


def test_what_no_image_may_hold(tmp_path, save_nifti, turned):
    array = np.zeros((3, 4, 5), np.float32)
    array[1, 2, 3] = np.nan
    message = refused("finite", data.read_image, save_nifti(tmp_path / "nan.nii", array))
    assert "1 of 60 values" in message
    assert "nan.nii" in message
    five = nib.Nifti1Image(np.zeros((2, 2, 2, 3, 2), np.float32), turned)
    five.to_filename(tmp_path / "five.nii")
    refused("shape", data.read_image, tmp_path / "five.nii")


def test_masks_are_held_against_their_image(tmp_path, save_nifti, volume, turned):
    _, path = volume
    scan = data.read_image(path)
    mask = np.zeros((5, 6, 4), np.uint8)
    mask[2, 3, 1] = 2
    good = save_nifti(tmp_path / "good.nii.gz", mask)
    np.testing.assert_array_equal(data.read_mask(good, like=scan, classes=3).array, mask)
    assert "[2]" in refused("label-range", data.read_mask, good, classes=2)
    small = save_nifti(tmp_path / "small.nii.gz", mask[1:])
    refused("mask-shape", data.read_mask, small, like=scan)
    moved = save_nifti(tmp_path / "moved.nii.gz", mask, turned + 1e-5)
    data.read_mask(moved, like=scan)
    shift = turned.copy()
    shift[0, 3] += 1
    refused("mask-affine", data.read_mask, save_nifti(tmp_path / "m.nii", mask, shift), like=scan)
    half = save_nifti(tmp_path / "half.nii.gz", mask * 0.5 + 0.25)
    refused("integer-mask", data.read_mask, half)


@pytest.mark.parametrize("canonical", [False, True])
def test_a_mask_goes_back_to_the_scans_own_space(tmp_path, volume, turned, canonical):
    array, path = volume
    scan = data.read_image(path, canonical=canonical)
    mask = (scan.array[..., 0] > 0.5).astype(np.int32)
    data.write_mask(tmp_path / "out" / "mask.nii.gz", mask, scan)
    written = nib.load(tmp_path / "out" / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), array > 0.5)
    np.testing.assert_allclose(written.affine, turned, atol=1e-5)
    assert written.get_data_dtype() == np.uint8
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (2, 1)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mask.nii.gz"]
    data.read_mask(tmp_path / "out" / "mask.nii.gz", like=data.read_image(path))


def test_a_picture_mask_is_written(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a.png")
    scan = data.read_image(tmp_path / "a.png")
    mask = np.arange(20).reshape(4, 5) % 3
    data.write_mask(tmp_path / "m.png", mask, scan)
    np.testing.assert_array_equal(data.read_mask(tmp_path / "m.png", like=scan).array, mask)
    with pytest.raises(ValueError, match=r"\(4, 5\), got \(3, 5\)"):
        data.write_mask(tmp_path / "m.png", mask[1:], scan)
    with pytest.raises(ValueError, match="cannot be written"):
        data.write_mask(tmp_path / "m.txt", mask, scan)
