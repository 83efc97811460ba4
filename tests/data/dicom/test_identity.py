"""Who was imaged: found in headers, and nowhere in what this library writes or says."""

from __future__ import annotations

import gzip
import pickle

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import jaxmed as jm
from jaxmed import data, networks
from jaxmed.cli import main

pytest.importorskip("pydicom")


def test_headers_that_name_the_patient_are_named(tmp_path, write, volume, capsys):
    folder = write.series(tmp_path / "ct", volume)
    (found,) = data.identity(folder)
    assert found.rule == "identity"
    assert "5 files, such as 000: the header states PatientName, PatientID" in found.detail
    assert "more" in found.detail
    assert data.check(folder) == []
    assert data.check(folder, identity=True) == [found]
    assert main(["data", "check", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "note: " in out
    assert "PatientName" in out
    assert "no faults" in out
    assert main(["data", "check", "--identity", str(folder)]) == 1
    out += capsys.readouterr().out
    assert not any(value in out for value in write.patient.values())


def test_a_file_whose_identity_was_removed_may_hold_what_replaces_it(tmp_path, write, volume):
    kept = dict.fromkeys(write.patient, "")
    kept |= {"PatientName": "case 7", "PatientID": "7", "StudyDate": "20000101"}
    kept |= {"StudyTime": "", "StudyID": "", "PatientIdentityRemoved": "YES"}
    folder = write.series(tmp_path / "ct", volume, tags=kept)
    assert data.identity(folder) == []
    kept |= {"InstitutionName": "Marigold Infirmary"}
    folder = write.series(tmp_path / "other", volume, tags=kept)
    assert data.identity(folder)[0].detail.endswith("the header states InstitutionName")


@pytest.mark.parametrize(
    ("modality", "tags", "found"),
    [
        ("CT", {}, False),
        ("CT", {"BurnedInAnnotation": "YES"}, True),
        ("US", {}, True),
        ("US", {"BurnedInAnnotation": "NO"}, False),
        ("OT", {}, True),
        ("CT", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, True),
    ],
)
def test_pixels_that_may_show_the_name(tmp_path, write, modality, tags, found):
    ds = write.dataset(np.ones((4, 5), np.uint8), modality, tags)
    path = write.save(ds, tmp_path / "a.dcm")
    assert ("burned-in" in {f.rule for f in data.identity(path)}) == found


def test_a_photograph_that_knows_its_place(tmp_path):
    exif = Image.Exif()
    exif[315] = "Hermia Oxbowlake"
    exif[34853] = {1: "N"}
    Image.new("L", (4, 5)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", (4, 5)).save(tmp_path / "b.jpg")
    (found,) = data.identity(tmp_path)
    assert found.file.endswith("a.jpg")
    assert found.detail == "the header states Artist, GPSInfo"


def contents(folder):
    """The bytes of all files, unpacked where they are packed."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        yield path.name, raw
        if raw[:2] == b"\x1f\x8b":
            yield path.name, gzip.decompress(raw)


def test_nothing_that_is_written_or_said_tells_who_was_imaged(tmp_path, write, volume, capsys):
    """The patient's words are searched in scans, masks, tables, faults, models and outputs."""
    words = [word.encode() for value in write.patient.values() for word in value.split("^")]
    words += [b"1.2.3.4", b"1.2.3.5"]
    ct = write.series(tmp_path / "in" / "ct", volume)
    write.series(tmp_path / "in" / "gap", volume, positions=[[0, 0, z] for z in (0, 2, 3, 9, 9)])
    said = []
    scan = data.read_dicom(ct)
    said.append(pickle.dumps(scan))
    said.append(repr(scan).encode())
    out = tmp_path / "out"
    mask = (scan.array[..., 0] > 0).astype(int)
    for name in ("m.nii.gz", "m.nrrd", "m.mha", "m.mgz"):
        data.write_mask(out / name, mask, scan)
    (tmp_path / "in" / "table.csv").write_text("image,label\nct,a\ngap,b\n")
    source = data.manifest(tmp_path / "in" / "table.csv")
    said.append(repr((source, source.rows, source.case_ids, source.notes, source[0])).encode())
    for path in (tmp_path / "in", tmp_path / "in" / "gap", tmp_path / "in" / "table.csv"):
        said.append("\n".join(map(str, data.check(path, identity=True))).encode())
    with pytest.raises(data.DataError) as caught:
        data.read_image(tmp_path / "in")
    said.append(str(caught.value).encode())
    net = jm.from_linen(networks.Conv(2, 1))
    recipe = jm.inference.Recipe(
        ("background", "bright"), ("ct",), (0.5, 0.8, 2.0), (4, 4, 4), net=net,
        normalisation="linear", linear=(2.0, -1.0),
    )  # fmt: skip
    weights = {"kernel": np.zeros((1, 1, 1, 1, 2), np.float32), "bias": np.float32([0, 1])}
    jm.inference.save_model(out / "run", jm.inference.segmenter(recipe, weights, {}))
    target = out / "predicted.nii.gz"
    assert main(["predict", str(out / "run"), str(ct), "-o", str(target)]) == 0
    assert target.is_file()
    told = capsys.readouterr()
    said.append((told.out + told.err).encode())
    for name, content in (*contents(out), *(("said", text) for text in said)):
        assert [word for word in words if word in content] == [], name
    # The words are those that the files do hold: a DICOM segmentation belongs to the patient.
    seg = data.write_mask(tmp_path / "seg.dcm", mask, scan).read_bytes()
    assert all(word in seg for word in (b"Zebrafinch", b"MRN-7731946", b"19470313"))


def test_headers_of_other_formats_that_name_the_patient(tmp_path, volume):
    image = nib.Nifti1Image(volume, np.eye(4))
    image.header["db_name"] = b"Zebrafinch"
    image.header["descrip"] = b"of Quentin"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"MRN-7731946"))
    nib.save(image, tmp_path / "a.nii.gz")
    scan = data.read_image(tmp_path / "a.nii.gz")
    path = data.write_mask(tmp_path / "out" / "m.nii.gz", np.ones(volume.shape, int), scan)
    for _, content in contents(tmp_path / "out"):
        assert not any(word in content for word in (b"Zebrafinch", b"Quentin", b"MRN"))
    assert data.read_mask(path, like=scan).array.all()
    data.write_mask(tmp_path / "m.mha", np.ones(volume.shape, int), scan)
    whole = (tmp_path / "m.mha").read_bytes()
    (tmp_path / "m.mha").write_bytes(b"0010|0010 = Zebrafinch^Quentin\n" + whole)
    assert data.read_mask(tmp_path / "m.mha").array.all()
    found = {f.file.rpartition("/")[2]: f.detail for f in data.identity(tmp_path)}
    assert found == {
        "a.nii.gz": "the header states db_name, a comment extension",
        "m.mha": "the header states 0010|0010",
    }
