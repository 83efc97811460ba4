"""How wide vessels are, and how they wind: from a mask, segment by segment."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy.ndimage import convolve, distance_transform_edt, label
from skimage.morphology import skeletonize

_AROUND = np.ones((3, 3), int)
_SMOOTH = 7  # Pixels over which a centre line, which goes by whole pixels, is smoothed.


class Vessels(NamedTuple):
    """Segments of vessels, between their ends and crossings.

    Attributes:
        width: (n,) of each, in pixels: its area over its length.
        tortuosity: (n,) length of its way over the distance of its ends, from 1.
        length: (n,) in pixels.
    """

    width: np.ndarray
    tortuosity: np.ndarray
    length: np.ndarray

    def mean_width(self) -> float:
        """Mean width in pixels, each segment by its length; NaN without one."""
        return _weighted(self.width, self.length)

    def mean_tortuosity(self) -> float:
        """Mean tortuosity, each segment by its length; NaN without one."""
        return _weighted(self.tortuosity, self.length)


def vessels(mask: np.ndarray, *, shortest: int = 15) -> Vessels:
    """Follow the centre lines of a mask.

    Args:
        mask: (height, width), where vessels are.
        shortest: pixels of a centre line; shorter pieces are mostly spurs of it.

    Returns:
        The segments.
    """
    inside = np.pad(np.asarray(mask, bool), 1)
    lines = skeletonize(inside)
    neighbours = convolve(lines.astype(int), _AROUND, mode="constant") - lines
    # Without crossings what is left are ways with two ends, or rings.
    pieces, count = label(lines & (neighbours <= 2), _AROUND)
    # Each pixel of a vessel belongs to the segment whose centre line is nearest.
    nearest = distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    areas = np.bincount(pieces[tuple(nearest)][inside], minlength=count + 1) if count else [0]
    found: list[tuple[float, float, float]] = []
    order = np.argsort(pieces, axis=None, kind="stable")
    at = np.stack(np.unravel_index(order, pieces.shape), -1)
    starts = np.searchsorted(pieces.ravel()[order], np.arange(1, count + 2))
    for number, (begin, end) in enumerate(itertools.pairwise(starts), start=1):
        points = at[begin:end]
        if len(points) < shortest:
            continue
        way = _smoothed(_in_order(points))
        length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
        chord = float(np.linalg.norm(way[-1] - way[0]))
        if chord < 1:  # a ring
            continue
        # From centre to centre of its pixels a line is a pixel shorter than it is.
        found.append((areas[number] / (length + 1), length / chord, length))
    width, tortuosity, length = np.array(found).reshape(-1, 3).T
    return Vessels(width, np.maximum(tortuosity, 1), length)


def _in_order(points: np.ndarray) -> np.ndarray:
    """Pixels of a line from one of its ends to the other, (n, 2)."""
    left = {tuple(point) for point in points.tolist()}

    def beside(point: tuple[int, ...]) -> list[tuple[int, ...]]:
        steps = sorted(
            ((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j),
            key=lambda step: abs(step[0]) + abs(step[1]),
        )
        return [p for p in ((point[0] + i, point[1] + j) for i, j in steps) if p in left]

    here = min(left, key=lambda point: (len(beside(point)), point))
    way = []
    while True:
        way.append(here)
        left.discard(here)
        following = beside(here)
        if not following:
            return np.array(way, float)
        here = following[0]


def _smoothed(way: np.ndarray) -> np.ndarray:
    """A line as the running mean of its pixels, its ends kept."""
    reach = np.minimum(np.arange(len(way)), np.arange(len(way))[::-1])
    reach = np.minimum(reach, _SMOOTH // 2)
    sums = np.concatenate([np.zeros((1, 2)), way.cumsum(0)])
    low, high = np.arange(len(way)) - reach, np.arange(len(way)) + reach + 1
    return (sums[high] - sums[low]) / (high - low)[:, None]


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    return float((values * weights).sum() / weights.sum()) if len(values) else float("nan")
