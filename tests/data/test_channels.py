"""Files that are channels of one case by their names, as of BraTS and BIDS."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from jaxmed import data
from jaxmed.cli.predict._inputs import files


def scan(path, value=0.0, dtype=np.float32):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (np.arange(60).reshape(3, 4, 5) % 7 + value).astype(dtype)
    nib.Nifti1Image(array if dtype == np.float32 else array % 2, np.eye(4)).to_filename(path)


def brats(root, endings, sep="_", mask="seg", cases=3):
    for i in range(cases):
        name = f"BraTS20_Training_{i:03}"
        for k, ending in enumerate(endings):
            scan(root / name / f"{name}{sep}{ending}.nii.gz", 100 * k + i)
        if mask:
            scan(root / name / f"{name}{sep}{mask}.nii.gz", 0, np.uint8)


@pytest.mark.parametrize(
    ("endings", "sep", "names"),
    [
        (("flair", "t1", "t1ce", "t2"), "_", ("t1", "t1ce", "t2", "flair")),
        (("t1c", "t1n", "t2f", "t2w"), "-", ("t1n", "t1c", "t2w", "t2f")),
    ],
)
def test_the_files_of_brats_are_channels_of_a_case(tmp_path, endings, sep, names):
    brats(tmp_path, endings, sep)
    source = data.dataset(tmp_path)
    assert source.channels == names
    assert len(source) == 3
    assert source.case_ids[0] == "BraTS20_Training_000/BraTS20_Training_000"
    first = [100 * endings.index(name) for name in names]
    np.testing.assert_array_equal(source[0]["image"].min(axis=(0, 1, 2)), first)
    assert source[0]["mask"].max() == 1
    assert source.labels is None  # each folder is a case, no class
    assert any(f"CASE_{names[0]}" in note for note in source.notes)
    assert data.check(tmp_path) == []


def test_channels_may_be_chosen_and_ordered(tmp_path):
    brats(tmp_path, ("t1", "t2", "flair", "odd"), mask="tumour")
    with pytest.raises(data.DataError, match="no image ends in t9; names end in flair, odd, t1"):
        data.dataset(tmp_path, columns={"image": "t9"})
    source = data.dataset(tmp_path, columns={"image": "odd,t1", "mask": "tumour"})
    assert source.channels == ("odd", "t1")
    np.testing.assert_array_equal(source[0]["image"].min(axis=(0, 1, 2)), [300, 0])
    assert source.masks is not None
    one = data.dataset(tmp_path, columns={"image": "flair", "mask": "tumour"})
    assert one[0]["image"].shape == (3, 4, 5, 1)


def test_a_case_that_lacks_a_channel_is_named(tmp_path):
    brats(tmp_path, ("t1", "t2"))
    (tmp_path / "BraTS20_Training_001" / "BraTS20_Training_001_t2.nii.gz").unlink()
    with pytest.raises(data.DataError, match=r"Training_001.*it has t1, and not t2.*image=t1,fl"):
        data.dataset(tmp_path)
    assert data.dataset(tmp_path, columns={"image": "t1"}).channels == ("t1",)


def test_what_may_be_meant_otherwise_stays_as_it_is(tmp_path):
    for kind in ("lesion", "healthy"):  # one sequence an image, in a folder for each class
        for i, ending in enumerate(("t1", "t2")):
            scan(tmp_path / "single" / kind / f"p{i}_{ending}.nii.gz", i)
    assert len(data.dataset(tmp_path / "single")) == 4
    brats(tmp_path / "other", ("t1", "t2"), mask="")
    scan(tmp_path / "other" / "atlas.nii.gz", 7)
    assert len(data.dataset(tmp_path / "other")) == 7
    for kind in ("lesion", "healthy"):  # and a class whose name is that of masks
        for ending in ("t1", "t2"):
            scan(tmp_path / "class" / kind / f"p{kind}_{ending}.nii.gz")
    source = data.dataset(tmp_path / "class")
    assert (len(source), source.classes, source.channels) == (
        2,
        ("healthy", "lesion"),
        ("t1", "t2"),
    )


def test_bids_tells_subjects_and_masks(tmp_path):
    for who in ("01", "02"):
        for session in ("1", "2"):
            folder = tmp_path / f"sub-{who}" / f"ses-{session}" / "anat"
            base = f"sub-{who}_ses-{session}"
            for k, ending in enumerate(("T1w", "FLAIR")):
                scan(folder / f"{base}_{ending}.nii.gz", 10 * k + int(session))
            scan(folder / f"{base}_space-T1w_label-lesion_mask.nii.gz", 0, np.uint8)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\n")
    source = data.dataset(tmp_path)
    assert source.channels == ("T1w", "FLAIR")
    assert source.groups == ("sub-01", "sub-01", "sub-02", "sub-02")
    assert source.masks is not None
    assert any("subjects of BIDS" in note for note in source.notes)


def test_new_cases_are_joined_by_the_names_of_the_networks_channels(tmp_path, capsys):
    brats(tmp_path, ("flair", "t1", "odd"), mask="")
    (tmp_path / "BraTS20_Training_002" / "BraTS20_Training_002_t1.nii.gz").unlink()
    found = {one.name: one for one in files([tmp_path], ("T1", "FLAIR"))}
    whole = found["BraTS20_Training_000"]
    assert [path.name[21:] for path in whole.paths] == ["t1.nii.gz", "flair.nii.gz"]
    assert found["BraTS20_Training_002"].error.endswith("BraTS20_Training_002: no T1")
