"""Quantities of ordered scores: mid-ranks, placements, AUC, average precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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


def auc(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Return the area under the ROC curve (Mann-Whitney, ties count half)."""
    high = np.sort(scores[positive])
    low = np.sort(scores[~positive])
    wins = np.searchsorted(low, high, "left").sum(dtype=np.int64)
    wins_or_ties = np.searchsorted(low, high, "right").sum(dtype=np.int64)
    return float((wins + wins_or_ties) / (2 * high.size * low.size))


def macro_auc(labels: NDArray[np.integer], scores: Floats) -> float:
    """Return the mean AUC of each class against the rest, over the classes that have cases.

    Args:
        labels: (cases,) classes.
        scores: (cases, classes).

    Examples:
        >>> macro_auc(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
        0.5
    """
    hot = np.asarray(labels)[:, None] == np.arange(scores.shape[1])
    both = [k for k in range(scores.shape[1]) if 0 < hot[:, k].sum() < len(hot)]
    return float(np.mean([auc(hot[:, k], scores[:, k]) for k in both])) if both else float("nan")


def weighted_auc(positive: NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """Return the AUC under each row of weights (b, n); NaN where a class has no weight.

    Examples:
        >>> y, x = np.array([False, True, True]), np.array([0.2, 0.1, 0.3])
        >>> weighted_auc(y, x, np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 2.0]]))
        array([0.5, 1. ])
    """
    low, high = negatives_below(positive, scores)
    order = np.argsort(scores[~positive], kind="stable")
    wins = weights[:, positive]
    losses = weights[:, ~positive][:, order]
    total = np.zeros((len(weights), losses.shape[1] + 1), losses.dtype)
    np.cumsum(losses, axis=1, out=total[:, 1:])
    below = total.take(low, axis=1)
    if (low != high).any():
        below = 0.5 * (below + total.take(high, axis=1))
    area = np.einsum("bi,bi->b", wins, below, dtype=np.float64)
    mass = wins.sum(axis=1, dtype=np.float64) * total[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mass > 0, area / mass, np.nan)


def negatives_below(positive: NDArray[np.bool_], scores: Floats) -> tuple[NDArray, NDArray]:
    """Return for each positive how many sorted negatives lie below, and below or level."""
    negatives = np.sort(scores[~positive])
    high = scores[positive]
    return np.searchsorted(negatives, high, "left"), np.searchsorted(negatives, high, "right")


def average_precision(positive: NDArray[np.bool_], scores: Floats) -> float:
    r"""Return :math:`\sum_k (R_k - R_{k-1}) P_k` over distinct thresholds (no interpolation).

    Examples:
        >>> y, x = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
        >>> round(average_precision(y, x), 4)
        0.8333
    """
    order = np.argsort(-scores, kind="stable")
    ends = _steps(scores[order])
    hits = np.cumsum(positive[order])[ends]
    precision = hits / (ends + 1)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])


def weighted_average_precision(
    positive: NDArray[np.bool_], scores: Floats, weights: Floats
) -> Floats:
    """Return average precision under each row of weights (b, n); NaN without positives."""
    order = np.argsort(-scores, kind="stable")
    ends = _steps(scores[order])
    hit = positive[order]
    # Precision counts only at steps that hold a positive: a few columns of the running sums.
    step = np.searchsorted(ends, np.flatnonzero(hit))
    used, first = np.unique(step, return_index=True)
    called = np.cumsum(weights[:, order], axis=1).take(ends[used], axis=1)
    gained = weights[:, order[hit]]
    if used.size < step.size:  # positives of one score enter together
        gained = np.add.reduceat(gained, first, axis=1)
    hits = np.cumsum(gained, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(called > 0, hits / called.astype(np.float64), 0.0)
        return np.einsum("bk,bk->b", gained, precision) / hits[:, -1]


def _steps(ordered: Floats) -> NDArray[np.intp]:
    """Return where runs of equal scores end, the scores in falling order."""
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), ordered.size - 1)
