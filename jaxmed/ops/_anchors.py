"""Anchors: the boxes that predictions are relative to, at each place of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Strides = Sequence[int | Sequence[int]]


def anchors(
    shapes: Sequence[Sequence[int]],
    strides: Strides,
    *,
    scales: Sequence[float] = (4.0,),
    aspects: Sequence[Sequence[float]] | None = None,
) -> np.ndarray:
    """Boxes around each place of a pyramid's maps, map after map.

    Place i along an axis of stride s stands for the voxels from i s to (i + 1) s, in whose middle
    its anchors lie.

    Args:
        shapes: spatial shape of each map, finest first.
        strides: voxels of the image between the places of each map, an int or one per axis.
        scales: edges of the anchors as multiples of the stride.
        aspects: factors of the edges along each axis, one row for each kind of box, such
            as ``[(1, 1), (2, 0.5)]``; cubes alone by default.

    Returns:
        ``(places, 2 * rank)`` float32: all places of the first map in the array's order, with its
        scales and aspects innermost, then those of the next. It holds numbers of shapes alone, and
        so is a NumPy array under ``jit`` too.

    Raises:
        ValueError: strides or aspects that do not fit the shapes.

    Examples:
        >>> anchors([(1, 2)], [8], scales=(1.0,)).tolist()
        [[0.0, 0.0, 8.0, 8.0], [0.0, 8.0, 8.0, 16.0]]
    """
    rank = len(shapes[0]) if shapes else 0
    if len(shapes) != len(strides) or not shapes or any(len(s) != rank for s in shapes):
        raise ValueError(f"one stride for each map: got maps {[*shapes]} and strides {[*strides]}")
    rows = np.ones((1, rank)) if aspects is None else np.asarray(aspects, np.float64)
    if rows.ndim != 2 or rows.shape[1] != rank or not (rows > 0).all():
        raise ValueError(f"aspects are rows of {rank} positive factors, got {aspects}")
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales are positive, got {scales}")
    kinds = (np.asarray(scales, np.float64)[:, None, None] * rows).reshape(-1, rank)
    found = []
    for shape, stride in zip(shapes, strides, strict=True):
        step = np.broadcast_to(np.asarray(stride, np.float64), (rank,))
        axes = [(np.arange(n) + 0.5) * s for n, s in zip(shape, step, strict=True)]
        centre = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 1, rank)
        half = kinds * step / 2
        found.append(np.concatenate([centre - half, centre + half], -1).reshape(-1, 2 * rank))
    return np.concatenate(found).astype(np.float32)
