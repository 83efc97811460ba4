"""Instances found against true ones: overlaps of two label maps, matching, joined measures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

Floats = NDArray[np.float64]


class Contingency(NamedTuple):
    """How two label maps share their voxels; made by :func:`contingency`.

    Attributes:
        shared: (true, found) voxels that two objects share.
        true: (true,) voxels of each true object.
        found: (found,) voxels of each object found.
    """

    shared: Floats
    true: Floats
    found: Floats

    @property
    def iou(self) -> Floats:
        """(true, found) intersection over union."""
        return self.shared / (self.true[:, None] + self.found - self.shared)


def contingency(true: ArrayLike, found: ArrayLike) -> Contingency:
    """Count the voxels that each true object shares with each that was found.

    Args:
        true: (*spatial) whole numbers, 0 for the background; any others name objects.
        found: alike, of the same shape.

    Examples:
        >>> contingency([[1, 1, 0, 7]], [[3, 0, 3, 3]]).iou.round(2).tolist()
        [[0.25], [0.33]]
    """
    names, counts = [], []
    for labels in (true, found):
        name, at = np.unique(np.append(0, np.asarray(labels).ravel()), return_inverse=True)
        names.append(at[1:])
        counts.append(len(name))
    table = np.bincount(names[0] * counts[1] + names[1], minlength=counts[0] * counts[1])
    table = table.reshape(counts).astype(np.float64)
    # Sorted names: the background is the first, unless numbers are negative, which are refused.
    return Contingency(table[1:, 1:], table.sum(1)[1:], table.sum(0)[1:])


def match_instances(iou: ArrayLike, least: float) -> NDArray[np.intp]:
    """Pair true objects with those found, one to one: most pairs first, then most overlap.

    Args:
        iou: (true, found).
        least: overlap of a pair.

    Returns:
        (pairs, 2) positions.

    Examples:
        >>> match_instances([[0.6, 0.3], [0.55, 0.0]], 0.3).tolist()
        [[0, 1], [1, 0]]
    """
    shared = np.asarray(iou, np.float64)
    good = shared >= least
    most = max(min(shared.shape), 1)
    # What is no pair counts nothing: its overlap must not outweigh that of a pair.
    worth = np.where(good, 1 + shared / (2 * most), 0)
    rows, columns = optimize.linear_sum_assignment(worth, maximize=True)
    kept = good[rows, columns]
    return np.stack([rows[kept], columns[kept]], 1)


def aggregated_jaccard(table: Contingency) -> tuple[float, float]:
    """Intersection and union of the aggregated Jaccard index.

    Each true object is joined with the one found that it overlaps most, which may be joined with
    several; what no true object is joined with adds to the union.

    Returns:
        The two numbers of voxels, whose ratio is the index.

    Examples:
        >>> aggregated_jaccard(contingency([[1, 1, 2, 0]], [[1, 1, 1, 5]]))
        (3.0, 7.0)
    """
    if not table.true.size or not table.found.size:
        return 0.0, float(table.true.sum() + table.found.sum())
    best = table.iou.argmax(1)
    rows = np.arange(len(best))
    inter = table.shared[rows, best]
    meets = inter > 0
    union = table.true + np.where(meets, table.found[best] - inter, 0)
    free = np.ones(table.found.size, bool)
    free[best[meets]] = False
    return float(inter.sum()), float(union.sum() + table.found[free].sum())
