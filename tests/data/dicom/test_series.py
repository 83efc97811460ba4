"""DICOM series: order, grid, and the rules that a series can break."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import data

pytest.importorskip("pydicom")


def rules(call, *args, **options):
    with pytest.raises(data.DataError) as caught:
        call(*args, **options)
    return [fault.rule for fault in caught.value.faults]


def test_slices_lie_along_the_normal_whatever_their_numbers(tmp_path, write, volume):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    folder = write.series(tmp_path / "a", volume, tags=tags)
    for path in (folder, str(folder)):
        scan = data.read_image(path)
        np.testing.assert_array_equal(scan.array[..., 0], volume.transpose(2, 1, 0) * 2.0 - 1000)
        np.testing.assert_allclose(
            scan.affine,
            [[-0.5, 0, 0, -10], [0, -0.8, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]],
        )
    space, channels = data.read_space(folder)
    assert (space.shape, channels) == ((7, 6, 5), 1)
    np.testing.assert_allclose(space.affine, scan.affine)
    (info,) = data.dicom_series(folder)
    assert (info.modality, info.shape, info.channels, len(info.files)) == ("CT", (7, 6, 5), 1, 5)
    assert [path.name for path in info.files] == ["004", "003", "002", "001", "000"]
    one = data.read_image(folder / "003")
    np.testing.assert_array_equal(one.array, scan.array[:, :, 1:2])
    assert one.spacing == pytest.approx((0.5, 0.8, 9.0))


def rotation(angles):
    a, b, c = angles
    x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(x) @ y @ z


@settings(max_examples=20)
@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    tilt=st.floats(-0.5, 0.5),
    distance=st.floats(0.3, 9),
    seed=st.integers(0, 99),
)
def test_each_voxel_lies_where_its_slice_says(
    tmp_path_factory, write, angles, tilt, distance, seed
):
    folder = tmp_path_factory.mktemp("any", numbered=True)
    rng = np.random.default_rng(seed)
    volume = rng.integers(0, 999, (4, 3, 5)).astype(np.uint16)
    row, column, normal = rotation(angles).T
    step = distance * (normal + tilt * column)  # a gantry's tilt shifts each slice aside
    first = rng.normal(size=3) * 100
    write.series(
        folder,
        volume,
        positions=[first + k * step for k in range(4)],
        orientation=(*row, *column),
        order=rng.permutation(4),
    )
    for canonical in (False, True):
        scan = data.read_dicom(folder, canonical=canonical)
        k, i, j = rng.integers(0, (4, 3, 5))
        place = first + k * step + i * 0.8 * column + j * 0.5 * row
        index = np.linalg.solve(scan.affine, [-place[0], -place[1], place[2], 1])[:3]
        np.testing.assert_allclose(index, index.round(), atol=1e-3)
        assert scan.array[(*index.round().astype(int), 0)] == volume[k, i, j]
        mask = (scan.array[..., 0] > 400).astype(np.int32)
        again = data.to_space(mask, scan.affine, scan.file)
        np.testing.assert_array_equal(again, volume.transpose(2, 1, 0) > 400)


def test_a_place_is_that_of_simpleitk(tmp_path, write, volume):
    sitk = pytest.importorskip("SimpleITK")
    row, column, normal = rotation((0.3, -0.2, 0.1)).T
    positions = [np.array([5.0, 6, 7]) + 3 * k * normal for k in range(5)]
    write.series(tmp_path, volume, positions=positions, orientation=(*row, *column))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    scan = data.read_dicom(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), scan.array[..., 0].T)
    there = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2)))
    np.testing.assert_allclose((scan.affine @ [4, 3, 2, 1])[:3], there * [-1, -1, 1], atol=1e-4)


def heights(*values):
    return [np.array([0.0, 0, z]) for z in values]


@pytest.mark.parametrize(
    ("at", "broken"),
    [
        ((0, 2, 4, 8, 10), ["slice-missing"]),
        ((0, 2, 8, 10, 12), ["slice-missing"]),
        ((0, 2, 4, 7, 9), ["spacing-uneven"]),
        ((0, 1, 2.2, 3.5, 5), ["spacing-uneven"]),
        ((0, 4, 5.08, 12.08, 26.08), ["spacing-uneven", "slice-missing"]),
        ((0, 2, 2, 4, 6), ["slice-twice"]),
        ((0, 1.2, 2.5, 3.8, 5.0), []),  # 1.25, rounded to a tenth
    ],
)
def test_slices_at_uneven_places_are_refused_by_name_unless_allowed(
    tmp_path, write, volume, at, broken
):
    write.series(tmp_path, volume, positions=heights(*at))
    if not broken:
        assert data.read_dicom(tmp_path).spacing[2] == pytest.approx(1.25)
        return
    assert rules(data.read_image, tmp_path) == broken
    assert [f.rule for f in data.check(tmp_path)] == broken
    assert [f.rule for f in data.dicom_series(tmp_path)[0].faults] == broken
    for k in range(len(broken) - 1):
        assert rules(data.read_dicom, tmp_path, allow=broken[k]) == broken[:k] + broken[k + 1 :]
    scan = data.read_image(f"{tmp_path}#allow={'+'.join(broken)}")
    np.testing.assert_array_equal(scan.array, data.read_dicom(tmp_path, allow=broken).array)
    # Every slice that is on the even grid is there unchanged, the ends among them.
    depths = (scan.affine @ np.array([[0, 0, k, 1] for k in range(scan.array.shape[2])]).T)[2]
    np.testing.assert_allclose(depths[[0, -1]], (at[0], at[-1]), atol=1e-6)
    for k, height in enumerate(at):
        here = np.flatnonzero(np.abs(depths - height) < 1e-6)
        if len(here) and not (k and at[k - 1] == height):
            found = scan.array[:, :, here[0], 0]
            some = [volume[j].T for j in range(5) if at[j] == height]
            assert any(np.array_equal(found, one) for one in some)


def test_an_allowed_gap_is_filled_linearly(tmp_path, write):
    volume = np.stack([np.full((3, 4), v, np.int16) for v in (0, 10, 40)])
    write.series(tmp_path, volume, positions=heights(0, 2, 8))
    scan = data.read_dicom(tmp_path, allow="slice-missing")
    np.testing.assert_allclose(scan.array[0, 0, :, 0], [0, 10, 20, 30, 40], rtol=1e-6)
    with pytest.raises(ValueError, match="allow takes orientation-mixed"):
        data.read_dicom(tmp_path, allow="missing-slice")


def test_slices_beside_the_line_of_the_others_are_refused(tmp_path, write, volume):
    positions = heights(0, 2, 4, 6, 8)
    positions[2][0] += 1.0  # two columns of 0.5 mm
    write.series(tmp_path, volume, positions=positions)
    assert rules(data.read_dicom, tmp_path) == ["spacing-uneven"]
    # Brought to the line, what it shows lies where it lay.
    found = data.read_dicom(tmp_path, allow="spacing-uneven").array[:, :, 2, 0]
    np.testing.assert_allclose(found[2:], volume[2].T[:-2], rtol=1e-6)


def test_a_localizer_in_the_series_is_named(tmp_path, write, volume):
    write.series(tmp_path, volume)
    write.series(tmp_path, volume[:1], orientation=(0, 1, 0, 0, 0, -1), order=np.array([77]))
    assert rules(data.read_image, tmp_path) == ["orientation-mixed"]
    scan = data.read_dicom(tmp_path, allow="orientation-mixed")
    assert scan.array.shape == (7, 6, 5, 1)
    infos = data.dicom_series(tmp_path)
    assert [info.shape for info in infos] == [(7, 6, 5), (7, 6, 1)]
    for which in (1, infos[1], "1"):
        assert data.read_dicom(tmp_path, series=which).array.shape == (7, 6, 1, 1)
    assert data.read_image(f"{tmp_path}#series=1").array.shape == (7, 6, 1, 1)


def test_of_several_series_one_is_chosen(tmp_path, write, volume):
    write.series(tmp_path / "a", volume)
    write.series(tmp_path / "b", volume[:3] + 1, tags={"SeriesInstanceUID": "1.2.3.9"})
    with pytest.raises(data.DataError, match=r"0: CT of 7 x 6 x 5 in 5 files; 1: CT of 7 x 6 x 3"):
        data.read_image(tmp_path)
    for which in (1, "1.2.3.9"):
        scan = data.read_dicom(tmp_path, series=which)
        np.testing.assert_array_equal(scan.array[..., 0], volume[:3].transpose(2, 1, 0) + 1)
    assert rules(data.read_dicom, tmp_path, series=2) == ["one-series"]
    assert rules(data.read_dicom, tmp_path, series="1.2.3.44") == ["one-series"]
    with pytest.raises(data.DataError, match="takes series, frame, allow, padding"):
        data.read_image(f"{tmp_path}#serie=1")


def test_two_patients_under_one_number_are_never_one_volume(tmp_path, write, volume):
    positions = heights(0, 2, 4, 6, 8, 10)
    write.series(tmp_path / "a", volume[:3], positions=positions[:3])
    write.series(tmp_path / "b", volume[:3], positions=positions[3:], tags={"PatientID": "other"})
    assert rules(data.read_dicom, tmp_path) == ["one-series"]


def test_what_repeats_at_one_place_is_a_channel(tmp_path, write, volume):
    for n, (echo, when) in enumerate([(9.2, "101010"), (4.6, "101011")]):
        tags = {"EchoTime": echo, "AcquisitionTime": when}
        order = np.arange(5) + 10 * n
        write.series(tmp_path, volume + 1000 * n, modality="MR", tags=tags, order=order)
    (info,) = data.dicom_series(tmp_path)
    assert info.repeats["echo time"] == (4.6, 9.2)
    assert info.channels == 2
    scan = data.read_image(tmp_path)
    wanted = volume.transpose(2, 1, 0)
    np.testing.assert_array_equal(scan.array, np.stack([wanted + 1000, wanted], -1))
    assert data.read_space(tmp_path)[1] == 2
    for frame in (1, "1", "echo time:9.2"):
        one = data.read_dicom(tmp_path, frame=frame)
        np.testing.assert_array_equal(one.array, scan.array[..., 1:])
    np.testing.assert_array_equal(
        data.read_image(f"{tmp_path}#frame=echo time:9.2").array, scan.array[..., 1:]
    )
    for frame in (2, "echo time:7", "b-value:0"):
        assert rules(data.read_dicom, tmp_path, frame=frame) == ["shape"]
    (tmp_path / "012").unlink()
    assert rules(data.read_dicom, tmp_path) == ["slice-missing"]
    less = data.read_dicom(tmp_path, allow="slice-missing")
    assert less.array.shape[-1] == 1


def test_times_that_differ_from_slice_to_slice_are_put_in_order(tmp_path, write, volume):
    for n in range(3):
        each = [{"TriggerTime": 100.0 * n + 7 * k} for k in range(5)]
        order = np.arange(5) * 3 + n
        write.series(tmp_path, volume + 500 * n, modality="MR", each=each, order=order)
    (info,) = data.dicom_series(tmp_path)
    assert info.repeats == {"trigger time": (0, 1, 2)}
    scan = data.read_image(tmp_path)
    np.testing.assert_array_equal(scan.array[..., 2], volume.transpose(2, 1, 0) + 1000)


def test_a_folder_without_an_image_and_other_files(tmp_path, write, volume):
    (tmp_path / "readme.txt").write_text("none")
    assert rules(data.read_dicom, tmp_path) == ["non-empty"]
    write.series(tmp_path, volume)
    report = write.dataset(volume[0])
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    write.save(report, tmp_path / "report.dcm")
    assert data.read_image(tmp_path).array.shape == (7, 6, 5, 1)
    assert rules(data.read_image, tmp_path / "report.dcm") == ["non-empty"]
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\7" * 40)
    assert rules(data.read_image, tmp_path) == ["readable"]


@settings(max_examples=80)
@given(at=st.integers(0, 1), share=st.floats(0, 0.999), value=st.integers(0, 255))
def test_any_damage_is_read_or_refused(tmp_path_factory, write, at, share, value):
    folder = tmp_path_factory.mktemp("damage", numbered=True)
    volume = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    write.series(folder, volume)
    path = folder / f"00{at}"
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] = value
    path.write_bytes(content)
    with contextlib.suppress(data.DataError):
        assert data.read_image(folder).array.shape[-1] >= 1


def test_a_place_without_a_distance_of_pixels_is_refused(tmp_path, write, volume):
    for spacing in (None, [0, 0], [1, -1]):
        write.series(tmp_path, volume, tags={"PixelSpacing": spacing})
        assert rules(data.read_dicom, tmp_path) == ["readable"]


def test_b_values_that_makers_keep_for_themselves(tmp_path, write, volume):
    from pydicom.dataelem import DataElement

    for n, b in enumerate((1000, 0)):
        for k, pixels in enumerate(volume):
            ds = write.dataset(
                pixels + n,
                "MR",
                {
                    "Manufacturer": "SIEMENS", "ImagePositionPatient": [0, 0, 2 * k],
                    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1],
                    "InstanceNumber": 10 * n + k,
                },
            )  # fmt: skip
            ds.add(DataElement((0x0019, 0x0010), "LO", "SIEMENS MR HEADER"))
            ds.add(DataElement((0x0019, 0x100C), "IS", str(b)))
            write.save(ds, tmp_path / f"{n}{k}")
    (info,) = data.dicom_series(tmp_path)
    assert info.repeats == {"b-value": (0, 1000)}
    np.testing.assert_array_equal(
        data.read_dicom(tmp_path, frame="b-value:1000").array[..., 0], volume.transpose(2, 1, 0)
    )
