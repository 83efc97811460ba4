"""DICOM segmentations: written with a place for each frame, read by it, against twins in NRRD."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import data

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")


def refused(rule, call, *args, **options):
    with pytest.raises(data.DataError) as caught:
        call(*args, **options)
    assert [f.rule for f in caught.value.faults] == [rule]
    return str(caught.value)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 99),
    tilt=st.sampled_from([0, 0.3]),
    canonical=st.booleans(),
    labels=st.sampled_from([(1,), (1, 2, 3), (7, 300), (2,)]),
)
def test_a_mask_comes_back_from_any_series(tmp_path_factory, write, seed, tilt, canonical, labels):
    folder = tmp_path_factory.mktemp("seg", numbered=True)
    rng = np.random.default_rng(seed)
    row, column, normal = np.linalg.qr(rng.normal(size=(3, 3)))[0].T
    if np.cross(row, column) @ normal < 0:
        normal = -normal
    step = 2.5 * (normal + tilt * column)
    write.series(
        folder / "ct",
        rng.integers(0, 99, (4, 5, 6)).astype(np.int16),
        positions=[k * step + [1, 2, 3] for k in range(4)],
        orientation=(*row, *column),
        order=rng.permutation(4),
    )
    scan = data.read_image(folder / "ct", canonical=canonical)
    mask = rng.choice([0, *labels], scan.space.shape)
    mask[..., 1] = 0  # a slice without a frame
    path = data.write_mask(folder / "m.dcm", mask, scan)
    found = data.read_mask(path, like=scan, canonical=canonical)
    np.testing.assert_array_equal(found.array, mask)
    np.testing.assert_allclose(found.affine, scan.affine)
    # On its own grid each voxel lies where it lay.
    alone = data.read_mask(path)
    lands = np.argwhere(alone.array > 0)
    places = np.c_[lands, np.ones(len(lands))] @ alone.affine.T
    index = np.rint(places @ np.linalg.inv(scan.affine).T).astype(int)[:, :3]
    np.testing.assert_array_equal(mask[tuple(index.T)], alone.array[tuple(lands.T)])
    assert len(lands) == (mask > 0).sum()
    assert data.read_space(path)[0].shape == alone.array.shape


def test_segments_that_overlap_come_back_each(tmp_path, write, volume):
    write.series(tmp_path / "ct", volume)
    scan = data.read_image(tmp_path / "ct", canonical=True)
    masks = np.random.default_rng(0).random((*scan.space.shape, 2)) > 0.5
    names = [
        data.Segment(1, "liver", kind=data.Code("10200004", "SCT", "Liver")),
        data.Segment(2, "tumour"),
    ]
    path = data.write_dicom_seg(tmp_path / "s.dcm", masks, scan, names, algorithm=None)
    found = data.read_dicom_seg(path, like=scan)
    np.testing.assert_array_equal(found.masks, masks)
    assert [(s.number, s.name) for s in found.segments] == [(1, "liver"), (2, "tumour")]
    assert found.segments[0].kind.meaning == "Liver"
    assert data.read_segments(path) == found.segments
    assert "segment 2 (tumour)" in refused("mask-overlap", data.read_mask, path)
    ds = pydicom.dcmread(path)
    assert ds.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"
    assert ds.PatientID == write.patient["PatientID"]  # it belongs to the patient's study
    assert ds.StudyInstanceUID == "1.2.3"
    assert ds.SeriesInstanceUID != "1.2.3.4"


def test_a_mask_of_a_multi_frame_source_is_not_reversed(tmp_path, write, volume):
    frames, groups = [], []
    for k in reversed(range(len(volume))):
        group, item = pydicom.Dataset(), pydicom.Dataset()
        item.ImagePositionPatient = [0, 0, 2.0 * k]
        group.PlanePositionSequence = [item]
        groups.append(group)
        frames.append(volume[k])
    ds = write.dataset(np.stack(frames), "CT", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"})
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    orientation, measures, common = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 2
    common.PlaneOrientationSequence, common.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [common]
    ds.PerFrameFunctionalGroupsSequence = groups
    scan = data.read_image(write.save(ds, tmp_path / "mf.dcm"))
    mask = (np.arange(5) == 1)[None, None, :] * np.ones(scan.space.shape, int)
    path = data.write_dicom_seg(tmp_path / "m.dcm", mask, scan, ["slice"])
    np.testing.assert_array_equal(data.read_mask(path, like=scan).array, mask)
    (frame,) = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    assert frame.PlanePositionSequence[0].ImagePositionPatient[2] == 2


def test_a_mask_of_a_picture(tmp_path, write):
    pixels = np.arange(30, dtype=np.uint8).reshape(5, 6)
    ds = write.dataset(pixels, "DX", {"PixelSpacing": [0.2, 0.3]})
    del ds.FrameOfReferenceUID
    scan = data.read_image(write.save(ds, tmp_path / "a.dcm"))
    mask = (pixels % 3).astype(int)
    path = data.write_mask(tmp_path / "m.dcm", mask, scan)
    np.testing.assert_array_equal(data.read_mask(path, like=scan).array, mask)
    np.testing.assert_array_equal(data.read_mask(path).array, mask)


def test_what_cannot_be_written_or_placed_is_refused(tmp_path, write, volume):
    write.series(tmp_path / "ct", volume)
    scan = data.read_image(tmp_path / "ct")
    ones = np.ones(scan.space.shape, int)
    for mask, names, text in [
        (ones[1:], None, "the scan's grid"),
        (ones * 2, ["liver"], "have no name"),
        (ones * 0.5, None, "whole numbers"),
        (ones[..., None], ["a", "b"], "1 masks and 2 segments"),
        (ones[..., None] * 2, ["a"], "0 and 1 alone"),
        (ones * 70000, None, "up to 65535"),
        (ones, {0: "air"}, "numbered from 1"),
    ]:
        with pytest.raises(ValueError, match=text):
            data.write_dicom_seg(tmp_path / "m.dcm", mask, scan, names)
    other = data.Scan(ones[..., None], scan.affine, data.Space(ones.shape, scan.affine))
    with pytest.raises(ValueError, match="not read from one"):
        data.write_mask(tmp_path / "m.dcm", ones, other)
    assert not (tmp_path / "m.dcm").exists()
    path = data.write_dicom_seg(tmp_path / "m.dcm", ones, tmp_path / "ct", ["all"])
    shifted = scan.affine.copy()
    shifted[:3, 3] += 0.2
    moved = scan._replace(affine=shifted, file=scan.file._replace(affine=shifted))
    refused("mask-affine", data.read_mask, path, like=moved)
    smaller = scan.file._replace(shape=(7, 6, 4))
    assert "outside" in refused(
        "mask-affine", data.read_mask, path, like=scan._replace(file=smaller)
    )
    assert "no DICOM segmentation" in refused("readable", data.read_dicom_seg, tmp_path / "ct/000")
    refused("non-empty", data.read_image, path)


def test_segmentations_of_others_are_those_of_their_twins(data_dir):
    folder = data_dir / "dicom_odd/dcmqi/data/segmentations"
    if not folder.is_dir():
        pytest.skip("no DICOM segmentations there")
    image = data.read_image(folder / "ct-3slice")

    def twin(name, like):
        mask = data.read_mask(folder / f"{name}.nrrd")
        return data.to_space(mask.array, mask.affine, like.space)

    found = data.read_mask(folder / "liver.dcm", like=image)
    np.testing.assert_array_equal(found.array, twin("liver_seg", image))
    assert data.read_segments(folder / "liver.dcm")[0].name == "Liver"
    masks = data.read_dicom_seg(folder / "partial_overlaps.dcm", like=image).masks
    for name, labels in [("1", (1, 4, 5)), ("2", (2,)), ("3", (3,))]:
        wanted = twin(f"partial_overlaps-{name}", image)
        for label in labels:
            np.testing.assert_array_equal(masks[..., label - 1], wanted == label)
    small = data.read_image(folder / "24x38x3/image")
    for name in ("noppv", "ppv5"):
        found = data.read_mask(folder / f"sparse-labelmap-{name}.dcm", like=small)
        np.testing.assert_array_equal(found.array, twin(f"sparse_labelmap_{name}_seg", small))
        alone = data.read_mask(folder / f"sparse-labelmap-{name}.dcm")
        assert alone.array.shape == (24, 38, 3)


@pytest.mark.parametrize(
    ("tags", "lacking"),
    [
        ({"SpecificCharacterSet": ""}, ()),
        ({"SpecificCharacterSet": "ISO_IR 6"}, ()),
        ({"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Gr\u00fcn^Zo\u00eb"}, ()),
        ({"SpecificCharacterSet": "ISO 2022 IR 100", "PatientName": "Gr\u00fcn^Zo\u00eb"}, ()),
        (
            {
                "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
                "PatientName": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce",
            },
            (),
        ),
        ({"PatientSex": "X", "PatientBirthDate": "", "StudyTime": ""}, ()),
        ({}, ("PatientID", "PatientSex", "PatientBirthDate", "StudyID", "AccessionNumber")),
        ({}, ("PatientName", "StudyDate", "StudyTime", "ReferringPhysicianName")),
    ],
)
def test_a_segmentation_is_written_of_headers_as_scanners_and_hospitals_leave_them(
    tmp_path, write, tags, lacking
):
    volume = np.arange(60).reshape(3, 4, 5).astype(np.int16)
    write.series(tmp_path / "ct", volume, tags=tags)
    for file in (tmp_path / "ct").iterdir():
        header = pydicom.dcmread(file)
        for name in lacking:
            delattr(header, name)
        header.save_as(file)
    scan = data.read_image(tmp_path / "ct")
    mask = (scan.array[..., 0] > 20).astype(int)
    path = data.write_dicom_seg(tmp_path / "m.dcm", mask, scan, ["bright"])
    np.testing.assert_array_equal(data.read_mask(path, like=scan).array, mask)
    written = pydicom.dcmread(path)
    name = tags.get("PatientName", "" if "PatientName" in lacking else write.patient["PatientName"])
    assert str(written.PatientName) == name
    for name in lacking:
        assert not written.get(name)


def test_dates_that_are_none_are_left_out_of_a_segmentation(tmp_path, write):
    write.series(tmp_path / "ct", np.arange(60).reshape(3, 4, 5).astype(np.int16))
    for file in (tmp_path / "ct").iterdir():  # pydicom refuses to write them, others did not
        whole = file.read_bytes()
        assert whole.count(b"19470313") == 1
        file.write_bytes(whole.replace(b"19470313", b"0000000X"))
    scan = data.read_image(tmp_path / "ct")
    path = data.write_dicom_seg(tmp_path / "m.dcm", np.ones(scan.space.shape, int), scan)
    assert not pydicom.dcmread(path).PatientBirthDate


def test_a_series_that_cannot_be_referred_to_is_a_fault(tmp_path, write):
    write.series(tmp_path / "ct", np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    first = sorted((tmp_path / "ct").iterdir())[0]
    ds = pydicom.dcmread(first)
    del ds.SOPInstanceUID
    ds.save_as(first)
    scan = data.read_image(tmp_path / "ct")
    mask = np.ones(scan.space.shape, int)
    told = refused("readable", data.write_dicom_seg, tmp_path / "m.dcm", mask, scan)
    assert "SOPInstanceUID" in told
    assert not (tmp_path / "m.dcm").exists()
