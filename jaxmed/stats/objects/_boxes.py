"""Boxes found and true ones of many images, checked and matched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.quantities import box_overlaps, match_boxes
from jaxmed.quantities._boxes import FALSE, HIT, IGNORED
from jaxmed.stats.checks import Floats, same_length

BoxArrays = NDArray[Any] | Sequence[Any]
"""(images, n, ...), padded, or one array (n, ...) for each image."""


class Found(NamedTuple):
    """Boxes of one class, by falling score, as they were matched.

    Attributes:
        kind: (boxes,) whether each is a hit, false or ignored.
        image: (boxes,) position of its image.
        scores: (boxes,).
        truths: (images,) number of true boxes of the class.
    """

    kind: NDArray
    image: NDArray
    scores: Floats
    truths: NDArray


class BoxCases(NamedTuple):
    """Boxes of all images, class by class; made by :func:`read_boxes`.

    Attributes:
        classes: numbers of the classes that occur, in the truth or among what was found.
        images: number of images.
        overlaps: of each class and image, (boxes, true boxes).
        scores: of each class and image, (boxes,) falling.
        crowd: of each class and image, (true boxes,).
    """

    classes: tuple[int, ...]
    images: int
    overlaps: dict[int, list[Floats]]
    scores: dict[int, list[Floats]]
    crowd: dict[int, list[NDArray]]

    def matched(self, label: int, iou: float) -> Found:
        """Match the boxes of one class."""
        kinds, images = [], []
        for i, (shared, many) in enumerate(zip(self.overlaps[label], self.crowd[label])):
            at = match_boxes(shared, iou, many)
            kinds.append(np.where(at >= 0, HIT, np.where(at == -2, IGNORED, FALSE)))
            images.append(np.full(len(at), i))
        scores = np.concatenate(self.scores[label])
        order = np.argsort(-scores, kind="stable")
        truths = np.array([int((~many).sum()) for many in self.crowd[label]])
        kind, image = (np.concatenate(x)[order] for x in (kinds, images))
        return Found(kind, image, scores[order], truths)


def read_boxes(
    true_boxes: BoxArrays,
    true_labels: BoxArrays,
    boxes: BoxArrays,
    scores: BoxArrays,
    labels: BoxArrays,
    crowd: BoxArrays | None,
    most: int | None,
) -> BoxCases:
    """Check boxes, leave padding out, sort by score, compute overlaps.

    Raises:
        ValueError: what does not fit, the image named by its position.
    """
    many = [None] * len(true_boxes) if crowd is None else crowd
    n = same_length(
        true_boxes=true_boxes, true_labels=true_labels, boxes=boxes, scores=scores,
        box_labels=labels, crowd=many,
    )  # fmt: skip
    if n == 0:
        raise ValueError("there is no image")
    truths = [_truth(i, true_boxes[i], true_labels[i], many[i]) for i in range(n)]
    marks = [_marks(i, boxes[i], scores[i], labels[i]) for i in range(n)]
    ranks = {b.shape[1] for b, *_ in (*truths, *marks) if len(b)}
    if len(ranks) > 1:
        raise ValueError(f"boxes have {' and '.join(map(str, sorted(ranks)))} numbers each")
    names = sorted({int(k) for _, kinds, *_ in (*truths, *marks) for k in kinds})
    shared: dict[int, list[Floats]] = {k: [] for k in names}
    ordered: dict[int, list[Floats]] = {k: [] for k in names}
    crowds: dict[int, list[NDArray]] = {k: [] for k in names}
    for (true, kinds, crowded), (box, guesses, score) in zip(truths, marks, strict=True):
        for k in names:
            mine, theirs = guesses == k, kinds == k
            order = np.argsort(-score[mine], kind="stable")[:most]
            shared[k].append(box_overlaps(box[mine][order], true[theirs], crowded[theirs]))
            ordered[k].append(score[mine][order])
            crowds[k].append(crowded[theirs])
    return BoxCases(tuple(names), n, shared, ordered, crowds)


def _truth(
    i: int, boxes: ArrayLike, labels: ArrayLike, crowd: ArrayLike | None
) -> tuple[Floats, NDArray, NDArray]:
    b, kinds = _pair(i, "true_boxes", boxes, "true_labels", labels)
    many = np.zeros(len(b), bool) if crowd is None else np.asarray(crowd, bool).ravel()
    if many.shape != kinds.shape:
        raise ValueError(f"image {i}: crowd has {len(many)} values for {len(b)} true boxes")
    there = kinds >= 0
    rank = b.shape[1] // 2
    empty = there & ~(b[:, rank:] > b[:, :rank]).all(1)
    if empty.any():
        raise ValueError(
            f"image {i}: true box {int(np.flatnonzero(empty)[0])} is "
            f"{b[empty][0].tolist()}, which has no area: no box can hit it. Leave it out, or give "
            "it the label -1"
        )
    return b[there], kinds[there], many[there]


def _marks(
    i: int, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike
) -> tuple[Floats, NDArray, Floats]:
    b, kinds = _pair(i, "boxes", boxes, "box_labels", labels)
    s = np.asarray(scores, np.float64).ravel()
    if s.shape != kinds.shape:
        raise ValueError(f"image {i}: scores has {len(s)} values for {len(b)} boxes")
    there = kinds >= 0
    if np.isnan(s[there]).any():
        raise ValueError(f"image {i}: a score is NaN")
    return b[there], kinds[there], s[there]


def _pair(
    i: int, name: str, boxes: ArrayLike, other: str, labels: ArrayLike
) -> tuple[Floats, NDArray]:
    b, kinds = np.asarray(boxes, np.float64), np.asarray(labels)
    if b.size == 0 and kinds.size == 0:
        return np.zeros((0, b.shape[-1] if b.ndim == 2 and b.shape[-1] else 4)), np.zeros(0, int)
    if b.ndim != 2 or b.shape[1] % 2 or kinds.shape != b.shape[:1]:
        raise ValueError(
            f"image {i}: {name} are (n, 2 rank) and {other} (n,), got {b.shape} and {kinds.shape}"
        )
    if kinds.dtype.kind == "f" and (kinds == np.round(kinds)).all():
        kinds = kinds.astype(int)
    if kinds.dtype.kind not in "iu":
        raise ValueError(f"image {i}: {other} are whole numbers of classes, got {kinds.dtype}")
    if not np.isfinite(b[kinds >= 0]).all():
        raise ValueError(f"image {i}: {name} holds NaN or infinity")
    return b, kinds
