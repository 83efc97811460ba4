"""Boxes as annotation files write them, in 2D: x before y, a width or a far corner."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Corners = Literal["inclusive", "edges"]


def from_voc(boxes: ArrayLike, *, corners: Corners = "inclusive") -> np.ndarray:
    """Read boxes as Pascal VOC writes them: ``xmin, ymin, xmax, ymax``.

    Args:
        boxes: (..., 4).
        corners: ``"inclusive"``, as VOC defines them: numbers of the first and last pixel, from 1;
            ``"edges"``: coordinates from the image's corner, as many tools write them, so that the
            width is ``xmax - xmin``.

    Returns:
        (..., 4) float32: lows then highs along rows and columns, where pixel i covers i to i + 1.

    Raises:
        ValueError: an unknown kind of corners, or boxes that are not (..., 4).

    References:
        Everingham et al., The PASCAL visual object classes challenge, IJCV 88, 2010.

    Examples:
        >>> from_voc([1, 1, 10, 20]).tolist(), from_voc([1, 1, 10, 20], corners="edges").tolist()
        ([0.0, 0.0, 20.0, 10.0], [1.0, 1.0, 20.0, 10.0])
    """
    x = _flat(boxes)
    found = x[..., [1, 0, 3, 2]]
    found[..., :2] -= _first(corners)
    return found.astype(np.float32)


def to_voc(boxes: ArrayLike, *, corners: Corners = "inclusive") -> np.ndarray:
    """Write boxes as Pascal VOC does; what :func:`from_voc` undoes.

    Args:
        boxes: (..., 4), lows then highs along rows and columns.
        corners: as in :func:`from_voc`.

    Returns:
        (..., 4) float64, ``xmin, ymin, xmax, ymax``; not rounded.

    Raises:
        ValueError: as :func:`from_voc`.

    Examples:
        >>> to_voc([0, 0, 20, 10]).tolist()
        [1.0, 1.0, 10.0, 20.0]
    """
    x = _flat(boxes).copy()
    x[..., :2] += _first(corners)
    return x[..., [1, 0, 3, 2]]


def from_coco(boxes: ArrayLike) -> np.ndarray:
    """Read boxes as COCO writes them: ``x, y, width, height``.

    Args:
        boxes: (..., 4).

    Returns:
        (..., 4) float32, lows then highs along rows and columns.

    Raises:
        ValueError: boxes that are not (..., 4).

    Examples:
        >>> from_coco([2, 1, 10, 20]).tolist()
        [1.0, 2.0, 21.0, 12.0]
    """
    x = _flat(boxes)
    low, size = x[..., [1, 0]], x[..., [3, 2]]
    return np.concatenate([low, low + size], axis=-1).astype(np.float32)


def to_coco(boxes: ArrayLike) -> np.ndarray:
    """Write boxes as COCO does; what :func:`from_coco` undoes.

    Args:
        boxes: (..., 4), lows then highs along rows and columns.

    Returns:
        (..., 4) float64, ``x, y, width, height``.

    Raises:
        ValueError: boxes that are not (..., 4).

    Examples:
        >>> to_coco([1, 2, 21, 12]).tolist()
        [2.0, 1.0, 10.0, 20.0]
    """
    x = _flat(boxes)
    return np.concatenate([x[..., [1, 0]], (x[..., 2:] - x[..., :2])[..., ::-1]], axis=-1)


def _flat(boxes: ArrayLike) -> np.ndarray:
    x = np.asarray(boxes, np.float64)
    if x.ndim == 0 or x.shape[-1] != 4:
        raise ValueError(f"boxes of pictures are (..., 4), got {x.shape}")
    return x


def _first(corners: str) -> float:
    """What is taken off the near corner."""
    if corners not in ("inclusive", "edges"):
        raise ValueError(f"corners is inclusive or edges, got {corners!r}")
    return 1.0 if corners == "inclusive" else 0.0
