"""Area, overlap and clipping of boxes in any rank."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.ops._boxes import (
    Form,
    box_area,
    box_giou,
    box_iou,
    corners,
    decode_boxes,
    encode_boxes,
)


def area(boxes: jax.typing.ArrayLike) -> Array:
    """Area of boxes in 2D, volume in 3D.

    Args:
        boxes: ``(..., 2 * rank)``, lows then highs.

    Returns:
        ``(...,)`` in voxels; 0 for a box whose high is not above its low along every axis.

    Raises:
        ValueError: if the last axis does not hold two corners.

    Examples:
        >>> area(jnp.array([[0.0, 0, 2, 3], [1, 1, 1, 5]])).tolist()
        [6.0, 0.0]
    """
    return box_area(jnp.asarray(boxes))


def iou(a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> Array:
    """Intersection over union of each box of a with each of b.

    Args:
        a: ``(..., n, 2 * rank)``.
        b: ``(..., m, 2 * rank)``.

    Returns:
        ``(..., n, m)`` in [0, 1]; 0, not NaN, where neither box has an area.

    Raises:
        ValueError: if the boxes are of different ranks.

    Examples:
        >>> iou(jnp.array([[0.0, 0, 2, 2]]), jnp.array([[0.0, 0, 2, 2], [0, 1, 2, 3]])).tolist()
        [[1.0, 0.3333333432674408]]
    """
    return box_iou(jnp.asarray(a)[..., :, None, :], jnp.asarray(b)[..., None, :, :])


def giou(a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> Array:
    """Generalised IoU of each box of a with each of b: it also tells how far apart boxes are.

    The IoU less the share of the smallest box around both that neither covers.

    Args:
        a: ``(..., n, 2 * rank)``.
        b: ``(..., m, 2 * rank)``.

    Returns:
        ``(..., n, m)`` in (-1, 1]; 0, not NaN, where the box around both has no area.

    Raises:
        ValueError: if the boxes are of different ranks.

    References:
        Rezatofighi et al., Generalized intersection over union, CVPR 2019.

    Examples:
        >>> giou(jnp.array([[0.0, 0, 1, 1]]), jnp.array([[0.0, 3, 1, 4]])).tolist()
        [[-0.5]]
    """
    return box_giou(jnp.asarray(a)[..., :, None, :], jnp.asarray(b)[..., None, :, :])


def clip(boxes: jax.typing.ArrayLike, shape: Sequence[int]) -> Array:
    """Cut boxes at the image's border.

    Args:
        boxes: ``(..., 2 * rank)``.
        shape: the image's spatial shape.

    Returns:
        Boxes of the same shape. One that lies outside is left without an area.

    Raises:
        ValueError: if the boxes and the image are of different ranks.

    Examples:
        >>> clip(jnp.array([[-1.0, 2, 3, 9], [7, 0, 8, 1]]), (4, 5)).tolist()
        [[0.0, 2.0, 3.0, 5.0], [4.0, 0.0, 4.0, 1.0]]
    """
    low, high = corners(jnp.asarray(boxes))
    if low.shape[-1] != len(shape):
        raise ValueError(f"boxes {jnp.shape(boxes)} in an image of spatial shape {tuple(shape)}")
    edge = jnp.asarray(shape, low.dtype)
    return jnp.concatenate([jnp.clip(low, 0, edge), jnp.clip(high, 0, edge)], axis=-1)


def encode(
    boxes: jax.typing.ArrayLike, anchors: jax.typing.ArrayLike, *, form: Form = "size"
) -> Array:
    """Write boxes as numbers relative to anchors: what a head is to predict.

    Args:
        boxes: ``(..., 2 * rank)``.
        anchors: ``(..., 2 * rank)``, broadcast against the boxes; each with an area.
        form: ``"size"``: shifts of the centre in edges of the anchor, then logarithms of the
            edges' ratios (R-CNN); ``"sides"``: logarithms of the distances from the anchor's centre
            to the sides, in halves of its edges (anchor-free, FCOS), which only a box around that
            centre has.

    Returns:
        ``(..., 2 * rank)``. Logarithms are cut at a ratio of 62.5 either way, so that a box without
        an area gives no infinity.

    Raises:
        ValueError: another form, or boxes of different ranks.

    References:
        Girshick et al., Rich feature hierarchies, CVPR 2014. Tian et al., FCOS, ICCV 2019.

    Examples:
        >>> encode(jnp.array([1.0, 0, 5, 2]), jnp.array([0.0, 0, 4, 2])).tolist()
        [0.25, 0.0, 0.0, 0.0]
    """
    return encode_boxes(jnp.asarray(boxes), jnp.asarray(anchors), form)


def decode(
    deltas: jax.typing.ArrayLike, anchors: jax.typing.ArrayLike, *, form: Form = "size"
) -> Array:
    """Make boxes of numbers relative to anchors: what :func:`encode` undoes.

    Args:
        deltas: ``(..., 2 * rank)``; 0 is the anchor itself. A ratio above 62.5, or below its
            inverse, is cut there.
        anchors: ``(..., 2 * rank)``, broadcast against the numbers.
        form: as in :func:`encode`.

    Returns:
        Boxes ``(..., 2 * rank)``.

    Raises:
        ValueError: another form, or arrays of different ranks.

    Examples:
        >>> decode(jnp.zeros(4), jnp.array([0.0, 0, 4, 2]), form="sides").tolist()
        [0.0, 0.0, 4.0, 2.0]
    """
    return decode_boxes(jnp.asarray(deltas), jnp.asarray(anchors), form)
