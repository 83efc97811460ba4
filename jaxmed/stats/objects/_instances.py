"""Scores of instance segmentation with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.quantities import Contingency, aggregated_jaccard, contingency, match_instances
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, as_array, check_level, check_rate, group_codes
from jaxmed.stats.objects._replicates import estimate, replicates


class InstanceScores(NamedTuple):
    """Scores of the objects found in images; made by :func:`instance_scores`.

    Hits, false objects and missed ones (TP, FP, FN) are counted over all images.

    Attributes:
        precision: TP / (TP + FP).
        recall: TP / (TP + FN).
        f1: 2 TP / (2 TP + FP + FN), which panoptic segmentation calls recognition quality.
        average_precision: TP / (TP + FP + FN), as the Data Science Bowl 2018, StarDist and Cellpose
            call it; it is no area under a curve. Of several overlaps the mean.
        panoptic_quality: the sum of the hits' IoU / (TP + (FP + FN) / 2).
        aggregated_jaccard: mean over the images, without those in which nothing is and nothing was
            found; it does not depend on `iou`.
    """

    precision: Estimate
    recall: Estimate
    f1: Estimate
    average_precision: Estimate
    panoptic_quality: Estimate
    aggregated_jaccard: Estimate


def instance_scores(
    true: Sequence[ArrayLike],
    found: Sequence[ArrayLike],
    *,
    iou: float | Sequence[float] = 0.5,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    unit: str | None = None,
    seed: int = 0,
) -> InstanceScores:
    """Estimate how well objects were found and drawn, with intervals over images or patients.

    A true object and one found are a hit if they overlap by ``iou``; pairs are one to one, as many
    as can be, and of those the ones that overlap most.

    Args:
        true: label maps of the images, (*spatial) whole numbers, 0 for the background. Numbers
            name objects and mean nothing else; maps may be of several shapes.
        found: likewise, one for each image.
        iou: overlap of a hit; or several, over which each score is averaged.
        groups: (images,) patient of each image: whole patients are drawn.
        level: confidence level.
        n_resamples: number of resamples of the bootstrap over images, or patients.
        unit: name of the drawn unit.
        seed: of the bootstrap.

    Returns:
        The scores. ``details`` of each has the number of `images` and of true `objects`; of all
        but the aggregated Jaccard index also its value at each of the `ious`.

    Raises:
        ValueError: if maps do not fit, are not of whole numbers from 0, or no image has an object.

    References:
        Schmidt et al. (2018), Cell detection with star-convex polygons, MICCAI. Kirillov et al.
        (2019), Panoptic segmentation, CVPR. Kumar et al. (2017), A dataset and a technique for
        generalized nuclear segmentation, IEEE TMI 36.

    Examples:
        >>> true = [[[1, 1, 0, 2]], [[0, 3, 3, 3]]]
        >>> found = [[[1, 1, 0, 0]], [[0, 1, 1, 0]]]
        >>> scores = instance_scores(true, found)
        >>> scores.recall.value.__round__(3), scores.panoptic_quality.value.__round__(3)
        (0.667, 0.667)
    """
    check_level(level)
    at = [float(v) for v in np.ravel(np.asarray(iou, np.float64))]
    for value in at:
        check_rate(value, "iou")
    if not at or min(at) <= 0:
        raise ValueError(f"iou is above 0, got {iou}")
    if len(true) != len(found) or not len(true):
        raise ValueError(f"one map found for each true one, got {len(true)} and {len(found)}")
    tables = [_table(i, *pair) for i, pair in enumerate(zip(true, found, strict=True))]
    codes, k = group_codes(groups, len(tables))
    objects = sum(table.true.size for table in tables)
    if not objects:
        raise ValueError("there is no true object in any image: the scores are undefined")
    counts = np.array([[_counts(table, value) for value in at] for table in tables])
    joined = np.array([aggregated_jaccard(table) for table in tables])
    something = joined[:, 1] > 0
    share = np.where(something, joined[:, 0] / np.where(something, joined[:, 1], 1), 0)

    def both(weights: Floats) -> Floats:
        per_iou = _ratios(np.einsum("bn,nic->bic", weights, counts)).mean(1)
        number = weights @ something
        mean = np.divide(
            weights @ share, number, out=np.full(len(weights), np.nan), where=number > 0
        )
        return np.concatenate([per_iou, mean[:, None]], axis=1)

    value, drawn = replicates(both, len(tables), codes, k, n_resamples, seed)
    whole = _ratios(counts.sum(0)[None])[0]
    spread = f"{min(at):g}" if len(at) == 1 else f"{min(at):g} to {max(at):g}"

    def made(i: int, field: str) -> Estimate:
        name, details = field.replace("_", " "), {"images": len(tables), "objects": objects}
        if i < whole.shape[1]:
            name += f" at IoU {spread}"
            details |= {"ious": dict(zip(at, whole[:, i].tolist(), strict=True))}
        return estimate(
            float(value[i]), drawn[:, i], level=level, k=k, grouped=codes is not None, unit=unit,
            name=name, n_resamples=n_resamples, details=details,
        )  # fmt: skip

    return InstanceScores(*(made(i, field) for i, field in enumerate(InstanceScores._fields)))


def _table(image: int, true: ArrayLike, found: ArrayLike) -> Contingency:
    maps = [as_array(true, f"true map {image}"), as_array(found, f"found map {image}")]
    if maps[0].shape != maps[1].shape:
        raise ValueError(
            f"image {image}: the true map is {maps[0].shape}, the one found {maps[1].shape}"
        )
    for name, labels in zip(("true", "found"), maps, strict=True):
        if labels.dtype.kind not in "iub" or (labels.size and labels.min() < 0):
            raise ValueError(
                f"image {image}: the {name} map is of whole numbers from 0, got {labels.dtype}"
                + (f" with {labels.min()}" if labels.dtype.kind == "i" else "")
            )
    return contingency(*maps)


def _counts(table: Contingency, iou: float) -> tuple[float, float, float, float]:
    """Hits, false objects, missed ones and the sum of the hits' overlaps."""
    shared = table.iou
    pairs = match_instances(shared, iou)
    hits = len(pairs)
    overlap = float(shared[tuple(pairs.T)].sum())
    return hits, table.found.size - hits, table.true.size - hits, overlap


def _ratios(counts: NDArray) -> Floats:
    """Precision, recall, F1, TP / (TP + FP + FN) and panoptic quality, (..., 5)."""
    hits, false, missed, overlap = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    pairs = (
        (hits, hits + false),
        (hits, hits + missed),
        (2 * hits, 2 * hits + false + missed),
        (hits, hits + false + missed),
        (overlap, hits + (false + missed) / 2),
    )
    # Nothing found is no false object either: 0, as long as something was to be found.
    nothing = np.where(hits + missed > 0, 0.0, np.nan)
    return np.stack(
        [
            np.where(under > 0, over / np.where(under > 0, under, 1), nothing)
            for over, under in pairs
        ],
        axis=-1,
    )
