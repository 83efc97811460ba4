"""Several trainings that differ in their seed, measured on the same cases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed import stats
from jaxmed.stats import Estimate


def seeds(config: Any, out: Path) -> Iterator[tuple[int, Path]]:
    """Each seed, and the folder of its training: the run's own if there is one seed alone."""
    if config.seeds < 1:
        raise ValueError(f"--seeds is how many trainings there are, at least 1, got {config.seeds}")
    for i in range(config.seeds):
        seed = config.seed + i
        yield seed, out if config.seeds == 1 else out / f"seed-{seed}"


def mean_over(values: np.ndarray, patients: Sequence[Any], name: str, unit: str = "") -> Estimate:
    """The mean of (runs, cases), with an interval over patients, and over seeds if several."""
    if len(values) == 1:
        found = stats.mean(values[0], groups=patients, name=name)
    else:
        found = _over_runs(values, patients, name, (0.0, math.inf))
    return dataclasses.replace(found, notes=(*found.notes, f"in {unit}")) if unit else found


def share_over(values: np.ndarray, patients: Sequence[Any], name: str) -> Estimate:
    """The mean of (runs, cases) of what is true or not, in [0, 1] with its interval."""
    if len(values) == 1:
        return stats.clustered_proportion(values[0].astype(float), patients, name=name)
    return _over_runs(values.astype(float), patients, name, (0.0, 1.0))


def told_over(
    runs: Sequence[dict[str, np.ndarray]], patients: Sequence[Any], shares: Sequence[str]
) -> dict[str, Estimate]:
    """The means of what each of several runs tells of each case, by name."""
    measure: dict[bool, Callable[..., Estimate]] = {True: share_over, False: mean_over}
    return {
        name: measure[name in shares](np.stack([run[name] for run in runs]), patients, name)
        for name in (runs[0] if runs else ())
    }


def _over_runs(
    values: np.ndarray, patients: Sequence[Any], name: str, bounds: tuple[float, float]
) -> Estimate:
    """Each patient by the mean of its cases, so that those with many count as one."""
    _, which = np.unique(np.asarray(patients), return_inverse=True)
    share = np.zeros((len(which), which.max() + 1))
    share[np.arange(len(which)), which] = 1
    each = values @ (share / share.sum(axis=0))
    return stats.over_runs(
        lambda _, x: float(x.mean()), np.zeros(each.shape[1]), each, bounds=bounds, name=name
    )
