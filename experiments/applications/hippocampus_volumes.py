"""Volumes of the hippocampus in MRI with intervals, and the change that can be told.

    jaxmed train hippocampus_volumes

Small 3D U-Nets outline its two parts in 208 scans (`_outlines`; Decathlon's Task 04). Volumes are
sums of voxels' probabilities, the mean over networks that have not seen the scan, beside those of
the expert's outlines. Intervals are conformal, calibrated on the other folds' scans and wide where
voxels could go either way: they hold the expert's volume of nine scans in ten, of scans of the same
kind.

A second scan of a patient, months later, tells a change only if it is larger than what two
measurements differ by. `smallest change` is that number for volumes whose errors in the two scans
have nothing to do with each other; errors of one network on one patient do, so it is on the safe
side, and only scans of one patient on one day would tell by how much.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from pathlib import Path

import numpy as np

from jaxmed import bayes, stats
from jaxmed.data import Scan, Space, decathlon
from jaxmed.report import Results

from .._common.compared import named
from ._cases import folder
from ._crossed import Crossed, Outlined, Outlining, recipe_of
from ._outlines import judge


@dataclasses.dataclass(frozen=True)
class Config(Outlining):
    """One study; its folder is the Decathlon's, with `dataset.json`.

    Args:
        patch: what the network sees at once, in voxels.
        level: coverage that the intervals promise.
    """

    steps: int = 600
    batch: int = 2
    corrupted: int = 12
    patch: tuple[int, int, int] = (40, 56, 40)
    level: float = 0.9


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge outlines and volumes."""
    cases = read(folder(config.data, "Task04_Hippocampus"))
    check_level(config, len(cases.scans))
    spacing = np.median([scan.spacing for scan in cases.scans], axis=0)
    recipe = recipe_of(
        config, cases, spacing=spacing, patch=config.patch, normalisation="zscore", mirror=(0,)
    )
    return judge(
        config, cases, recipe, out, title="Volumes of the hippocampus",
        what="MRI of the hippocampus, its head and body outlined by experts.",
        also=partial(volumes, config),
    )  # fmt: skip


def read(place: Path) -> Outlined:
    """The scans and their parts; the set names no patients."""
    source = decathlon(place)
    scans, masks = [], []
    for i in range(len(source)):
        one = source[i]
        affine = one["affine"].astype(float)
        scans.append(Scan(one["image"], affine, Space(one["mask"].shape, affine)))
        masks.append(np.asarray(one["mask"], np.int32))
    names = tuple(map(str, source.case_ids))
    return Outlined(scans, masks, tuple(source.classes[1:]), names, names, "scans", ("MRI",))


def check_level(config: Config, scans: int) -> None:
    """Refuse a level that the other folds' scans are too few for: intervals would have no end.

    Raises:
        ValueError: names the level and how many scans it needs.
    """
    others = scans - -(-scans // config.folds)
    least = math.ceil(config.level / (1 - config.level) - 1e-9)
    if others < least:
        raise ValueError(
            f"--level {config.level:g} needs {least} scans in the other folds to calibrate on, "
            f"there are {others}: give more scans or folds, or ask for less"
        )


def volumes(config: Config, cases: Outlined, found: Crossed) -> dict[str, stats.Estimate]:
    """How far volumes are off, what their intervals hold, and what change can be told."""
    metrics: dict[str, stats.Estimate] = {}
    parts = {name: (k,) for k, name in enumerate(cases.classes, 1)}
    parts["whole"] = tuple(range(1, len(cases.classes) + 1))
    for name, classes in parts.items():
        true, measured, unsure = _millilitres(cases, found, classes)
        agreement = stats.bland_altman(measured, true, unit="scan")
        off = (measured - true) / true
        inside, width = _intervals(config, found, true, measured, unsure)
        metrics |= named(
            {
                f"volume/{name}": stats.mean(true, unit="scan", bounds=(0.0, np.inf)),
                f"volume/{name}/error": stats.mean(np.abs(off), unit="scan", bounds=(0.0, np.inf)),
                f"volume/{name}/bias": agreement.bias,
                f"volume/{name}/lower limit": agreement.lower_limit,
                f"volume/{name}/upper limit": agreement.upper_limit,
                f"volume/{name}/intraclass correlation": stats.icc(np.stack([true, measured], 1)),
                f"volume/{name}/interval coverage": stats.mean(inside, bounds=(0.0, 1.0)),
                f"volume/{name}/interval width": stats.mean(
                    width / true, bounds=(0.0, np.inf), unit="scan"
                ),
                f"volume/{name}/smallest change": stats.bootstrap(
                    _smallest_change, off, n_resamples=1000, unit="scan"
                ),
            }
        )
    return metrics


def _millilitres(
    cases: Outlined, found: Crossed, classes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each scan the true volume, the measured one, and that of voxels that are unsure."""
    rows = []
    for i, (scan, mask) in enumerate(zip(cases.scans, cases.masks, strict=True)):
        voxel = float(np.prod(scan.spacing)) / 1000
        p = np.mean([s[i][..., list(classes)].astype(np.float64).sum(-1) for s in found.said], 0)
        unsure = np.minimum(p, 1 - p).clip(0).sum()
        rows.append([np.isin(mask, classes).sum(), p.sum(), max(unsure, 1e-6)])
        rows[-1] = [voxel * value for value in rows[-1]]
    return tuple(np.array(rows).T)


def _intervals(
    config: Config, found: Crossed, true: np.ndarray, measured: np.ndarray, unsure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each true volume lies in its interval, and how wide that is."""
    inside, width = np.empty(len(true)), np.empty(len(true))
    for fold in found.dealt:
        others = np.setdiff1d(np.arange(len(true)), fold.rows)
        rule = bayes.fit_intervals(
            true[others], measured[others], level=config.level, scale=unsure[others]
        )
        low, high = bayes.predict_intervals(rule, measured[fold.rows], scale=unsure[fold.rows]).T
        inside[fold.rows] = (low <= true[fold.rows]) & (true[fold.rows] <= high)
        width[fold.rows] = high - low
    return inside, width


def _smallest_change(off: np.ndarray) -> float:
    """Of two measurements with independent errors, in shares of the volume, at 95 %."""
    return float(1.96 * np.sqrt(2) * off.std(ddof=1))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
