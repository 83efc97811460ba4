"""Keeping the largest component."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from jaxmed.inference import keep_largest


@pytest.mark.parametrize("shape", [(30, 40), (12, 10, 9)])
@pytest.mark.parametrize("connectivity", [1, 2])
def test_one_component_is_left_and_it_is_the_largest(shape, connectivity):
    mask = (np.random.default_rng(0).random(shape) < 0.45).astype(np.int32)
    mask *= np.random.default_rng(1).integers(1, 3, shape, dtype=np.int32)
    before = label(mask != 0, connectivity=connectivity)
    got = keep_largest(mask, connectivity=connectivity)
    assert before.max() > 1
    assert label(got != 0, connectivity=connectivity).max() == 1
    assert (got != 0).sum() == np.bincount(before.ravel())[1:].max()
    assert got.dtype == mask.dtype
    np.testing.assert_array_equal(got[got != 0], mask[got != 0])
    np.testing.assert_array_equal(keep_largest(got, connectivity=connectivity), got)


def test_each_class_by_itself():
    mask = np.array([[1, 0, 1, 1], [0, 2, 0, 0], [2, 2, 0, 2]])
    wanted = np.array([[0, 0, 1, 1], [0, 2, 0, 0], [2, 2, 0, 0]])
    np.testing.assert_array_equal(keep_largest(mask, classes=(1, 2, 7)), wanted)


def test_an_empty_mask_stays_empty():
    assert not keep_largest(np.zeros((3, 4), bool)).any()


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (np.zeros((2, 2)), {}, "holds integers, got float64"),
        (np.zeros((2, 2), int), {"classes": (0, 1)}, "0 is the background"),
        (np.zeros((2, 2), int), {"connectivity": 3}, "from 1 to 2"),
    ],
)
def test_bad_arguments(mask, options, message):
    with pytest.raises(ValueError, match=message):
        keep_largest(mask, **options)
