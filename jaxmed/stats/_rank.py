"""Mid-ranks and placements: the sorting behind AUC, DeLong and rank tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxmed.stats.checks import Floats


class Placements(NamedTuple):
    """DeLong's structural components of one score.

    positives: (n1,) for each positive, the share of negatives below it (ties count half).
    negatives: (n0,) for each negative, the share of positives above it.
    auc: their common mean.
    """

    positives: Floats
    negatives: Floats
    auc: float


def midrank(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing their mean rank.

    Examples:
        >>> midrank(np.array([10.0, 20.0, 20.0, 5.0]))
        array([2. , 3.5, 3.5, 1. ])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(np.append(starts, values.size))
    ranks = np.empty(values.size)
    ranks[order] = np.repeat(starts + 0.5 * (sizes + 1), sizes)
    return ranks


def placements(positive: NDArray[np.bool_], scores: Floats) -> Placements:
    """Return the share of the other class that each case beats, in the cases' order.

    One sort of the whole and two cumulative counts, O(n log n).
    """
    n = scores.size
    order = np.argsort(scores)
    ordered = scores[order]
    is_positive = positive[order]
    n1 = int(np.count_nonzero(positive))
    n0 = n - n1
    counts = np.empty(n + 1, dtype=np.int64)
    counts[0] = 0
    np.cumsum(is_positive, out=counts[1:])  # positives among the first i
    new = np.empty(n, dtype=bool)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    if new.all():  # no ties: each run is one case
        below = counts[:-1].astype(np.float64)
        places = np.empty(n)
        places[order] = np.where(is_positive, np.arange(n) - below, n1 - below)
    else:
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], n)
        pos_below = 0.5 * (counts[starts] + counts[ends])  # ties count half
        neg_below = 0.5 * (starts + ends) - pos_below
        sizes = ends - starts
        places = np.empty(n)
        places[order] = np.where(
            is_positive, np.repeat(neg_below, sizes), np.repeat(n1 - pos_below, sizes)
        )
    v10 = places[positive] / n0
    v01 = places[~positive] / n1
    return Placements(v10, v01, float(v10.mean()))


def auc_value(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Return the area under the ROC curve (Mann-Whitney, ties count half)."""
    high = np.sort(scores[positive])
    low = np.sort(scores[~positive])
    wins = np.searchsorted(low, high, "left").sum(dtype=np.int64)
    wins_or_ties = np.searchsorted(low, high, "right").sum(dtype=np.int64)
    return float((wins + wins_or_ties) / (2 * high.size * low.size))
