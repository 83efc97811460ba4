"""Arithmetic of boxes: area, overlap, and numbers relative to anchors, in any rank.

A box is its corners, lows then highs, ``(..., 2 * rank)``, in voxels along the array's axes: voxel
i covers i to i + 1. Public in :mod:`jaxmed.detection`; here for losses and heads.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from jaxmed.core import Array

Form = Literal["size", "sides"]
FORMS = ("size", "sides")
# No box is more than this many times larger or smaller than its anchor, as in Detectron.
_MOST = 4.135  # log(1000 / 16)


def corners(boxes: Array) -> tuple[Array, Array]:
    """Lows and highs, (..., rank) each, in at least float32.

    Raises:
        ValueError: if the last axis does not hold two corners.
    """
    boxes = jnp.asarray(boxes)
    if boxes.ndim == 0 or boxes.shape[-1] % 2 or boxes.shape[-1] == 0:
        raise ValueError(
            f"boxes are (..., 2 * rank), lows then highs along each axis, got {boxes.shape}"
        )
    boxes = boxes.astype(jnp.promote_types(boxes.dtype, jnp.float32))
    rank = boxes.shape[-1] // 2
    return boxes[..., :rank], boxes[..., rank:]


def box_area(boxes: Array) -> Array:
    """Area or volume (...,) of boxes (..., 2 * rank); 0 where a high is not above its low."""
    low, high = corners(boxes)
    return jnp.maximum(high - low, 0).prod(-1)


def box_iou(a: Array, b: Array) -> Array:
    """Intersection over union of boxes one by one, broadcast; 0 where both have no area."""
    inter, union = _shared(a, b)
    return inter / jnp.where(union > 0, union, 1)


def box_giou(a: Array, b: Array) -> Array:
    """IoU less the share of the common hull that neither box covers; 0 where the hull is empty."""
    inter, union = _shared(a, b)
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    sides = jnp.maximum(high_a, high_b) - jnp.minimum(low_a, low_b)
    hull = jnp.maximum(sides, 0).prod(-1)
    empty = (hull - union) / jnp.where(hull > 0, hull, 1)
    return inter / jnp.where(union > 0, union, 1) - jnp.where(hull > 0, empty, 0)


def _shared(a: Array, b: Array) -> tuple[Array, Array]:
    """Intersection and union."""
    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    if low_a.shape[-1] != low_b.shape[-1]:
        raise ValueError(f"boxes of one rank are compared, got {a.shape} and {b.shape}")
    sides = jnp.minimum(high_a, high_b) - jnp.maximum(low_a, low_b)
    inter = jnp.maximum(sides, 0).prod(-1)
    return inter, box_area(a) + box_area(b) - inter


def encode_boxes(boxes: Array, anchors: Array, form: Form = "size") -> Array:
    """What :func:`decode_boxes` makes the boxes of; clipped where it cannot."""
    low, high = corners(boxes)
    low_a, high_a = corners(anchors)
    size = jnp.maximum(high_a - low_a, 1e-6)
    if _checked(form) == "size":
        shift = ((low + high) - (low_a + high_a)) / (2 * size)
        return jnp.concatenate([shift, _log(high - low, size)], axis=-1)
    centre = (low_a + high_a) / 2
    return jnp.concatenate([_log(centre - low, size / 2), _log(high - centre, size / 2)], axis=-1)


def decode_boxes(deltas: Array, anchors: Array, form: Form = "size") -> Array:
    """Boxes out of numbers relative to anchors; 0 is the anchor itself."""
    first, second = corners(deltas)
    low_a, high_a = corners(anchors)
    size, centre = high_a - low_a, (low_a + high_a) / 2
    if _checked(form) == "size":
        half = size * jnp.exp(jnp.clip(second, -_MOST, _MOST)) / 2
        middle = centre + first * size
        return jnp.concatenate([middle - half, middle + half], axis=-1)
    before, after = (size / 2 * jnp.exp(jnp.clip(x, -_MOST, _MOST)) for x in (first, second))
    return jnp.concatenate([centre - before, centre + after], axis=-1)


def _log(length: Array, unit: Array) -> Array:
    return jnp.log(jnp.clip(length / unit, jnp.exp(-_MOST), jnp.exp(_MOST)))


def _checked(form: str) -> str:
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, got {form!r}")
    return form
