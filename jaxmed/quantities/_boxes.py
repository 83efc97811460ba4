"""Boxes found against true ones: overlap, matching, average precision, free-response ROC."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

INTERPOLATIONS = {"101": np.linspace(0, 1, 101), "11": np.linspace(0, 1, 11), "all": None}
"""Recalls at which precision is averaged: COCO's, VOC 2007's, and every one."""

HIT, FALSE, IGNORED = 1, 0, -1


def box_overlaps(boxes: ArrayLike, true: ArrayLike, crowd: ArrayLike | None = None) -> Floats:
    """Intersection over union of each box with each true one; over the box alone for a crowd.

    Args:
        boxes: (n, 2 rank), lows then highs.
        true: (m, 2 rank).
        crowd: (m,), True for a region that holds more objects than were marked one by one.

    Returns:
        (n, m); 0 where there is no area.

    Examples:
        >>> box_overlaps([[0, 0, 2, 2]], [[0, 0, 2, 2], [0, 1, 2, 5]], [False, True]).tolist()
        [[1.0, 0.5]]
    """
    a, b = np.asarray(boxes, np.float64)[:, None], np.asarray(true, np.float64)[None]
    rank = a.shape[-1] // 2
    sides = np.minimum(a[..., rank:], b[..., rank:]) - np.maximum(a[..., :rank], b[..., :rank])
    inter = np.maximum(sides, 0).prod(-1)
    first, second = (np.maximum(x[..., rank:] - x[..., :rank], 0).prod(-1) for x in (a, b))
    union = first + second - inter
    if crowd is not None:
        union = np.where(np.asarray(crowd, bool), np.broadcast_to(first, union.shape), union)
    return inter / np.where(union > 0, union, 1)


def match_boxes(overlaps: ArrayLike, iou: float, crowd: ArrayLike | None = None) -> NDArray:
    """Match the boxes of an image with its true ones, greedily by score, as COCO does.

    Each box takes the free true box that it overlaps most, if by at least ``iou``. One that then
    only overlaps a crowd is ignored.

    Args:
        overlaps: (n, m), :func:`box_overlaps` of boxes in the order of falling scores.
        iou: in (0, 1].
        crowd: (m,), True for crowds, which any number of boxes may lie in.

    Returns:
        (n,) position of the true box; -1 for a false box, -2 for an ignored one.

    Examples:
        >>> match_boxes([[0.9, 0.6], [0.8, 0.1], [0.0, 0.7]], 0.5).tolist()
        [0, -1, 1]
    """
    shared = np.asarray(overlaps, np.float64)
    many = np.zeros(shared.shape[1], bool) if crowd is None else np.asarray(crowd, bool)
    least = min(iou, 1 - 1e-10)
    found = np.full(len(shared), -1)
    free = ~many
    for i, row in enumerate(shared):
        open_ = np.where(free, row, -1.0)
        if open_.size and open_.max() >= least:
            at = open_.size - 1 - int(open_[::-1].argmax())  # of equal ones COCO takes the last
            found[i], free[at] = at, False
        elif many.any() and row[many].max() >= least:
            found[i] = -2
    return found


def tie_ends(scores: ArrayLike) -> NDArray[np.intp]:
    """Where each run of equal scores ends, in falling scores.

    Examples:
        >>> tie_ends([0.9, 0.5, 0.5, 0.1]).tolist()
        [0, 2, 3]
    """
    s = np.asarray(scores)
    return np.flatnonzero(np.append(s[1:] != s[:-1], True)) if s.size else np.zeros(0, np.intp)


def weighted_box_average_precision(
    kind: NDArray, image: NDArray, scores: NDArray, truths: NDArray, weights: Floats,
    interpolation: str = "101",
) -> Floats:  # fmt: skip
    """Average precision of one class, with weights of images.

    Args:
        kind: (boxes,) 1 for a hit, 0 for a false box, -1 for an ignored one.
        image: (boxes,) position of each one's image.
        scores: (boxes,) falling.
        truths: (images,) true boxes of each, without crowds.
        weights: (b, images).
        interpolation: "101" (COCO), "11" (VOC 2007) or "all" (the area under the envelope).

    Returns:
        (b,); NaN where there is no true box.
    """
    positives = weights @ truths.astype(np.float64)
    n = np.where(positives > 0, positives, np.nan)[:, None]
    kept = kind != IGNORED
    own = weights[:, image[kept]]
    ends = tie_ends(scores[kept])
    hits = np.cumsum(own * (kind[kept] == HIT), axis=1, dtype=np.float64)[:, ends]
    false = np.cumsum(own * (kind[kept] == FALSE), axis=1, dtype=np.float64)[:, ends]
    if not ends.size:
        return np.where(np.isnan(n[:, 0]), np.nan, 0.0)
    recall = hits / n
    precision = hits / (hits + false + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    at = INTERPOLATIONS[interpolation]
    if at is None:
        value = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(1)
    else:
        value = np.empty(len(recall))
        for i, row in enumerate(recall):
            first = np.searchsorted(row, at, side="left")
            value[i] = np.append(envelope[i], 0.0)[first].mean()
    return np.where(np.isnan(n[:, 0]), np.nan, value)


def weighted_froc(
    kind: NDArray, image: NDArray, scores: NDArray, truths: NDArray, weights: Floats,
    rates: ArrayLike,
) -> Floats:  # fmt: skip
    """Sensitivity at rates of false boxes an image, with weights of images.

    Args:
        kind: (boxes,) 1 for a hit, 0 for a false box, -1 for an ignored one.
        image: (boxes,) position of each one's image.
        scores: (boxes,) falling.
        truths: (images,) true boxes of each; 0 for images without, which count all the same.
        weights: (b, images).
        rates: (k,) false boxes an image.

    Returns:
        (b, k) the largest sensitivity of all thresholds with no more false boxes than that; NaN
        where there is no true box.
    """
    wanted = np.asarray(rates, np.float64)
    kept = kind != IGNORED
    own = weights[:, image[kept]]
    ends = tie_ends(scores[kept])
    positives = weights @ truths.astype(np.float64)
    share = np.cumsum(own * (kind[kept] == HIT), axis=1, dtype=np.float64)[:, ends]
    share = share / np.where(positives > 0, positives, np.nan)[:, None]
    false = np.cumsum(own * (kind[kept] == FALSE), axis=1, dtype=np.float64)[:, ends]
    false = false / weights.sum(1, dtype=np.float64)[:, None]
    nothing = np.where(positives > 0, 0.0, np.nan)[:, None]
    share = np.concatenate([nothing, share], axis=1)
    found = np.empty((len(weights), wanted.size))
    for i, row in enumerate(false):
        found[i] = share[i, np.searchsorted(row, wanted * (1 + 1e-12), side="right")]
    return found
