"""Resampling along one axis by the share of each pixel that lies under a new one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

_ROUNDING = 1e-4  # in pixels: what lengths in micrometres lose


class Rows(NamedTuple):
    """New pixels as weighted sums of old ones.

    Attributes:
        first: the first old pixel needed; it may lie before the image.
        last: one past the last.
        weights: (new, last - first); None where pixels stay as they are.
    """

    first: int
    last: int
    weights: sparse.csr_array | None


def rows(start: float, step: float, count: int) -> Rows:
    """Say how new pixels are made of old ones.

    New pixel i covers the old coordinates from ``start + i step`` to ``start + (i + 1) step``,
    where old pixel j covers j to j + 1. It is the mean over that interval; where it is smaller
    than an old pixel, the linear interpolation between their centres.

    Args:
        start: where the first new pixel begins.
        step: length of a new pixel in old ones.
        count: number of new pixels.

    Examples:
        >>> (6 * rows(0.5, 1.5, 2).weights.toarray()).round().tolist()
        [[2.0, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 2.0]]
    """
    if abs(start - round(start)) < _ROUNDING:
        start = float(round(start))
    if abs(step - 1) * count < _ROUNDING and start.is_integer():
        return Rows(int(start), int(start) + count, None)
    edges = start + step * np.arange(count + 1)
    if step < 1:
        centre = (edges[:-1] + edges[1:]) / 2 - 0.5
        old = np.floor(centre).astype(int)
        share = centre - old
        first, last = int(old[0]), int(old[-1]) + 2
        new = np.repeat(np.arange(count), 2)
        old = np.stack([old, old + 1], 1).ravel()
        weight = np.stack([1 - share, share], 1).ravel()
    else:
        edges = np.where(abs(edges - np.round(edges)) < _ROUNDING, np.round(edges), edges)
        first, last = int(np.floor(edges[0])), int(np.ceil(edges[-1]))
        width = int(np.ceil(step)) + 1
        old = np.floor(edges[:-1]).astype(int)[:, None] + np.arange(width)
        low, high = edges[:-1, None], edges[1:, None]
        weight = np.clip(np.minimum(old + 1, high) - np.maximum(old, low), 0, None)
        weight = weight / weight.sum(1, keepdims=True)
        new = np.repeat(np.arange(count), width)
        keep = weight.ravel() > 0
        new, old, weight = new[keep], old.ravel()[keep], weight.ravel()[keep]
    shape = (count, last - first)
    return Rows(first, last, sparse.csr_array((weight.astype("f4"), (new, old - first)), shape))


def along(weights: sparse.csr_array | None, array: np.ndarray, axis: int) -> np.ndarray:
    """Apply weights along an axis."""
    if weights is None:
        return array
    moved = np.moveaxis(array, axis, 0)
    found = weights @ np.ascontiguousarray(moved, np.float32).reshape(len(moved), -1)
    return np.moveaxis(found.reshape(-1, *moved.shape[1:]), 0, axis)
