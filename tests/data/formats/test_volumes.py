"""Volumes against nibabel, and against what a header can hold."""

from __future__ import annotations

import contextlib
import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import data

IDS = [0, 16777217, 614454277]
PLACE = np.array([[-1, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.mgz", "m.img"])
@pytest.mark.parametrize("canonical", [False, True])
def test_labels_above_two_to_the_24_are_read_as_they_are(tmp_path, name, canonical):
    array = np.array(IDS, np.int32).reshape(3, 1, 1)
    kind = {"m.mgz": nib.MGHImage, "m.img": nib.Nifti1Pair}.get(name, nib.Nifti1Image)
    nib.save(kind(array, np.diag([-1.0, 1, 1, 1])), tmp_path / name)
    found = data.read_mask(tmp_path / name, canonical=canonical).array
    assert np.unique(found).tolist() == IDS
    assert found.dtype == np.int32


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.float64])
def test_labels_beyond_32_bits_are_refused(tmp_path, dtype):
    array = np.array([0, 2**31 + 5], dtype).reshape(2, 1, 1)
    nib.save(nib.Nifti1Image(array, np.eye(4), dtype=dtype), tmp_path / "m.nii")
    with pytest.raises(data.DataError, match="2147483653, which 32 bits do not"):
        data.read_mask(tmp_path / "m.nii")


@pytest.mark.parametrize(("top", "dtype"), [(2, np.uint8), (3, np.uint8), (200, np.int16)])
def test_labels_stored_through_a_scale_are_the_labels(tmp_path, top, dtype):
    labels = np.arange(top + 1, dtype=float).reshape(-1, 1, 1)
    image = nib.Nifti1Image(labels, np.eye(4))
    image.set_data_dtype(dtype)  # nibabel then chooses a slope that spreads them
    nib.save(image, tmp_path / "m.nii")
    assert nib.load(tmp_path / "m.nii").dataobj.slope != 1
    np.testing.assert_array_equal(data.read_mask(tmp_path / "m.nii").array, labels)


def test_a_scale_does_not_make_labels_of_probabilities(tmp_path):
    image = nib.Nifti1Image(np.linspace(0, 1, 11).reshape(-1, 1, 1), np.eye(4))
    image.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / "m.nii")
    with pytest.raises(data.DataError, match="threshold probabilities first"):
        data.read_mask(tmp_path / "m.nii")


@pytest.mark.parametrize(
    ("unit", "edge"), [("mm", 0.5), ("micron", 500.0), ("meter", 5e-4), ("unknown", 0.5)]
)
def test_lengths_are_millimetres_whatever_the_header_counts_in(tmp_path, unit, edge):
    image = nib.Nifti1Image(np.ones((2, 3, 4), np.float32), np.diag([edge] * 3 + [1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    scan = data.read_image(tmp_path / "a.nii")
    np.testing.assert_allclose(scan.spacing, 0.5, rtol=1e-6)
    np.testing.assert_allclose(data.read_space(tmp_path / "a.nii")[0].spacing, 0.5, rtol=1e-6)
    written = data.write_mask(tmp_path / "m.nii", np.ones((2, 3, 4), int), scan)
    np.testing.assert_allclose(data.read_mask(written, like=scan).spacing, 0.5, rtol=1e-6)


@pytest.mark.parametrize("edge", [6.5e-5, 6.5e-9, 6.5e4])
def test_the_size_of_a_voxel_is_no_reason_to_refuse_it(tmp_path, edge):
    nib.save(
        nib.Nifti1Image(np.ones((2, 2, 2), np.float32), np.diag([edge] * 3 + [1])),
        tmp_path / "a.nii",
    )
    scan = data.read_image(tmp_path / "a.nii")
    np.testing.assert_allclose(scan.spacing, edge, rtol=1e-6)
    finer = data.resample_spacing(scan, (edge / 2,) * 3)
    np.testing.assert_allclose(finer.array, 1, rtol=1e-6)


def test_a_flat_voxel_has_no_inverse(tmp_path):
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.float32), None)
    image.header.set_sform([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(data.DataError, match="no inverse"):
        data.read_image(tmp_path / "a.nii")


def test_complex_voxels_are_refused(tmp_path):
    nib.save(
        nib.Nifti1Image(np.full((2, 2, 2), 3 + 4j, np.complex64), np.eye(4)), tmp_path / "a.nii"
    )
    for read in (data.read_image, data.read_mask, data.read_space):
        with pytest.raises(data.DataError, match="save the magnitude"):
            read(tmp_path / "a.nii")


def test_the_place_of_a_two_dimensional_nifti_is_kept(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((3, 4), np.float32), PLACE), tmp_path / "a.nii")
    scan = data.read_image(tmp_path / "a.nii")
    mask = np.arange(12).reshape(3, 4)
    written = data.write_mask(tmp_path / "m.nii.gz", mask, scan)
    np.testing.assert_allclose(nib.load(written).affine, PLACE)
    np.testing.assert_array_equal(data.read_mask(written, like=scan).array, mask)
    moved = PLACE.copy()
    moved[2, 3] += 5  # another slice of the same patient
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), moved), tmp_path / "other.nii")
    with pytest.raises(data.DataError, match="5 mm away"):
        data.read_mask(tmp_path / "other.nii", like=scan)


@pytest.mark.parametrize("canonical", [False, True])
def test_a_damaged_archive_is_refused_by_its_checksum(tmp_path, canonical):
    array = np.random.default_rng(0).integers(0, 999, (9, 8, 7)).astype(np.int16)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, 1, 1, 1])), path)
    whole = bytearray(path.read_bytes())
    damaged = whole.copy()
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(Exception, match=r"."):
        gzip.decompress(bytes(damaged))
    for content in (damaged, whole[: len(whole) // 2], whole[:-8], whole[100:]):
        path.write_bytes(content)
        with pytest.raises(data.DataError) as caught:
            data.read_image(path, canonical=canonical)
        assert caught.value.faults[0].rule == "readable"
        assert [f.rule for f in data.check(path)] == ["readable"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("datatype", 0), ("datatype", 1), ("scl_inter", np.nan), ("xyzt_units", 5), ("dim", -1)],
)
def test_a_header_that_nibabel_refuses_is_a_fault_of_the_file(tmp_path, field, value):
    header = nib.Nifti1Header()
    header.set_data_shape((2, 2, 2))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_sform(np.eye(4), 1)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header[field] = value
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(12))
    with pytest.raises(data.DataError):
        data.read_image(tmp_path / "a.nii")
    assert data.check(tmp_path / "a.nii")[0].file.endswith("a.nii")


@settings(max_examples=100)
@given(at=st.integers(0, 351), value=st.integers(0, 255), packed=st.booleans())
def test_any_header_is_read_or_refused(tmp_path_factory, at, value, packed):
    folder = tmp_path_factory.mktemp("header", numbered=True)
    image = nib.Nifti1Image(
        np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-1.0, 2, 3, 1])
    )
    content = bytearray(image.to_bytes())
    content[at] = value
    path = folder / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    for read in (data.read_image, data.read_mask, data.read_space):
        for options in ({}, {"canonical": True}) if read is not data.read_space else ({},):
            with contextlib.suppress(data.DataError):
                assert read(path, **options)


@settings(max_examples=60)
@given(
    labels=st.lists(st.sampled_from([*range(5), 255, 256, 32767, 65535, 2**24 + 1, 2**31 - 1, -3]),
                    min_size=1, max_size=6),
    name=st.sampled_from(["m.nii", "m.nii.gz", "m.png", "m.tif", "m.bmp"]),
)  # fmt: skip
def test_what_is_written_is_read_again_or_was_refused(tmp_path_factory, labels, name):
    path = tmp_path_factory.mktemp("written", numbered=True) / name
    mask = np.array([labels, labels[::-1]])
    scan = data.Scan(np.zeros((*mask.shape, 1)), np.eye(3), data.Space(mask.shape, np.eye(3)))
    top = {".nii": 2**31, ".nii.gz": 2**31, ".png": 65536, ".tif": 2**31, ".bmp": 256}
    picture = "nii" not in name
    held = max(labels) < top[name[1:]] and not (picture and min(labels) < 0)
    if held and not (picture and set(labels) <= {0, 65535} and 65535 in labels):
        data.write_mask(path, mask, scan)
        np.testing.assert_array_equal(data.read_mask(path).array, mask)
    else:
        # The range that is said is the format's.
        said = "0 and 65535 alone" if held else f"holds 0 to {top[name[1:]] - 1};"
        with pytest.raises(ValueError, match=f"do not survive.*{said}|{said} do not survive"):
            data.write_mask(path, mask, scan)
        assert not list(path.parent.iterdir())


@pytest.mark.parametrize("name", ["m.jpg", "m.jpeg", "m.img", "m.hdr", "m.npy"])
def test_a_format_that_cannot_hold_a_mask_is_refused(tmp_path, name):
    for shape in ((2, 2), (2, 2, 2)):
        affine = np.eye(len(shape) + 1)
        scan = data.Scan(np.zeros((*shape, 1)), affine, data.Space(shape, affine))
        with pytest.raises(ValueError, match="cannot be written"):
            data.write_mask(tmp_path / name, np.ones(shape, int), scan)
    assert not list(tmp_path.iterdir())


def test_a_freesurfer_volume_is_written(tmp_path):
    scan = data.Scan(np.zeros((2, 3, 4, 1)), PLACE, data.Space((2, 3, 4), PLACE))
    mask = np.arange(24).reshape(2, 3, 4) * 1000
    written = data.write_mask(tmp_path / "m.mgz", mask, scan)
    found = data.read_mask(written)
    np.testing.assert_array_equal(found.array, mask)
    np.testing.assert_allclose(found.affine, PLACE, atol=1e-5)
