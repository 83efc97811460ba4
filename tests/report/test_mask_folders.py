"""Folders of masks as other tools write them: paired, or refused with what to do."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from jaxmed import report
from jaxmed.data import DataError


@pytest.fixture
def folder(tmp_path):
    """Make a folder of volumes in which one half is marked with a number."""

    def make(name, cases, value=1):
        path = tmp_path / name
        path.mkdir()
        mask = np.zeros((2, 3, 4), np.uint8)
        mask[1] = value
        for case in cases:
            nib.save(nib.Nifti1Image(mask, np.eye(4)), path / f"{case}.nii")
        return path

    return make


def pairs(predictions, truth, **options):
    return list(report.read_mask_pairs(predictions, truth, **options)[1])


@pytest.mark.parametrize("missing", ["error", "empty"])
@pytest.mark.parametrize("ending", ["_0000", "_pred", "_trans"])
def test_one_ending_after_every_name_is_no_other_case(folder, missing, ending):
    truth, other = folder("truth", ["a", "a_b"]), folder("other", [f"a{ending}", f"a_b{ending}"])
    assert [p.case for p in pairs(other, truth, missing=missing)] == ["a", "a_b"]
    mixed = folder("mixed", ["a_x", "a_b_y"])
    with pytest.raises(DataError, match="give each prediction the name of its reference"):
        report.read_mask_pairs(mixed, truth, missing=missing)


def test_255_for_what_the_reference_calls_1(folder):
    ones, white = folder("ones", "a"), folder("white", "a", 255)
    assert [p.prediction.max() for p in pairs(white, ones)] == [1]
    with pytest.raises(DataError, match=r"white.*marks with 255 what .*ones.* marks with 1"):
        pairs(ones, white)


def test_a_label_that_no_reference_has(folder):
    ones, seven = folder("ones", "a"), folder("seven", "a", 7)
    with pytest.raises(DataError, match=r"label 7, which no reference .* has \(they have 0, 1\)"):
        pairs(seven, ones)
    # Of the classes that one names, it is the model's error.
    assert [p.prediction.max() for p in pairs(seven, ones, classes=7)] == [7]


def test_a_folder_for_each_case_and_a_single_pair_of_files(folder, tmp_path):
    truth = folder("truth", "ab")
    for case in "ab":
        (tmp_path / "nested" / case).mkdir(parents=True)
        (truth / f"{case}.nii").rename(tmp_path / "nested" / case / f"{case}_trans.nii")
    truth = folder("again", "ab")
    assert [p.case for p in pairs(tmp_path / "nested", truth)] == ["a", "b"]
    (one,) = pairs(tmp_path / "nested" / "a" / "a_trans.nii", truth / "a.nii")
    assert (one.case, one.prediction.sum()) == ("a", 12)


def test_probabilities_channels_and_other_orientations(folder, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 3, 4)).astype(np.uint8)
    (tmp_path / "truth").mkdir()
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    image = nib.Nifti1Image(labels, affine)
    image.to_filename(tmp_path / "truth" / "a.nii")
    soft = np.stack([labels == k for k in range(3)], -1).astype(np.float16)

    def found(name, write):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        (pair,) = pairs(tmp_path / name, tmp_path / "truth")
        np.testing.assert_array_equal(pair.prediction, labels)

    found("nnunet", lambda f: np.savez(f / "a.npz", probabilities=soft.transpose()))
    found("ours", lambda f: np.savez(f / "a_probabilities.npz", probabilities=soft, classes="xyz"))
    channels = nib.Nifti1Image(soft.astype(np.uint8), affine)
    found("channels", lambda f: channels.to_filename(f / "a.nii"))
    turned = image.as_reoriented(np.array([[1, -1], [2, 1], [0, 1]]))
    found("turned", lambda f: turned.to_filename(f / "a.nii"))
    away = nib.Nifti1Image(labels, affine + 5 * np.outer(np.eye(4)[0], np.eye(4)[3]))
    (tmp_path / "away").mkdir()
    away.to_filename(tmp_path / "away" / "a.nii")
    with pytest.raises(DataError, match="corner 5 mm away"):
        pairs(tmp_path / "away", tmp_path / "truth")
    np.savez(tmp_path / "nnunet" / "a.npz", probabilities=soft[:1].transpose())
    with pytest.raises(DataError, match=r"probabilities are .*classes, z, y, x"):
        pairs(tmp_path / "nnunet", tmp_path / "truth")


def test_a_folder_without_masks_says_what_is_there(folder, tmp_path):
    truth = folder("truth", "a")
    (tmp_path / "found" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="but folders; put the masks"):
        report.read_mask_pairs(tmp_path / "found", truth)
