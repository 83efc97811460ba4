"""OME-TIFF: axes in any order, lengths, masks there and back."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from jaxmed import data

UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}


def write(path, array, axes, **options):
    metadata = {"axes": axes, **options.pop("metadata", UM)}
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, array, ome=True, metadata=metadata, **options)
    return path


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "ZYX", "YX", "CYX", "TCYX"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_axes_in_any_order_are_rows_columns_planes_channels(tmp_path, axes, dtype):
    lengths = {"Z": 4, "C": 2, "Y": 6, "X": 5, "T": 1}
    array = np.random.default_rng(0).integers(0, 200, [lengths[a] for a in axes]).astype(dtype)
    scan = data.read_image(write(tmp_path / "a.ome.tif", array, axes))
    present = [a for a in "YXZC" if a in axes]
    expected = array[0] if "T" in axes else array
    left = axes.replace("T", "")
    expected = np.transpose(expected, [left.index(a) for a in present])
    expected = expected if "C" in axes else expected[..., None]
    share = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    np.testing.assert_allclose(scan.array, expected / np.float32(share), rtol=1e-6)
    spacing = {"Y": 0.25e-3, "X": 0.5e-3, "Z": 2e-3}
    assert scan.spacing == pytest.approx([spacing[a] for a in present if a != "C"])
    space, channels = data.read_space(tmp_path / "a.ome.tif")
    assert (space.shape, channels) == (scan.space.shape, scan.array.shape[-1])


def test_colours_are_channels(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    path = write(tmp_path / "a.ome.tif", array, "YXS", photometric="rgb")
    np.testing.assert_allclose(data.read_image(path).array, array / np.float32(255))


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 65535), (0, 3, 700), (0, -2, 70_000)])
@pytest.mark.parametrize("axes", ["YX", "ZYX"])
def test_a_mask_comes_back_with_its_numbers_and_its_grid(tmp_path, values, axes):
    image = np.zeros((4, 6, 5)[3 - len(axes) :], np.float32)
    scan = data.read_image(write(tmp_path / "a.ome.tif", image, axes))
    labels = np.random.default_rng(0).choice(values, scan.space.shape).astype(np.int32)
    path = data.write_mask(tmp_path / "m.ome.tif", labels, scan)
    np.testing.assert_array_equal(data.read_mask(path, like=scan).array, labels)


def test_white_beside_black_is_one(tmp_path):
    mask = np.zeros((6, 5), np.uint8)
    mask[2:4] = 255
    path = write(tmp_path / "m.ome.tif", mask, "YX")
    assert set(np.unique(data.read_mask(path).array)) == {0, 1}


def test_what_it_cannot_hold_or_say_is_refused(tmp_path):
    shape = (4, 5, 6)
    for affine in (np.diag([-1.0, 1, 1, 1]), np.array(np.eye(4) + np.eye(4, k=3))):
        scan = data.Scan(np.zeros((*shape, 1), np.float32), affine, data.Space(shape, affine))
        with pytest.raises(ValueError, match="no place in the patient"):
            data.write_mask(tmp_path / "m.ome.tif", np.zeros(shape, int), scan)
    film = write(tmp_path / "film.ome.tif", np.zeros((3, 6, 5), np.uint8), "TYX")
    with pytest.raises(data.DataError, match="its axes are TYX"):
        data.read_image(film)
    wrong = write(tmp_path / "w.ome.tif", np.zeros((6, 5), np.uint8), "YX", metadata={})
    assert data.read_image(wrong).spacing == (1, 1)
    for cut in (10, 200):
        (tmp_path / "cut.ome.tif").write_bytes(film.read_bytes()[:cut])
        with pytest.raises(data.DataError, match="readable"):
            data.read_image(tmp_path / "cut.ome.tif")
