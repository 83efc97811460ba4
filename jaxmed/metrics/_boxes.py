"""Average precision of boxes, and sensitivity by false boxes an image, over batches of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed.metrics._metric import Metric, UndefinedMetricWarning
from jaxmed.quantities import (
    box_overlaps,
    match_boxes,
    mean_defined,
    weighted_box_average_precision,
    weighted_froc,
)
from jaxmed.quantities._boxes import FALSE, HIT, INTERPOLATIONS

_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class BoxChunks(NamedTuple):
    """Boxes of all images so far, a chunk a batch; labels are -1 where there is none.

    Attributes:
        boxes: (batch, n, 2 * rank) each.
        scores: (batch, n) each.
        labels: (batch, n) each.
        true: (batch, objects, 2 * rank) each.
        kinds: (batch, objects) each.
        weight: (batch,) each.
    """

    boxes: tuple[Any, ...]
    scores: tuple[Any, ...]
    labels: tuple[Any, ...]
    true: tuple[Any, ...]
    kinds: tuple[Any, ...]
    weight: tuple[Any, ...]


class _Class(NamedTuple):
    """Boxes of one class by falling score."""

    kind: np.ndarray
    image: np.ndarray
    scores: np.ndarray
    truths: np.ndarray


def box_average_precision(
    *,
    iou: float | Sequence[float] = 0.5,
    interpolation: str = "101",
    most: int | None = 100,
) -> Metric:
    """Mean average precision of boxes, as COCO has it.

    `jaxmed.stats.box_average_precision` is the same number, with an interval. Outputs are what
    :func:`jaxmed.detection.detector` gives, a dict of `boxes`, `scores` and `labels`; targets a
    dict of `box` and `label`. Classes without a true box are missing from the mean.

    Args:
        iou: overlap of a hit, or several, over which the mean is taken.
        interpolation: "101" (COCO), "11" (VOC 2007) or "all".
        most: boxes of a class and image that count; None for all.

    Returns:
        A metric with a float value in [0, 1]; NaN, with an `UndefinedMetricWarning`, if there is no
        true box.

    Raises:
        ValueError: an option is outside its values.

    References:
        Lin et al., Microsoft COCO: common objects in context, ECCV 2014.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> found = {"boxes": [[[0, 0, 4, 4]]], "scores": [[0.5]], "labels": [[0]]}
        >>> true = {"box": [[[0, 0, 4, 3]]], "label": [[0]]}
        >>> round(float(evaluate(box_average_precision(), found, true)), 6)
        1.0
    """
    ious = tuple(float(v) for v in np.ravel(np.asarray(iou, np.float64)))
    if not ious or not all(0 < v <= 1 for v in ious):
        raise ValueError(f"box_average_precision: iou is in (0, 1], got {iou}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"box_average_precision: interpolation is one of {', '.join(INTERPOLATIONS)}, got "
            f"{interpolation!r}"
        )

    def compute(held: BoxChunks) -> float:
        weight, classes = _classes(held, most)
        values = [
            np.mean([
                weighted_box_average_precision(*found(v), weight, interpolation)[0] for v in ious
            ])
            for found in classes
        ]  # fmt: skip
        return _defined("box_average_precision", mean_defined(np.array(values, np.float64)))

    return Metric(_keeper(), _merge, compute)


def cpm(*, iou: float = 0.1, rates: Sequence[float] = _RATES) -> Metric:
    """Mean sensitivity at rates of false boxes an image: the competition performance metric.

    `jaxmed.stats.froc` is the same number, with an interval. Outputs and targets are as for
    `box_average_precision`; images without an object count in the rate.

    Args:
        iou: overlap of a hit.
        rates: false boxes an image.

    Returns:
        A metric with a float value in [0, 1]; NaN, with an `UndefinedMetricWarning`, if there is no
        true box.

    Raises:
        ValueError: an overlap or a rate that is not positive.

    References:
        Niemeijer et al., On combining computer-aided detection systems, IEEE TMI 30, 2011.
    """
    wanted = tuple(float(r) for r in rates)
    if not 0 < iou <= 1 or not wanted or min(wanted) <= 0:
        raise ValueError(f"cpm: iou is in (0, 1] and rates are above 0, got {iou} and {rates}")

    def compute(held: BoxChunks) -> float:
        weight, classes = _classes(held, None)
        parts = [found(iou) for found in classes]
        if not parts:
            return _defined("cpm", float("nan"))
        kind, image, scores = (
            np.concatenate([getattr(p, n) for p in parts]) for n in ("kind", "image", "scores")
        )
        order = np.argsort(-scores, kind="stable")
        truths = np.sum([p.truths for p in parts], axis=0)
        found = weighted_froc(kind[order], image[order], scores[order], truths, weight, wanted)
        return _defined("cpm", float(found.mean()))

    return Metric(_keeper(), _merge, compute)


def _defined(name: str, value: float) -> float:
    if np.isnan(value):
        warnings.warn(
            f"{name} is undefined (NaN): there is no true box", UndefinedMetricWarning, stacklevel=4
        )
    return float(value)


@cache
def _keeper() -> Callable[..., BoxChunks]:
    def from_batch(
        outputs: Mapping[str, Any],
        targets: Mapping[str, Any],
        *,
        weight: Any = None,
        where: Any = None,
    ) -> BoxChunks:
        names = [(outputs, "boxes"), (outputs, "scores"), (outputs, "labels")]
        held = [*(d[n] for d, n in names), targets["box"], targets["label"]]
        xp = jnp if any(isinstance(x, Tracer) for x in (*held, weight, where)) else np
        boxes, scores, labels, true, kinds = (xp.asarray(x) for x in held)
        if boxes.shape[:2] != labels.shape or true.shape[:2] != kinds.shape:
            raise ValueError(
                f"boxes {boxes.shape} and labels {labels.shape}, true boxes {true.shape} and "
                f"labels {kinds.shape} do not fit each other"
            )
        counts = xp.ones(len(boxes)) if weight is None else xp.asarray(weight)
        if where is not None:
            counts = counts * xp.asarray(where)
        return BoxChunks((boxes,), (scores,), (labels,), (true,), (kinds,), (counts,))

    return from_batch


def _merge(a: BoxChunks, b: BoxChunks) -> BoxChunks:
    return BoxChunks(*(x + y for x, y in zip(a, b, strict=True)))


def _classes(
    held: BoxChunks, most: int | None
) -> tuple[np.ndarray, list[Callable[[float], _Class]]]:
    """Weights (1, images), and of each class a function from an overlap to its matched boxes."""
    rows = [
        tuple(np.asarray(x[i]) for x in parts)
        for parts in zip(*held[:5], held.weight, strict=True)
        for i in range(len(parts[0]))
        if parts[5][i] > 0
    ]
    weight = np.array([[float(row[5]) for row in rows]], np.float64)
    names = sorted({int(k) for row in rows for k in (*row[2], *row[4]) if k >= 0})
    return weight, [_finder(rows, k, most) for k in names]


def _finder(rows: Sequence[Any], k: int, most: int | None) -> Callable[[float], _Class]:
    overlaps, scores, truths = [], [], []
    for boxes, score, labels, true, kinds, _ in rows:
        mine, own = labels == k, kinds == k
        order = np.argsort(-score[mine].astype(np.float64), kind="stable")[:most]
        overlaps.append(box_overlaps(boxes[mine][order], true[own]))
        scores.append(score[mine][order].astype(np.float64))
        truths.append(int(own.sum()))

    def found(iou: float) -> _Class:
        kind = [np.where(match_boxes(x, iou) >= 0, HIT, FALSE) for x in overlaps]
        image = np.repeat(np.arange(len(rows)), [len(x) for x in kind])
        score = np.concatenate(scores)
        order = np.argsort(-score, kind="stable")
        return _Class(np.concatenate(kind)[order], image[order], score[order], np.array(truths))

    return found
