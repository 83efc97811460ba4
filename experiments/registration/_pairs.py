"""Pairs of scans with masks: registered without the masks, measured by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxmed import registration as reg
from jaxmed import stats
from jaxmed.data import Scan, Space, crop_or_pad_scan
from jaxmed.report import Results, compare_segmentations, overlap

Linear = Literal["affine", "rigid", "none"]


class Pair(NamedTuple):
    """Two scans with their masks, each mask on a grid of its own.

    Images have the shape that all pairs share, so that one program serves them.
    """

    name: str
    fixed: Scan
    fixed_mask: Scan
    moving: Scan
    moving_mask: Scan
    group: str | None = None


class Settings(NamedTuple):
    """How pairs are registered."""

    linear: Linear
    transform: str
    similarity: Any
    smoothness: float
    levels: tuple[int, ...]
    steps: int
    symmetric: bool
    labels: Literal["linear", "nearest"]


def measured(
    pairs: Iterable[Pair], settings: Settings, *, classes: Sequence[str], **about: Any
) -> Results:
    """Register each pair and compare the moved masks: as they lay, linearly, by the field."""
    masks: dict[str, list[Any]] = {}
    groups, warped = [], []
    for pair in pairs:
        warps = _warps(pair, settings)
        for name, warp in warps.items():
            space = pair.fixed_mask.space
            moved = reg.warp_scan(warp, pair.moving_mask, space, method=settings.labels)
            row = (pair.name, pair.fixed_mask.array, moved.array, space.spacing)
            masks.setdefault(name, []).append(row)
        place = pair.fixed.space
        field = warps["field"]
        deviations = (
            reg.sd_log_jacobian(field, place, protocol=protocol)
            for protocol in ("plain", "learn2reg")
        )
        warped.append([*map(float, deviations), 100 * float(reg.folds(field, place))])
        groups.append(pair.group)
    known = None if None in groups else groups
    overlaps = {name: overlap(rows, classes=classes, groups=known) for name, rows in masks.items()}
    results = compare_segmentations(
        overlaps, classes=classes, metrics=("dice", *(f"dice/{c}" for c in classes)), **about
    )
    values = {f"dice/{name}": np.nanmean(o.values["dice"], 1) for name, o in overlaps.items()}
    columns = np.array(warped).T
    names = ("sd_log_jacobian", "sd_log_jacobian/learn2reg", "folds_percent")
    values |= dict(zip(names, columns, strict=True))
    return results.replace(
        metrics={
            name: dataclasses.replace(stats.mean(v, groups=known), name=name)
            for name, v in values.items()
        }
    )


def _warps(pair: Pair, settings: Settings) -> dict[str, reg.Warp]:
    """The warps by name, each with those before it in it."""
    warps = {"before": reg.affine_warp(np.eye(len(pair.fixed.affine)))}
    start = None
    if settings.linear != "none":
        start = reg.register(
            pair.fixed, pair.moving, transform=settings.linear, similarity="ncc",
            levels=(max(settings.levels),), steps=settings.steps,
        ).warp  # fmt: skip
        warps[settings.linear] = start
    kind = "bending" if settings.transform == "bspline" else "diffusion"
    warps["field"] = reg.register(
        pair.fixed, pair.moving, transform=settings.transform, similarity=settings.similarity,
        penalty={kind: settings.smoothness}, levels=settings.levels, steps=settings.steps,
        initial=start, **({"symmetric": True} if settings.symmetric else {}),
    ).warp  # fmt: skip
    return warps


def told(settings: Settings) -> str:
    """How pairs are registered, in a sentence."""
    begun = "" if settings.linear == "none" else f"a linear map ({settings.linear}), then "
    return (
        f"Each pair is registered by {begun}a {settings.transform}, without its masks; the moving "
        f"mask is then moved ({settings.labels} interpolation) and compared with the fixed one."
    )


def in_shape(image: np.ndarray, shape: Sequence[int], affine: np.ndarray) -> Scan:
    """An image (*spatial, channels) scaled to [0, 1], cut or padded about its middle."""
    low, high = np.quantile(image, [0.01, 0.99])
    scaled = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    scan = Scan(scaled, affine, Space(scaled.shape[:-1], affine))
    return crop_or_pad_scan(scan, shape, value=float(np.median(scaled)))
