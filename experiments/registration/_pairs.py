"""Pairs of scans with masks: registered without the masks, measured by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxmed import registration as reg
from jaxmed import stats
from jaxmed.data import Scan, Space, crop_or_pad, crop_or_pad_scan
from jaxmed.report import Results, compare_segmentations, overlap

Linear = Literal["affine", "rigid", "none"]


class Side(NamedTuple):
    """A scan in the shape that all pairs share, so that one program serves them.

    Attributes:
        image: the scan; beyond its border it goes on as it ends.
        inside: (*spatial,) where it is one.
        mask: on the scan's own grid.
    """

    image: Scan
    inside: np.ndarray
    mask: Scan


class Pair(NamedTuple):
    """Two scans with their masks."""

    name: str
    fixed: Side
    moving: Side
    group: str | None = None


_BOUNDS = {"dice": (0, 1), "sd_log_jacobian": (0, np.inf), "folds_percent": (0, 100)}


@dataclasses.dataclass(frozen=True)
class HowPairs:
    """How pairs are registered.

    Args:
        linear: the map that the field begins with.
        linear_similarity: what that is found by.
        transform: the field.
        window: of the local correlation, in voxels; odd.
        smoothness: weight of the penalty.
        levels: 0 is the scan itself, 1 half as fine.
        steps: at each level.
        symmetric: whether the inverse also moves the fixed image.
        labels: how masks are moved.
    """

    linear: Linear = "affine"
    linear_similarity: Literal["ncc", "mutual-information"] = "ncc"
    transform: Literal["velocity", "displacement", "bspline"] = "velocity"
    window: int = 7
    smoothness: float = 0.2
    levels: tuple[int, ...] = (1, 0)
    steps: int = 50
    symmetric: bool = False
    labels: Literal["linear", "nearest"] = "linear"


def registered(
    pairs: Iterable[Pair], how: HowPairs, similarity: Any, *, classes: Sequence[str], **about: Any
) -> Results:
    """Register each pair and compare the moved masks: as they lay, linearly, by the field."""
    warps_of = partial(_warps, how=how, similarity=similarity)
    return measured(pairs, warps_of, how.labels, classes=classes, **about)


def measured(
    pairs: Iterable[Pair],
    warps_of: Callable[[Pair], dict[str, reg.Warp]],
    labels: Literal["linear", "nearest"],
    *,
    classes: Sequence[str],
    **about: Any,
) -> Results:
    """Compare each pair's masks as its warps move them, of which one is called `field`.

    Its Dice is given of masks that are moved the other way too.
    """
    masks: dict[str, list[Any]] = {}
    groups, warped = [], []
    other: Literal["linear", "nearest"] = "nearest" if labels == "linear" else "linear"
    for pair in pairs:
        warps = warps_of(pair)
        ways: list[tuple[str, reg.Warp, Any]] = [(n, warp, labels) for n, warp in warps.items()]
        for name, warp, method in [*ways, (f"field/{other}", warps["field"], other)]:
            truth = pair.fixed.mask
            moved = reg.warp_scan(warp, pair.moving.mask, truth.space, method=method)
            row = (pair.name, truth.array, moved.array, truth.spacing)
            masks.setdefault(name, []).append(row)
        place = pair.fixed.image.space
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
        {name: found for name, found in overlaps.items() if name != f"field/{other}"},
        classes=classes, metrics=("dice", *(f"dice/{c}" for c in classes)), **about,
    )  # fmt: skip
    values = {f"dice/{name}": np.nanmean(o.values["dice"], 1) for name, o in overlaps.items()}
    columns = np.array(warped).T
    names = ("sd_log_jacobian", "sd_log_jacobian/learn2reg", "folds_percent")
    values |= dict(zip(names, columns, strict=True))
    return results.replace(
        metrics={
            name: stats.mean(v, groups=known, bounds=_BOUNDS[name.partition("/")[0]], name=name)
            for name, v in values.items()
        }
    )


def _warps(pair: Pair, how: HowPairs, similarity: Any) -> dict[str, reg.Warp]:
    """The warps by name, each with those before it in it."""
    images = (pair.fixed.image, pair.moving.image)
    where = (pair.fixed.inside, pair.moving.inside)
    warps = {"before": reg.affine_warp(np.eye(len(images[0].affine)))}
    start = None
    by: Any = how.linear_similarity.replace("-", "_")
    symmetric: dict[str, Any] = {"symmetric": True} if how.symmetric else {}
    if how.linear != "none":
        start = reg.register(
            *images, transform=how.linear, similarity=by,
            levels=(max(how.levels),), steps=how.steps, where=where,
        ).warp  # fmt: skip
        warps[how.linear] = start
    kind = "bending" if how.transform == "bspline" else "diffusion"
    warps["field"] = reg.register(
        *images, transform=how.transform, similarity=similarity,
        penalty={kind: how.smoothness}, levels=how.levels, steps=how.steps,
        where=where, initial=start, **symmetric,
    ).warp  # fmt: skip
    return warps


def told(how: HowPairs) -> str:
    """How pairs are registered, in a sentence."""
    begun = "" if how.linear == "none" else f"a linear map ({how.linear}), then "
    return (
        f"Each pair is registered by {begun}a {how.transform}, without its masks; the moving "
        f"mask is then moved ({how.labels} interpolation) and compared with the fixed one."
    )


def side(image: np.ndarray, mask: np.ndarray, affine: np.ndarray, shape: Sequence[int]) -> Side:
    """Bring an image (*spatial, channels) to [0, 1] and to a shape, cut or padded about its middle.

    Its mask (*spatial,) stays as it is.
    """
    low, high = np.quantile(image, [0.01, 0.99])
    scaled = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    own = Space(mask.shape, affine)
    room = [max(n - m, 0) + 1 for n, m in zip(shape, mask.shape, strict=True)]
    wide = np.pad(scaled, [*((r, r) for r in room), (0, 0)], mode="edge")
    start = np.eye(len(affine))
    start[:-1, -1] = [-r for r in room]
    scan = Scan(wide, affine @ start, own)
    inside = np.pad(np.ones(mask.shape, np.float32), [(r, r) for r in room])
    cut = crop_or_pad_scan(scan, shape)
    return Side(cut, crop_or_pad(inside, shape), Scan(mask, affine, own))
