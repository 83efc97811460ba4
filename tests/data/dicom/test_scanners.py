"""DICOM as real scanners and tools wrote it, where the data are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from jaxmed import data

pytest.importorskip("pydicom")


@pytest.fixture(scope="module")
def odd(data_dir):
    if not (data_dir / "dicom_odd").is_dir():
        pytest.skip("no DICOM of scanners there")
    return data_dir / "dicom_odd"


def test_seven_syntaxes_of_one_mosaic_are_one_volume(odd):
    scans = [data.read_image(path) for path in sorted((odd / "dcm_qa_ts/In").glob("*.dcm"))]
    assert len(scans) == 7
    assert scans[0].array.shape == (64, 64, 35, 1)
    assert scans[0].spacing == pytest.approx((3.25, 3.25, 3.6))
    for scan in scans[1:]:
        np.testing.assert_array_equal(scan.array, scans[0].array)
        np.testing.assert_array_equal(scan.affine, scans[0].affine)


def test_a_mosaic_is_that_of_nibabel(odd):
    path = sorted((odd / "dcm_qa_ts/In").glob("*.dcm"))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its package is experimental
        from nibabel.nicom import dicomwrappers
    wrapped = dicomwrappers.wrapper_from_file(path)
    scan = data.read_image(path)
    np.testing.assert_array_equal(scan.array[..., 0], np.transpose(wrapped.get_data(), (1, 0, 2)))
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(scan.affine, flip @ wrapped.affine[:, [1, 0, 2, 3]], atol=1e-6)


@pytest.mark.parametrize("name", ["CT1", "MR4", "NM1"])
def test_lossless_compression_is_lossless(odd, tmp_path, name):
    codecs = pytest.importorskip("imagecodecs")
    folder = odd / "WG04/data/WG04"
    plain = codecs.zstd_decode((folder / f"REF/{name}_UNC.zst").read_bytes())
    (tmp_path / name).write_bytes(plain)
    wanted = data.read_image(tmp_path / name)
    lossless = ("J2KR", "JLSL", "JPLL")
    several = [path for kind in lossless for path in (folder / kind).glob(f"{name}_*")]
    assert len(several) >= 2
    for path in several:
        np.testing.assert_array_equal(data.read_image(path).array, wanted.array)
    for path in [path for kind in ("JPLY", "JLSN") for path in (folder / kind).glob(f"{name}_*")]:
        found = data.read_image(path).array  # 12 bits with loss, and nearly without
        assert np.corrcoef(found.ravel(), wanted.array.ravel())[0, 1] > 0.98


def test_a_tilted_series_with_a_slice_missing_is_refused_by_both_names(odd):
    folder = odd / "dcm_qa_ct/In/GE"
    for read in (data.read_image, data.read_space, data.read_dicom):
        with pytest.raises(data.DataError) as caught:
            read(folder)
        assert [f.rule for f in caught.value.faults] == ["spacing-uneven", "slice-missing"]
    scan = data.read_dicom(folder, allow=("spacing-uneven", "slice-missing"))
    edges = scan.affine[:3, :3] / np.array(scan.spacing)
    tilt = 90 - np.degrees(np.arccos(abs(edges[:, 1] @ edges[:, 2])))
    assert tilt == pytest.approx(18.5, abs=0.01)  # the gantry's, as a shear


@pytest.mark.parametrize(
    "where",
    [
        "dcm_qa_decubitus/In/HFDL/2_t1_fl2d_sag",
        "dcmqi/data/segmentations/ct-3slice",
        "dcmqi/data/segmentations/23x38x3/image",
        "dcmqi/data/segmentations/24x38x3/multiframe/mf.dcm",
    ],
)
def test_voxels_and_places_are_those_of_simpleitk(odd, where):
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    path = odd / where
    if path.is_dir():
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        image = reader.Execute()
    else:
        image = sitk.ReadImage(str(path))
    scan = data.read_image(path)
    np.testing.assert_array_equal(scan.array[..., 0], sitk.GetArrayFromImage(image).T)
    for index in ([0, 0, 0], [3, 5, 2]):
        there = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        np.testing.assert_allclose((scan.affine @ [*index, 1])[:3], there, atol=1e-4)


def test_enhanced_files_have_their_repeats_as_channels(odd):
    scan = data.read_image(odd / "dcm_qa_enh/In/Philips")
    assert scan.array.shape == (64, 64, 32, 2)  # magnitude and field map, each with its own slope
    assert scan.array[..., 1].min() < 0 <= scan.array[..., 0].min()
    (series,) = data.dicom_series(odd / "dcm_qa_enh/In/Siemens")
    assert series.repeats["time"] == (1, 2, 3, 4)
    assert data.read_image(odd / "dcm_qa_enh/In/Siemens").array.shape == (64, 64, 6, 4)


def test_an_x_ray_whose_zero_is_white_is_turned(odd):
    path = odd / "highdicom/data/test_files/dx_image.dcm"
    import pydicom

    stored = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(data.read_image(path).array[..., 0], 255.0 - stored)


def test_slides_and_reports_are_refused_by_what_they_are(odd):
    files = odd / "highdicom/data/test_files"
    with pytest.raises(data.DataError, match="a tile of a whole slide"):
        data.read_image(files / "sm_image.dcm")
    with pytest.raises(data.DataError, match="without an image, such as a report"):
        data.read_image(files / "sr_document.dcm")


@pytest.mark.parametrize(
    "where", ["nrrd_radiomics/data", "prostate_mha/tests/input/10000"], ids=["nrrd", "mha"]
)
def test_nrrd_and_mha_lie_where_simpleitk_has_them(data_dir, tmp_path, where):
    sitk = pytest.importorskip("SimpleITK")
    files = [*(data_dir / where).glob("*.nrrd"), *(data_dir / where).glob("*.mha")]
    if not files:
        pytest.skip("no such files there")
    for path in files:
        scan, image = data.read_image(path), sitk.ReadImage(str(path))
        np.testing.assert_array_equal(scan.array[..., 0], sitk.GetArrayFromImage(image).T)
        there = np.array(image.TransformIndexToPhysicalPoint([2, 3, 4])) * [-1, -1, 1]
        np.testing.assert_allclose((scan.affine @ [2, 3, 4, 1])[:3], there, atol=1e-4)
        mask = (scan.array[..., 0] > scan.array.mean()).astype(int)
        written = data.write_mask(tmp_path / f"m{path.suffix}", mask, scan)
        np.testing.assert_array_equal(data.read_mask(written, like=scan).array, mask)


def test_segmentations_are_read_as_highdicom_reads_them(odd):
    hd = pytest.importorskip("highdicom")
    files = sorted((odd / "highdicom/data/test_files").glob("seg_image_ct_*.dcm"))
    assert len(files) >= 4
    for path in files:
        found = data.read_dicom_seg(path)
        volume = hd.seg.segread(path).get_volume(allow_missing_positions=True)
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
        for k in range(found.masks.shape[-1]):
            there = data.to_space(volume.array[..., k] >= 0.5, affine, found.file)
            np.testing.assert_array_equal(found.masks[..., k], there)


@pytest.mark.parametrize(
    "where",
    [
        "dcm_qa_ts/In/1.dcm",
        "dcm_qa_enh/In/Philips",
        "dcm_qa_enh/In/Siemens",
        "dcm_qa_decubitus/In/HFDL/2_t1_fl2d_sag",
        "highdicom/data/test_files/dx_image.dcm",
    ],
)
def test_a_mask_of_any_scanner_comes_back(odd, tmp_path, where):
    pytest.importorskip("highdicom")
    scan = data.read_image(odd / where, canonical=True)
    mask = (scan.array[..., 0] > scan.array.mean()).astype(int)
    written = data.write_mask(tmp_path / "m.dcm", mask, scan)
    found = data.read_mask(written, like=scan, canonical=True)
    np.testing.assert_array_equal(found.array, mask)
