"""Boxes: areas and overlaps by counting voxels, other conventions, anchors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import detection as dt
from jaxmed.losses import generalised_iou

SIDE = 6


def painted(box: np.ndarray, rank: int) -> np.ndarray:
    """The voxels that a box of whole numbers covers."""
    grid = np.zeros((SIDE,) * rank, bool)
    grid[tuple(slice(int(a), int(b)) for a, b in zip(box[:rank], box[rank:], strict=True))] = True
    return grid


def whole_boxes(seed: int, n: int, rank: int) -> np.ndarray:
    """Boxes of whole numbers within the grid, some without an area."""
    ends = np.sort(np.random.default_rng(seed).integers(0, SIDE + 1, (n, 2, rank)), axis=1)
    return ends.reshape(n, 2 * rank).astype(np.float32)


@pytest.mark.parametrize("rank", [2, 3])
def test_overlaps_count_voxels(rank):
    a, b = whole_boxes(0, 12, rank), whole_boxes(1, 9, rank)
    first, second = ([painted(x, rank) for x in boxes] for boxes in (a, b))
    np.testing.assert_array_equal(dt.area(a), [x.sum() for x in first])
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            union = (x | y).sum()
            wanted = (x & y).sum() / union if union else 0.0
            ends = np.minimum(a[i, :rank], b[j, :rank]), np.maximum(a[i, rank:], b[j, rank:])
            hull = np.prod(ends[1] - ends[0])
            np.testing.assert_allclose(dt.iou(a, b)[i, j], wanted, rtol=1e-6)
            wide = wanted - (hull - union) / hull if hull else 0.0
            np.testing.assert_allclose(dt.giou(a, b)[i, j], wide, atol=1e-6)


def test_no_derivative_is_nan_where_boxes_have_no_area():
    boxes = jnp.array([[1.0, 1, 1, 1], [0, 0, 2, 2], [3, 3, 2, 2], [5, 5, 6, 6]])
    for loss in (dt.iou, dt.giou):
        slopes = jax.grad(lambda b, loss=loss: loss(b, b).sum())(boxes)
        assert jnp.isfinite(slopes).all()
    slopes = jax.grad(lambda b: generalised_iou(b[None], b[None, ::-1]).sum())(boxes)
    assert jnp.isfinite(slopes).all()


def test_a_masked_box_of_nan_changes_neither_loss_nor_slope():
    x = jnp.array([[[0.0, 0, 2, 2], [0, 0, 1, 1]]])
    y = jnp.array([[[0.0, 0, 2, 1], [np.nan] * 4]])
    where = jnp.array([[True, False]])
    value, slope = jax.value_and_grad(lambda x: generalised_iou(x, y, where=where).sum())(x)
    np.testing.assert_allclose(value, 0.5)
    assert jnp.isfinite(slope).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from(["size", "sides"]))
def test_decode_undoes_encode(seed, rank, form):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 50, (4, rank))
    anchors = np.concatenate([centre - 4, centre + 4], 1).astype(np.float32)
    before, after = rng.uniform(0.5, 20, (2, 4, rank))
    boxes = np.concatenate([centre - before, centre + after], 1).astype(np.float32)
    there = dt.decode(dt.encode(boxes, anchors, form=form), anchors, form=form)
    np.testing.assert_allclose(there, boxes, atol=2e-3)


def test_a_box_without_area_is_encoded_in_finite_numbers():
    anchor = jnp.array([0.0, 0, 4, 4])
    for form in ("size", "sides"):
        assert jnp.isfinite(dt.encode(jnp.array([2.0, 2, 2, 2]), anchor, form=form)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["inclusive", "edges"]))
def test_other_conventions_there_and_back(seed, corners):
    boxes = whole_boxes(seed, 5, 2)
    written = dt.to_voc(boxes, corners=corners)
    np.testing.assert_array_equal(dt.from_voc(written, corners=corners), boxes)
    np.testing.assert_array_equal(dt.from_coco(dt.to_coco(boxes)), boxes)


def test_the_first_pixel_of_a_picture_as_each_convention_writes_it():
    pixel = [[0.0, 0, 1, 1]]
    assert dt.from_voc([[1, 1, 1, 1]]).tolist() == pixel
    assert dt.from_voc([[0, 0, 1, 1]], corners="edges").tolist() == pixel
    assert dt.from_coco([[0, 0, 1, 1]]).tolist() == pixel


def test_anchors_cover_the_image_in_the_order_of_its_maps():
    found = dt.anchors([(2, 3), (1, 2)], [4, (8, 6)], scales=(1.0,))
    assert found.shape == (8, 4)
    assert found[:6, :2].tolist() == [[0, 0], [0, 4], [0, 8], [4, 0], [4, 4], [4, 8]]
    assert found[6:].tolist() == [[0, 0, 8, 6], [0, 6, 8, 12]]
    wide = dt.anchors([(1, 1)], [4], scales=(1.0, 2.0), aspects=[(1, 1), (0.5, 2)])
    assert (wide[:, 2:] - wide[:, :2]).tolist() == [[4, 4], [2, 8], [8, 8], [4, 16]]
    np.testing.assert_array_equal(wide[:, :2] + wide[:, 2:], 4.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: dt.area(jnp.zeros((3, 5))), "2 \\* rank"),
        (lambda: dt.iou(jnp.zeros((1, 4)), jnp.zeros((1, 6))), "one rank"),
        (lambda: dt.clip(jnp.zeros((1, 4)), (3, 3, 3)), "spatial shape"),
        (lambda: dt.encode(jnp.zeros(4), jnp.ones(4), form="no"), "size, sides"),
        (lambda: dt.anchors([(2, 2)], [4, 8]), "one stride for each map"),
        (lambda: dt.from_voc(np.zeros((2, 3))), "\\(\\.\\.\\., 4\\)"),
    ],
)
def test_what_does_not_fit_is_told(call, match):
    with pytest.raises(ValueError, match=match):
        call()
