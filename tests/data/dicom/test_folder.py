"""Folders of DICOM files as data sets: each series an image, found and checked."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from jaxmed import data
from jaxmed.cli import main
from jaxmed.data.formats import images_in

pytest.importorskip("pydicom")


@pytest.fixture
def study(tmp_path, write, volume):
    """Two patients of a series each, one with two series more in one folder, and a NIfTI."""
    for name in ("p1", "p2"):
        tags = {"PatientID": name, "SeriesInstanceUID": f"1.2.{name[1]}"}
        write.series(tmp_path / name / "ct", volume + int(name[1]), tags=tags)
    for k in (5, 6):
        tags = {"SeriesInstanceUID": f"1.2.{k}"}
        order = np.arange(3) + 10 * k
        write.series(tmp_path / "p1" / "mr", volume[:3] * k, tags=tags, order=order)
    write.series(tmp_path / "p2" / "scout", volume[:1], tags={"SeriesInstanceUID": "1.2.9"})
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "p2" / "t1.nii.gz")
    return tmp_path


def test_each_series_in_a_folder_is_one_image(study, volume):
    found = images_in(study)
    names = [str(path.relative_to(study)) for path in found]
    assert names == [
        "p1/ct", "p1/mr#series=0", "p1/mr#series=1", "p2/ct", "p2/scout/000", "p2/t1.nii.gz"
    ]  # fmt: skip
    arrays = [data.read_image(path).array for path in found]
    np.testing.assert_array_equal(arrays[0][..., 0], (volume + 1).transpose(2, 1, 0))
    np.testing.assert_array_equal(arrays[2][..., 0], (volume[:3] * 6).transpose(2, 1, 0))
    assert images_in(study / "p1" / "mr")[0].name == "#series=0"
    assert data.read_image(images_in(study / "p1" / "mr")[1]).array.shape == (7, 6, 3, 1)
    assert images_in(study / "p1" / "ct") == [study / "p1" / "ct"]


def test_a_folder_of_images_is_checked(study, capsys):
    assert data.check(study / "p1" / "ct") == []
    (study / "p1" / "ct" / "002").unlink()
    (study / "p2" / "t1.nii.gz").write_bytes(b"nothing")
    (study / "p2" / "bad.dcm").write_bytes(bytes(128) + b"DICM" + b"rubbish")
    rules = {fault.file.rpartition("/")[2]: fault.rule for fault in data.check(study)}
    assert rules["ct"] == "slice-missing"
    assert rules["t1.nii.gz"] == rules["bad.dcm"] == "readable"
    assert main(["data", "check", str(study)]) == 1
    out = capsys.readouterr().out
    assert "slice-missing" in out
    assert "Zebrafinch" not in out


def test_a_table_names_folders_and_what_is_to_be_allowed(study, volume):
    (study / "p1" / "ct" / "002").unlink()
    rows = ["image,label", "p1/ct#allow=slice-missing,a", "p2/ct,b", "p1/mr#series=1,b"]
    (study / "table.csv").write_text("\n".join(rows))
    source = data.manifest(study / "table.csv")
    assert source[0]["image"].shape == source[1]["image"].shape == (7, 6, 5, 1)
    np.testing.assert_array_equal(source[2]["image"][..., 0], (volume[:3] * 6).transpose(2, 1, 0))


def test_segmentations_are_the_masks_of_the_series_that_they_name(study, volume):
    pytest.importorskip("highdicom")
    wanted = {}
    for name in ("p1", "p2"):
        scan = data.read_image(study / name / "ct")
        wanted[name] = (scan.array[..., 0] > int(name[1]) * 40).astype(int)
        (study / "seg" / name).mkdir(parents=True)
        data.write_dicom_seg(study / "seg" / name / "1.dcm", wanted[name], scan, ["lesion"])
    source = data.dataset(study)
    assert list(source.case_ids) == ["p1/ct", "p2/ct"]
    assert "4 images without a mask are left out" in source.notes[0]
    for index, name in enumerate(("p1", "p2")):
        np.testing.assert_array_equal(source[index]["mask"], wanted[name])
    assert source.mask_labels.classes == ("background", "lesion")
    assert data.check(study) == []
    for path in ("p1/mr", "p2/scout"):
        shutil.rmtree(study / path)
    (study / "p2" / "t1.nii.gz").unlink()
    assert data.dataset(study).notes == ()
    data.write_dicom_seg(study / "seg" / "p2" / "2.dcm", wanted["p2"], scan, ["lesion"])
    with pytest.raises(data.DataError, match="2 segmentations are of it"):
        data.dataset(study)


def test_a_number_that_means_two_things_is_named(study):
    pytest.importorskip("highdicom")
    rows = ["image,mask"]
    for name, segments in (("p1", ["liver", "lesion"]), ("p2", ["lesion", "liver"])):
        scan = data.read_image(study / name / "ct")
        mask = (scan.array[..., 0] > 0) + (scan.array[..., 0] > 50).astype(int)
        data.write_dicom_seg(study / f"{name}.dcm", mask, scan, segments)
        rows.append(f"{name}/ct,{name}.dcm")
    (study / "table.csv").write_text("\n".join(rows))
    with pytest.raises(
        data.DataError, match=r"segment 1 is 'lesion', in .*p1.dcm 'liver'"
    ) as found:
        data.manifest(study / "table.csv")
    assert [f.rule for f in found.value.faults] == ["mask-values"]


def test_a_localizer_within_a_series_is_named_by_a_check_of_its_folder(study, write, volume):
    tags = {"PatientID": "p2", "SeriesInstanceUID": "1.2.2"}
    sagittal = {"orientation": (0, 1, 0, 0, 0, -1), "order": np.array([77])}
    write.series(study / "p2" / "ct", volume[:1], tags=tags, **sagittal)
    assert study / "p2" / "ct" in images_in(study)
    found = {fault.file.rpartition("/")[2]: fault.rule for fault in data.check(study)}
    assert found["ct"] == "orientation-mixed"
