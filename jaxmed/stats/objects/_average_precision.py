"""Average precision of boxes, as COCO and Pascal VOC define it, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import mean_defined, weighted_box_average_precision
from jaxmed.quantities._boxes import INTERPOLATIONS
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_level, check_rate, group_codes, unknown
from jaxmed.stats.objects._boxes import BoxArrays, read_boxes
from jaxmed.stats.objects._replicates import estimate, replicates

COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())
"""The overlaps over which COCO averages."""


def box_average_precision(
    true_boxes: BoxArrays,
    true_labels: BoxArrays,
    boxes: BoxArrays,
    scores: BoxArrays,
    box_labels: BoxArrays,
    *,
    iou: float | Sequence[float] = 0.5,
    interpolation: str = "101",
    most: int | None = 100,
    crowd: BoxArrays | None = None,
    classes: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    unit: str | None = None,
    seed: int = 0,
) -> Estimate:
    """Estimate mean average precision of boxes with an interval.

    Boxes are matched class by class and image by image, the surest first, each with the free true
    box that it overlaps most, if by ``iou``; precision is averaged over recall, and the mean taken
    over the classes and overlaps. The defaults are COCO's. A class without a true box is missing:
    it is in `details`, and not in the mean.

    Args:
        true_boxes: (images, objects, 2 rank) lows then highs, or one array for each image.
        true_labels: (images, objects) classes from 0, -1 for padding; or one array for each image.
        boxes: (images, n, 2 rank) found, alike.
        scores: (images, n).
        box_labels: (images, n) classes, -1 for padding.
        iou: overlap of a hit, or several, such as `COCO_IOUS`, over which the mean is taken.
        interpolation: `101` recalls (COCO), `11` (VOC 2007), or `all`: the area under the envelope
            of the curve (VOC 2010).
        most: boxes of a class and image that count, the surest; None for all.
        crowd: (images, objects), True for regions in which boxes count neither way.
        classes: names of the classes, for `details`.
        groups: (images,) patient of each image: whole patients are drawn.
        level: confidence level.
        n_resamples: number of resamples of the bootstrap over images, or patients.
        unit: name of the drawn unit.
        seed: of the bootstrap.

    Returns:
        The estimate; `details` has `classes` (each one's average precision, NaN where it is
        missing), `ious` (the mean at each), `images`, `objects`.

    Raises:
        ValueError: arrays that do not fit, a true box without an area, no true box at all.

    References:
        Lin et al. (2014), Microsoft COCO, ECCV. Everingham et al. (2010), IJCV 88:303.

    Examples:
        >>> true, label = [[[0, 0, 4, 4]], [[0, 0, 4, 4]]], [[0], [0]]
        >>> found, score = [[[0, 0, 4, 4]], [[8, 8, 9, 9]]], [[0.9], [0.8]]
        >>> round(box_average_precision(true, label, found, score, [[0], [0]]).value, 3)
        0.505
    """
    check_level(level)
    at = [float(v) for v in np.ravel(np.asarray(iou, np.float64))]
    for value in at:
        check_rate(value, "iou")
    if not at or min(at) <= 0:
        raise ValueError(f"iou is above 0, got {iou}")
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, tuple(INTERPOLATIONS))
    cases = read_boxes(true_boxes, true_labels, boxes, scores, box_labels, crowd, most)
    codes, k = group_codes(groups, cases.images)
    matched = [[cases.matched(c, value) for value in at] for c in cases.classes]
    objects = sum(int(row[0].truths.sum()) for row in matched)
    if not objects:
        raise ValueError("there is no true box in any image: average precision is undefined")

    def table(weights: Floats) -> Floats:
        """(b, classes, ious)."""
        rows = [
            [
                weighted_box_average_precision(
                    f.kind, f.image, f.scores, f.truths, weights, interpolation
                )
                for f in row
            ]
            for row in matched
        ]
        return np.moveaxis(np.asarray(rows), -1, 0)

    def mean(weights: Floats) -> Floats:
        return np.array([mean_defined(one.mean(1)) for one in table(weights)])[:, None]

    value, drawn = replicates(mean, cases.images, codes, k, n_resamples, seed)
    whole = table(np.ones((1, cases.images)))[0]
    names = [str(c) if classes is None or c >= len(classes) else classes[c] for c in cases.classes]
    occurring = np.isfinite(whole).all(1)
    missing = [name for name, there in zip(names, occurring, strict=True) if not there]
    notes = (f"no true box of {', '.join(missing)}: not in the mean",) if missing else ()
    details = {
        "classes": dict(zip(names, whole.mean(1).tolist(), strict=True)),
        "ious": dict(zip(at, whole[occurring].mean(0).tolist(), strict=True)),
        "images": cases.images,
        "objects": objects,
    }
    spread = f"{min(at):g}" if len(at) == 1 else f"{min(at):g} to {max(at):g}"
    return estimate(
        float(value[0]), drawn[:, 0], level=level, k=k, grouped=codes is not None, unit=unit,
        name=f"average precision at IoU {spread}", notes=notes, details=details,
        n_resamples=n_resamples,
    )  # fmt: skip
