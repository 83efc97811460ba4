"""Boxes found in images, measured against true ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.quantities import box_overlaps, match_boxes
from jaxmed.report.results._results import DetectionResults
from jaxmed.stats import Estimate

_RATE = 1.0  # False boxes an image at which boxes are shown and cases ranked.


class FoundBoxes(NamedTuple):
    """Boxes found and true ones, image by image.

    Attributes:
        cases: names of the images.
        boxes: of each image, (n, 2 * rank) lows then highs.
        scores: of each image, (n,).
        kinds: of each image, (n,) classes.
        true_boxes: of each image, (m, 2 * rank).
        true_kinds: of each image, (m,).
        groups: patient of each image, or None.
    """

    cases: Sequence[str]
    boxes: Sequence[NDArray[Any]]
    scores: Sequence[NDArray[Any]]
    kinds: Sequence[NDArray[Any]]
    true_boxes: Sequence[NDArray[Any]]
    true_kinds: Sequence[NDArray[Any]]
    groups: Sequence[Any] | None = None


class BoxPicture(NamedTuple):
    """An image with its boxes.

    Attributes:
        case: name of the image.
        rank: reason for showing it.
        image: (height, width) or (height, width, 3).
        true: (m, 4) true boxes in that plane.
        true_kinds: (m,) their classes.
        found: (m,) whether each is found.
        boxes: (n, 4) boxes found.
        kinds: (n,) their classes.
        hit: (n,) whether each is a hit.
        caption: text below.
    """

    case: str
    rank: str
    image: NDArray[Any]
    true: NDArray[Any]
    true_kinds: NDArray[Any]
    found: NDArray[np.bool_]
    boxes: NDArray[Any]
    kinds: NDArray[Any]
    hit: NDArray[np.bool_]
    caption: str = ""


def detection(
    true_boxes: Any,
    true_labels: Any,
    boxes: Any,
    scores: Any,
    box_labels: Any,
    *,
    classes: Sequence[str],
    cases: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    crowd: Any = None,
    froc_iou: float | None = None,
    images: Callable[[int], ArrayLike] | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    title: str = "Detection",
    **about: Any,
) -> DetectionResults:
    """Measure boxes: average precision as COCO has it, sensitivity by false boxes an image.

    Args:
        true_boxes: (images, objects, 2 * rank), or one array for each image, lows then highs.
        true_labels: (images, objects) classes, -1 for padding.
        boxes: (images, n, 2 * rank) found.
        scores: (images, n).
        box_labels: (images, n) classes, -1 for padding.
        classes: names of the classes.
        cases: names of the images; positions by default.
        groups: patient of each image: whole patients are drawn for the intervals.
        crowd: (images, objects), True for regions in which boxes count neither way.
        froc_iou: overlap of a hit on the FROC curve; by default 0.5 in pictures and 0.1 in volumes.
        images: from a position to the image (*spatial, channels), to show boxes on.
        level: of all intervals.
        n_resamples: of the bootstrap.
        title: of the report.
        **about: further fields of the results.

    Returns:
        The results.

    Raises:
        ValueError: arrays that do not fit, no true box.
    """
    held = _held(true_boxes, true_labels, boxes, scores, box_labels, cases, groups)
    given = (held.true_boxes, held.true_kinds, held.boxes, held.scores, held.kinds)
    many = None if crowd is None else [
        np.asarray(c, bool)[np.asarray(k) >= 0] for c, k in zip(crowd, true_labels, strict=True)
    ]  # fmt: skip
    rank = next((b.shape[1] // 2 for b in held.true_boxes if len(b)), 2)
    hit = froc_iou or (0.5 if rank == 2 else 0.1)
    how = {"crowd": many, "groups": groups, "level": level, "n_resamples": n_resamples}
    metrics: dict[str, Estimate] = {}
    half = stats.box_average_precision(*given, iou=0.5, classes=classes, **how)
    metrics["ap50"] = half
    metrics["ap"] = stats.box_average_precision(*given, iou=stats.COCO_IOUS, classes=classes, **how)
    metrics["ap10"] = stats.box_average_precision(*given, iou=0.1, classes=classes, **how)
    if len(classes) > 1:
        for k, name in enumerate(classes):
            metrics |= _of_class(given, k, name, how)
    curve = stats.froc(*given, iou=hit, **how)
    for rate, estimate in curve.at.items():
        metrics[f"sensitivity/{rate:g} false boxes an image"] = estimate
    metrics["cpm"] = curve.cpm
    notes = [n for n in half.notes if n.startswith("no true box")]
    results = DetectionResults(
        title=title, classes=tuple(classes), metrics=metrics, level=level,
        headline=("ap50", "ap", "sensitivity/1 false boxes an image", "cpm"),
        boxes=held, froc=curve, hit_iou=hit,
    )  # fmt: skip
    results = results.replace(**about)
    if notes:
        results = results.replace(notes=(*results.notes, *notes))
    if images is None:
        return results
    return dataclasses.replace(results, drawn=box_pictures(results, images))


def _of_class(given: Any, k: int, name: str, how: Mapping[str, Any]) -> dict[str, Estimate]:
    """Average precision of one class; none where it has no true box."""
    true, kinds, boxes, scores, labels = given
    if not any((t == k).any() for t in kinds):
        return {}
    mine = [t == k for t in kinds], [x == k for x in labels]
    crowd = how["crowd"]
    own = {
        **how,
        "crowd": None if crowd is None else [c[m] for c, m in zip(crowd, mine[0], strict=True)],
    }
    rows = [[x[m] for x, m in zip(part, mine[0], strict=True)] for part in (true, kinds)]
    rows += [[x[m] for x, m in zip(part, mine[1], strict=True)] for part in (boxes, scores, labels)]
    return {f"ap50/{name}": stats.box_average_precision(*rows, iou=0.5, **own)}


def _held(
    true_boxes: Any, true_labels: Any, boxes: Any, scores: Any, labels: Any,
    cases: Sequence[str], groups: Sequence[Any] | None,
) -> FoundBoxes:  # fmt: skip
    """All arrays as lists without padding."""

    def real(values: Any, kinds: Any) -> list[NDArray[Any]]:
        return [np.asarray(v)[np.asarray(k) >= 0] for v, k in zip(values, kinds, strict=True)]

    names = tuple(cases) or tuple(str(i) for i in range(len(true_boxes)))
    if len(names) != len(true_boxes):
        raise ValueError(f"{len(names)} cases for {len(true_boxes)} images")
    return FoundBoxes(
        names,
        real(boxes, labels),
        real(scores, labels),
        real(labels, labels),
        real(true_boxes, true_labels),
        real(true_labels, true_labels),
        groups,
    )


def box_pictures(
    results: DetectionResults, images: Callable[[int], ArrayLike], *, most: int = 6
) -> tuple[BoxPicture, ...]:
    """Images with their boxes: those with most errors, a middle one, the best.

    Boxes are shown from the score up at which there is one false box an image. A volume is shown
    in the plane, across its first axis, that cuts most of its objects, or of its boxes.

    Args:
        results: of :func:`detection`.
        images: from a position to the image (*spatial, channels).
        most: number of pictures.
    """
    held, curve = results.boxes, results.froc
    threshold = curve.threshold(_RATE)
    found, false = curve.counts(threshold)
    errors = curve.objects - found + false
    order = np.lexsort((-curve.objects, errors))[::-1]
    n = len(order)
    picked = {int(i): "most errors" for i in order[: max(1, min(most, n) - 2)]}
    picked.setdefault(int(order[n // 2]), "middle")
    picked.setdefault(int(order[-1]), "fewest errors")
    drawn = []
    for i, rank in picked.items():
        on = held.scores[i] >= threshold
        boxes, kinds, scores = held.boxes[i][on], held.kinds[i][on], held.scores[i][on]
        hit, seen = _matched(held, i, boxes, kinds, scores, results.hit_iou)
        caption = (
            f"{int(found[i])} of {int(curve.objects[i])} objects found, {int(false[i])} false "
            f"box{'' if false[i] == 1 else 'es'}"
        )
        x = np.asarray(images(i))
        true, true_kinds = held.true_boxes[i], held.true_kinds[i]
        if x.ndim == 4:
            x, keep = _plane(x, true if len(true) else boxes, (true, boxes))
            sides = [1, 2, 4, 5]
            true, true_kinds, seen = (v[keep[0]] for v in (true, true_kinds, seen))
            boxes, kinds, hit = (v[keep[1]] for v in (boxes, kinds, hit))
            true, boxes = true[:, sides], boxes[:, sides]
            caption += "; in this plane those that it cuts"
        x = x if x.shape[-1] == 3 else x[..., 0]
        drawn.append(
            BoxPicture(held.cases[i], rank, x, true, true_kinds, seen, boxes, kinds, hit, caption)
        )
    return tuple(drawn)


def _matched(
    held: FoundBoxes, i: int, boxes: Any, kinds: Any, scores: Any, iou: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each box is a hit, and whether each object is found."""
    hit, seen = np.zeros(len(boxes), bool), np.zeros(len(held.true_boxes[i]), bool)
    for k in {*kinds.tolist()}:
        mine, own = np.flatnonzero(kinds == k), np.flatnonzero(held.true_kinds[i] == k)
        mine = mine[np.argsort(-scores[mine], kind="stable")]
        if own.size and mine.size:
            at = match_boxes(box_overlaps(boxes[mine], held.true_boxes[i][own]), iou)
            hit[mine] = at >= 0
            seen[own[at[at >= 0]]] = True
    return hit, seen


def _plane(x: NDArray[Any], by: Any, both: tuple[Any, Any]) -> tuple[NDArray[Any], list[Any]]:
    """The plane that cuts most boxes, and which of each kind it cuts."""
    at = np.arange(x.shape[0]) + 0.5
    cut = [(b[:, :1] < at) & (at < b[:, 3:4]) if len(b) else np.zeros((0, len(at)), bool)
           for b in (by, *both)]  # fmt: skip
    z = int(cut[0].sum(0).argmax()) if len(by) else x.shape[0] // 2
    return x[z], [c[:, z] for c in cut[1:]]
