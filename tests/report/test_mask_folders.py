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


@pytest.mark.parametrize("missing", ["error", "empty"])
def test_predictions_named_otherwise_are_told_by_which_ending(folder, missing):
    truth, other = folder("truth", "ab"), folder("other", ["a_0000", "b_0000"])
    with pytest.raises(DataError, match="without '_0000' they would"):
        report.read_mask_pairs(other, truth, missing=missing)


def test_255_for_what_the_other_calls_1_is_no_class_of_its_own(folder):
    ones, white = folder("ones", "a"), folder("white", "a", 255)
    for pair in ((ones, white), (white, ones)):
        with pytest.raises(DataError, match=r"white.*marks with 255 what .*ones.* marks with 1"):
            list(report.read_mask_pairs(*pair)[1])
    seven = folder("seven", "a", 7)  # a class the reference does not have is the model's mistake
    assert [p.prediction.max() for p in report.read_mask_pairs(seven, ones)[1]] == [7]


def test_a_folder_without_masks_says_what_is_there(folder, tmp_path):
    truth = folder("truth", "a")
    (tmp_path / "found" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="but folders; put the masks"):
        report.read_mask_pairs(tmp_path / "found", truth)
