"""Landmarks of masks: made by hand, so that the answer is seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmed.data import component_boxes, contact_point, insertion_points


def heart(size=48, *, turn=0.0):
    """A left ventricle with its wall, and a right ventricle as a crescent beside it."""
    row, column = np.indices((size, size)) - size / 2 + 0.5
    row, column = (
        row * np.cos(turn) - column * np.sin(turn),
        row * np.sin(turn) + column * np.cos(turn),
    )
    mask = np.zeros((size, size), int)
    mask[row**2 + (column + 6) ** 2 < 11**2] = 1
    mask[row**2 + (column - 4) ** 2 < 10**2] = 2
    mask[row**2 + (column - 4) ** 2 < 6**2] = 3
    return mask


def test_contact_is_the_middle_of_shared_faces_in_mm():
    mask = np.zeros((4, 5, 6), int)
    mask[1:3, 1:4, 1:3], mask[1:3, 1:4, 3:5] = 1, 2
    np.testing.assert_allclose(contact_point(mask, 1, 2, spacing=(1, 1, 1)), [1.5, 2, 2.5])
    np.testing.assert_allclose(contact_point(mask, 2, 1, spacing=(1, 2, 3)), [1.5, 2, 2.5])
    mask[3, 1, 4] = 1  # one face more, across the first axis: 12 mm^2 beside six of 2
    expected = (6 * 2 * np.array([1.5, 2, 2.5]) + 12 * np.array([2.5, 1, 4])) / 24
    np.testing.assert_allclose(contact_point(mask, 1, 2, spacing=(1, 2, 6)), expected)


@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
def test_contact_moves_with_the_mask(seed, rank):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (4,) * rank)
    mask[(0,) * rank], mask[(1,) + (0,) * (rank - 1)] = 1, 2
    spacing = rng.uniform(0.5, 3, rank)
    point = contact_point(mask, 1, 2, spacing=spacing)
    moved = np.pad(mask, [(axis, 1) for axis in range(rank)])
    np.testing.assert_allclose(contact_point(moved, 1, 2, spacing=spacing), point + np.arange(rank))
    turned = contact_point(mask.T, 1, 2, spacing=spacing[::-1])
    np.testing.assert_allclose(turned, point[::-1])
    assert ((point >= 0) & (point <= 3)).all()


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.0, -2.5])
def test_insertion_points_are_the_ends_of_the_septum(turn):
    # Circles about columns -6 and 4, of radii 11 and 10, cross at column .05, rows 9.19 and -9.19.
    crossing = np.array([[9.19, 0.05], [-9.19, 0.05]])
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    # From the crescent in the west to the wall in the east, left is north: the smaller row.
    expected = (back @ crossing[::-1].T).T + 23.5
    found = insertion_points(heart(turn=turn), ventricle=1, wall=2)
    assert np.linalg.norm(found - expected, axis=1).max() < 1.6


def test_a_slice_without_two_ends_is_told():
    mask = heart()
    with pytest.raises(ValueError, match="0 corners"):
        insertion_points(np.where(mask == 1, 0, mask), ventricle=1, wall=2)
    with pytest.raises(ValueError, match="a slice is"):
        insertion_points(mask[None], ventricle=1, wall=2)


def test_boxes_of_pieces_in_order_of_their_size():
    mask = np.zeros((6, 7, 5), bool)
    mask[1, 1, 1] = mask[3:5, 2:6, 0:2] = True
    found = component_boxes(mask)
    assert found.tolist() == [[3, 2, 0, 5, 6, 2], [1, 1, 1, 2, 2, 2]]
    assert component_boxes(mask, smallest=2).shape == (1, 6)
    assert component_boxes(np.zeros((3, 3), int)).shape == (0, 4)


@pytest.mark.parametrize(
    ("mask", "spacing", "said"),
    [
        ([[1, 1], [0, 2]], (1, 1, 1), "along 2 axes"),
        ([[1, 1], [0, 2]], (1, 0), "above 0"),
        ([[1, 0], [0, 2]], (1, 1), "touch nowhere"),
        ([[1.0, 2.0]], (1, 1), "whole numbers"),
        ([1, 2], (1,), "two or three axes"),
    ],
)
def test_masks_without_an_answer_are_told(mask, spacing, said):
    with pytest.raises(ValueError, match=said):
        contact_point(mask, 1, 2, spacing=spacing)
