"""Objects told apart in images, measured against true ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.quantities import contingency, match_instances
from jaxmed.report.results._results import InstanceResults

_HIT = 0.5  # Overlap of a hit in counts and pictures.
_IOUS = tuple(np.linspace(0.5, 0.9, 9).round(2).tolist())


class FoundInstances(NamedTuple):
    """Objects of each image, counted; a hit overlaps by half.

    Attributes:
        cases: names of the images.
        objects: (images,) true objects.
        found: (images,) objects found.
        hits: (images,) objects of both kinds that are pairs.
        groups: patient of each image, or None.
        masks: paths of the label maps found, by case.
    """

    cases: Sequence[str]
    objects: NDArray[np.intp]
    found: NDArray[np.intp]
    hits: NDArray[np.intp]
    groups: Sequence[Any] | None = None
    masks: Mapping[str, str] = {}


class InstancePicture(NamedTuple):
    """An image with the outlines of its objects.

    Attributes:
        case: name of the image.
        rank: reason for showing it.
        image: (height, width) or (height, width, 3).
        outlines: (height, width) 0, or 1 on the outline of an object that was found, 2 of one that
            was missed, 3 of a false one.
        caption: text below.
    """

    case: str
    rank: str
    image: NDArray[Any]
    outlines: NDArray[np.uint8]
    caption: str = ""


def instances(
    true: Sequence[ArrayLike],
    found: Sequence[ArrayLike],
    *,
    cases: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    masks: Mapping[str, str] | None = None,
    images: Callable[[int], ArrayLike] | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    title: str = "Instances",
    **about: Any,
) -> InstanceResults:
    """Measure objects that were told apart: :func:`jaxmed.stats.instance_scores` and counts.

    Args:
        true: label maps (*spatial), 0 the background.
        found: label maps, one for each.
        cases: names of the images; positions by default.
        groups: patient of each image: whole patients are drawn for the intervals.
        masks: paths of the maps found, by case.
        images: from a position to the image (*spatial, channels), to show outlines on.
        level: of all intervals.
        n_resamples: of the bootstrap.
        title: of the report.
        **about: further fields of the results.

    Returns:
        The results.

    Raises:
        ValueError: maps that do not fit, no true object.
    """
    names = tuple(cases) or tuple(str(i) for i in range(len(true)))
    if len(names) != len(true):
        raise ValueError(f"{len(names)} cases for {len(true)} images")
    how = {"groups": groups, "level": level, "n_resamples": n_resamples}
    half = stats.instance_scores(true, found, iou=_HIT, **how)
    metrics = {
        "instance_ap50": half.average_precision,
        "instance_ap": stats.instance_scores(true, found, iou=_IOUS, **how).average_precision,
        "f1": half.f1,
        "precision": half.precision,
        "recall": half.recall,
        "panoptic_quality": half.panoptic_quality,
        "aggregated_jaccard": half.aggregated_jaccard,
    }
    tables = [contingency(*pair) for pair in zip(true, found, strict=True)]
    counts = [(t.true.size, t.found.size, len(match_instances(t.iou, _HIT))) for t in tables]
    held = FoundInstances(names, *np.array(counts).T, groups=groups, masks=masks or {})
    drawn = () if images is None else _pictures(held, true, found, images)
    results = InstanceResults(
        title=title, classes=(), metrics=metrics, level=level, found=held, drawn=drawn,
        headline=("instance_ap50", "f1", "panoptic_quality", "aggregated_jaccard"),
    )  # fmt: skip
    return results.replace(**about)


def _pictures(
    held: FoundInstances,
    true: Sequence[ArrayLike],
    found: Sequence[ArrayLike],
    images: Callable[[int], ArrayLike],
) -> tuple[InstancePicture, ...]:
    """The two images with most errors for their objects, a middle one, the best."""
    union = held.objects + held.found - held.hits
    score = np.where(union > 0, held.hits / np.maximum(union, 1), 1.0)
    order = np.lexsort((-union, score))
    n = len(order)
    picked = {int(i): "most errors" for i in order[: max(1, min(2, n - 2))]}
    picked.setdefault(int(order[n // 2]), "middle")
    picked.setdefault(int(order[-1]), "fewest errors")
    drawn = []
    for i, rank in picked.items():
        maps = [np.asarray(true[i]), np.asarray(found[i])]
        image = np.asarray(images(i))
        told = _told(*maps)
        if told.ndim == 3:  # the plane across the first axis that cuts most of the objects
            at = int(np.argmax([(plane > 0).sum() for plane in maps[0]]))
            image, told = image[at], told[at]
        image = image if image.shape[-1] == 3 else image[..., 0]
        caption = (
            f"{held.hits[i]} of {held.objects[i]} objects found, "
            f"{held.found[i] - held.hits[i]} false"
        )
        drawn.append(InstancePicture(held.cases[i], rank, image, told, caption))
    return tuple(drawn)


def _told(true: NDArray, found: NDArray) -> NDArray[np.uint8]:
    """Outlines of hits, missed and false objects; hits below the others."""
    table = contingency(true, found)
    pairs = match_instances(table.iou, _HIT)
    names = [np.unique(labels[labels > 0]) for labels in (true, found)]
    hits = [kept[column] for kept, column in zip(names, pairs.T, strict=True)]
    lines = [_outline(labels) for labels in (true, found)]
    told = np.zeros(true.shape, np.uint8)
    for value, k, of in ((1, 1, True), (2, 0, False), (3, 1, False)):
        labels = (true, found)[k]
        told[lines[k] & (labels > 0) & (np.isin(labels, hits[k]) == of)] = value
    return told


def _outline(labels: NDArray) -> NDArray[np.bool_]:
    """Voxels in whose plane a neighbour belongs to another object, or to none."""
    edge = np.zeros(labels.shape, bool)
    for axis in range(max(labels.ndim - 2, 0), labels.ndim):
        apart = np.diff(labels, axis=axis) != 0
        low = [(0, 0)] * labels.ndim
        high = list(low)
        low[axis], high[axis] = (0, 1), (1, 0)
        edge |= np.pad(apart, low) | np.pad(apart, high)
    return edge
