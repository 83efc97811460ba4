"""Free-response ROC of a detector: sensitivity by false boxes an image, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import tie_ends, weighted_froc
from jaxmed.quantities._boxes import FALSE, HIT, IGNORED
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_level, check_rate, group_codes
from jaxmed.stats.objects._boxes import BoxArrays, read_boxes
from jaxmed.stats.objects._replicates import estimate, replicates

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False boxes an image at which the competition performance metric averages sensitivity."""


@dataclasses.dataclass(frozen=True)
class Froc:
    """A free-response ROC curve; made by :func:`froc`.

    Attributes:
        thresholds: (k,) falling scores.
        false_rate: (k,) false boxes an image from each threshold up.
        sensitivity: (k,) share of true boxes found.
        at: the sensitivity at each rate of false boxes, with its interval.
        cpm: their mean, the competition performance metric.
        objects: (images,) number of true boxes of each.
        image: (boxes,) position of each box's image, by falling score.
        score: (boxes,) its score.
        hit: (boxes,) whether it is a hit; false else. Those that count neither way are left out.
    """

    thresholds: Floats
    false_rate: Floats
    sensitivity: Floats
    at: Mapping[float, Estimate]
    cpm: Estimate
    objects: np.ndarray
    image: np.ndarray
    score: Floats
    hit: np.ndarray

    def threshold(self, rate: float) -> float:
        """The least score from which there are no more than so many false boxes an image.

        Infinity where the surest box is one too many.
        """
        fits = self.false_rate <= rate * (1 + 1e-12)
        return float(self.thresholds[fits][-1]) if fits.any() else float("inf")

    def counts(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Of each image the objects found and the false boxes, (images,) each, from a score up."""
        on = self.score >= threshold
        n = len(self.objects)
        found = np.bincount(self.image[on & self.hit], minlength=n)
        return found, np.bincount(self.image[on & ~self.hit], minlength=n)

    def __str__(self) -> str:
        return str(self.cpm)


def froc(
    true_boxes: BoxArrays,
    true_labels: BoxArrays,
    boxes: BoxArrays,
    scores: BoxArrays,
    box_labels: BoxArrays,
    *,
    iou: float = 0.1,
    rates: Sequence[float] = CPM_RATES,
    crowd: BoxArrays | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    unit: str | None = None,
    seed: int = 0,
) -> Froc:
    """Estimate a detector's sensitivity at rates of false boxes an image.

    Boxes are matched as by :func:`box_average_precision`, so that a true box is found once, and a
    second box on it is false. The rate divides by all images, those without an object too. Between
    two thresholds the lower sensitivity counts: each number is one that a threshold reaches.

    Args:
        true_boxes: (images, objects, 2 rank) lows then highs, or one array for each image.
        true_labels: (images, objects) classes from 0, -1 for padding.
        boxes: (images, n, 2 rank) found.
        scores: (images, n).
        box_labels: (images, n) classes, -1 for padding; a box of another class is false.
        iou: overlap of a hit.
        rates: false boxes an image.
        crowd: (images, objects), True for regions in which boxes count neither way.
        groups: (images,) patient of each image: whole patients are drawn.
        level: confidence level.
        n_resamples: number of resamples of the bootstrap over images, or patients.
        unit: name of the drawn unit.
        seed: of the bootstrap.

    Returns:
        The curve, the sensitivities and their mean.

    Raises:
        ValueError: arrays that do not fit, a true box without an area, no true box at all.

    References:
        Niemeijer et al. (2011), IEEE TMI 30:215. Setio et al. (2017), Med Image Anal 42:1.

    Examples:
        >>> true, label = [[[0, 0, 4, 4]], []], [[0], []]
        >>> found, score = [[[0, 0, 4, 4]], [[8, 8, 9, 9]]], [[0.8], [0.9]]
        >>> curve = froc(true, label, found, score, [[0], [0]], rates=(0.25, 0.5))
        >>> [curve.at[rate].value for rate in (0.25, 0.5)], curve.cpm.value
        ([0.0, 1.0], 0.5)
    """
    check_level(level)
    check_rate(iou, "iou")
    wanted = tuple(float(r) for r in rates)
    if not wanted or min(wanted) <= 0 or iou <= 0:
        raise ValueError(f"iou and rates are above 0, got {iou} and {rates}")
    cases = read_boxes(true_boxes, true_labels, boxes, scores, box_labels, crowd, None)
    codes, k = group_codes(groups, cases.images)
    parts = [cases.matched(c, iou) for c in cases.classes]
    truths = sum((p.truths for p in parts), np.zeros(cases.images, int))
    if not truths.sum():
        raise ValueError("there is no true box in any image: sensitivity is undefined")
    kind, image, score = (np.concatenate([getattr(p, n) for p in parts]) for n in
                          ("kind", "image", "scores"))  # fmt: skip
    order = np.argsort(-score, kind="stable")
    kind, image, score = kind[order], image[order], score[order]

    def both(weights: Floats) -> Floats:
        found = weighted_froc(kind, image, score, truths, weights, wanted)
        return np.concatenate([found, found.mean(1, keepdims=True)], axis=1)

    value, drawn = replicates(both, cases.images, codes, k, n_resamples, seed)

    def made(i: int, name: str) -> Estimate:
        return estimate(
            float(value[i]), drawn[:, i], level=level, k=k, grouped=codes is not None, unit=unit,
            name=name, n_resamples=n_resamples,
            details={"images": cases.images, "objects": int(truths.sum())},
        )  # fmt: skip

    kept = kind != IGNORED
    ends = tie_ends(score[kept])
    return Froc(
        score[kept][ends],
        np.cumsum(kind[kept] == FALSE)[ends] / cases.images,
        np.cumsum(kind[kept] == HIT)[ends] / truths.sum(),
        {r: made(i, f"sensitivity at {_rate(r)} an image") for i, r in enumerate(wanted)},
        made(len(wanted), "CPM"),
        truths,
        image[kept],
        score[kept],
        kind[kept] == HIT,
    )


def _rate(rate: float) -> str:
    """A rate of false boxes in words.

    >>> _rate(1.0), _rate(0.125)
    ('1 false box', '0.125 false boxes')
    """
    return f"{rate:g} false box{'' if rate == 1 else 'es'}"
