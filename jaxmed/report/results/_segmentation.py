"""From pairs of masks to results: per-case agreement, means with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.metrics import surface_distances
from jaxmed.metrics._surface import hausdorff_of, surface_dice_of
from jaxmed.report.results._parts import Overlap
from jaxmed.report.results._results import SegmentationResults, placed
from jaxmed.stats import Estimate, bootstrap

MEASURES = ("dice", "iou", "volume_error", "hd95", "nsd")
"""What `agreement` measures of a structure, in the order in which studies keep it."""


class MaskPair(NamedTuple):
    """The true and predicted mask of one case: integers, 0 for the background.

    `spacing` is the size of a voxel along each axis, in `unit`; distances need it.
    """

    case: str
    truth: NDArray[np.integer]
    prediction: NDArray[np.integer]
    spacing: Sequence[float] | None = None
    unit: str = "mm"


def agreement(
    truth: ArrayLike,
    prediction: ArrayLike,
    classes: int,
    *,
    spacing: Sequence[float] | None = None,
    tolerance: float = 1.0,
) -> dict[str, NDArray[Any]]:
    r"""Evaluate one predicted mask class by class, excluding the background.

    With T and P the voxels of a class: Dice :math:`2|T\cap P|/(|T|+|P|)`, IoU
    :math:`|T\cap P|/|T\cup P|`, volume error :math:`(|P|-|T|)/|T|`. A class in neither mask is
    NaN (left out of means), a class in one of them scores 0; a volume error without a true volume
    is NaN. HD95 is `metrics.hausdorff` at 95 (the larger of the two directed percentiles), infinite
    where one of the masks is empty. NSD is `metrics.surface_dice`, 0 there: the share of both
    surfaces that lies within the tolerance of the other one.

    Args:
        truth: whole numbers, any shape.
        prediction: whole numbers, the same shape.
        classes: number of classes without the background.
        spacing: size of a voxel along each axis in mm; without it there is no `hd95` or `nsd`.
        tolerance: of the NSD, in mm.

    Returns:
        Arrays (classes,) by name: `dice`, `iou`, `volume_error`, `hd95` in mm, and `nsd`.

    Raises:
        ValueError: shapes that differ, a class beyond `classes`, or a negative tolerance.

    Examples:
        >>> agreement([0, 1, 1, 2], [0, 1, 2, 2], 3)["dice"].round(3).tolist()
        [0.667, 0.667, nan]
    """
    t, p = np.asarray(truth), np.asarray(prediction)
    if t.shape != p.shape:
        raise ValueError(f"the masks differ in shape: truth {t.shape}, prediction {p.shape}")
    for name, mask in (("truth", t), ("prediction", p)):
        if mask.size and (mask.min() < 0 or mask.max() > classes):
            raise ValueError(
                f"the {name} holds classes {mask.min()}..{mask.max()}, beyond 0..{classes}"
            )
    table = quantities.tabulate(t.ravel(), p.ravel().astype(int), classes + 1)
    hit, true, found = np.diag(table)[1:], table.sum(1)[1:], table.sum(0)[1:]
    values = {
        "dice": quantities.dice(hit, found, true),
        "iou": quantities.iou(hit, found, true),
        "volume_error": quantities.volume_error(found, true),
    }
    if spacing is not None:
        check_tolerance(tolerance)
        found = [surface_distances(p == c, t == c, spacing=spacing) for c in range(1, classes + 1)]
        values["hd95"] = np.array([hausdorff_of(d, 95) for d in found])
        values["nsd"] = np.array([surface_dice_of(d, tolerance) for d in found])
    return values


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that is no distance."""
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"the tolerance of the NSD must be 0 or more, got {tolerance}")


def segmentation(
    pairs: Iterable[MaskPair | tuple[str, ArrayLike, ArrayLike]],
    *,
    classes: Sequence[str],
    groups: Sequence[Any] | None = None,
    tolerance: float = 1.0,
    level: float = 0.95,
    resampling_seed: int = 0,
    title: str = "Segmentation",
    **about: Any,
) -> SegmentationResults:
    """Evaluate predicted masks of any model.

    Args:
        pairs: `(case, truth, prediction)` one by one, or `MaskPair`, whose spacing gives
            distances in mm; masks may differ in shape between cases.
        classes: names of the classes 1, 2, ..., without the background.
        groups: (cases,) patients, if a patient has several cases.
        tolerance: of the NSD, in mm.
        level: confidence level of all intervals.
        resampling_seed: seed of the bootstrap.
        title: title of the report.
        **about: further fields of the results; those of their parts (`splits`, `history`, `seed`,
            ...) by their own names.

    Returns:
        The results: `dice` is the mean over cases of the mean over classes, `dice/NAME` the mean
        over cases of one class; so for `iou`, `volume_error`, `hd95` and `nsd`. An infinite HD95
        is left out of the mean and counted in a note; its NSD and Dice of 0 are not. Intervals
        are BCa bootstrap, over patients where `groups` names them.

    Raises:
        ValueError: no case, a case with masks of different shape, a class beyond `classes`.

    Examples:
        >>> r = segmentation([("a", [0, 1], [0, 1]), ("b", [1, 1], [0, 1])], classes=["lesion"])
        >>> round(r.metrics["dice"].value, 3)
        0.833
    """
    return from_overlap(
        overlap(pairs, classes=classes, groups=groups, tolerance=tolerance),
        classes=classes, level=level, resampling_seed=resampling_seed, title=title, **about,
    )  # fmt: skip


def overlap(
    pairs: Iterable[MaskPair | tuple[str, ArrayLike, ArrayLike]],
    *,
    classes: Sequence[str],
    groups: Sequence[Any] | None = None,
    tolerance: float = 1.0,
) -> Overlap:
    """Evaluate pairs of masks case by case; see `segmentation`."""
    check_tolerance(tolerance)
    names, rows, units = [], [], set()
    for pair in pairs:
        case, truth, prediction, *rest = pair
        spacing, unit = [*rest, *(None, "mm")[len(rest) :]]
        units.add(unit)
        try:
            rows.append(
                agreement(truth, prediction, len(classes), spacing=spacing, tolerance=tolerance)
            )
        except ValueError as error:
            raise ValueError(f"case {case}: {error}") from None
        names.append(str(case))
    if not rows:
        raise ValueError("no case to measure")
    if groups is not None and len(groups) != len(names):
        raise ValueError(f"groups has {len(groups)} entries for {len(names)} cases")
    given = [name for name in MEASURES if all(name in row for row in rows)]
    values = {name: np.stack([row[name] for row in rows]) for name in given}
    if len(units) > 1:
        raise ValueError(
            f"distances are in {' and in '.join(sorted(units))}, which have no mean: measure "
            "pictures and volumes apart"
        )
    return Overlap(names, values, groups, tolerance, min(units))


def from_overlap(
    overlap: Overlap,
    *,
    classes: Sequence[str],
    level: float = 0.95,
    resampling_seed: int = 0,
    title: str = "Segmentation",
    **about: Any,
) -> SegmentationResults:
    """Build results from per-case measures (see `segmentation`)."""
    metrics: dict[str, Estimate] = {}
    notes: list[str] = []
    for name, table in overlap.values.items():
        columns = {name: row_means(table)} if len(classes) > 1 else {}
        labels = [f"{name}/{c}" for c in classes] if len(classes) > 1 else [name]
        columns |= dict(zip(labels, table.T))
        for label, column in columns.items():
            estimate, note = _mean(label, column, overlap.groups, level, resampling_seed)
            if estimate is not None:
                said = _said_of(name, overlap)
                metrics[label] = dataclasses.replace(estimate, notes=(*said, *estimate.notes))
            notes += note
    order = [m for m in metrics if m.startswith("dice")] + [
        m for m in metrics if not m.startswith("dice")
    ]
    metrics = {name: metrics[name] for name in order}
    return SegmentationResults(
        title=title,
        classes=tuple(classes),
        metrics=metrics,
        headline=(
            *[m for m in metrics if m.startswith("dice")][:4],
            *(m for m in ("hd95", "nsd") if m in metrics),
        ),
        overlap=overlap,
        level=level,
        notes=(*about.pop("notes", ()), *notes),
        **placed(about),
    )


def _said_of(measure: str, overlap: Overlap) -> tuple[str, ...]:
    """The unit of a distance, or the tolerance that a share of surfaces is within."""
    if measure == "hd95":
        return (f"in {overlap.unit}",)
    return (f"within {overlap.tolerance:g} {overlap.unit}",) if measure == "nsd" else ()


def row_means(table: NDArray[Any]) -> NDArray[Any]:
    """Average the defined, finite values over the structures of each case; NaN without any."""
    known = np.where(np.isfinite(table), table, np.nan)
    return np.array([quantities.mean_defined(row) for row in known])


def _mean(
    name: str, column: NDArray[Any], groups: Sequence[Any] | None, level: float, seed: int
) -> tuple[Estimate | None, list[str]]:
    known = np.isfinite(column)
    apart, unknown = int(np.isinf(column).sum()), int(np.isnan(column).sum())
    notes = [f"{name}: undefined in {unknown} of {len(column)} cases, left out"] * (unknown > 0)
    if apart:
        notes.append(
            f"{name}: infinite in {apart} of {len(column)} cases, where one of the masks is empty; "
            "left out, so look at Dice and NSD as well, which are 0 there"
        )
    values = column[known]
    if values.size == 0:
        return None, notes
    kept = None if groups is None else np.asarray(groups)[known]
    unit = "case" if groups is None else "patient"
    units = values.size if kept is None else len(np.unique(kept))
    if units < 2 or np.ptp(values) == 0:
        why = "one unit" if units < 2 else "all cases alike"
        value = float(values.mean())
        limits = (value, value) if units >= 2 else (float("nan"), float("nan"))
        made = Estimate(
            value, *limits, level, units, unit, "none", (f"no interval: {why}",), name=name
        )
        return made, notes
    estimate = bootstrap(
        lambda rows, weights: (weights @ rows) / weights.sum(1),
        values, weighted=True, groups=kept, level=level, seed=seed, unit=unit, name=name,
        n_resamples=int(np.clip(5e7 / values.size, 1000, 9999)),
    )  # fmt: skip
    return estimate, notes
