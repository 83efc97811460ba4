"""What experiments with replicates share: a baseline in their grid, differences, notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.stats import Estimate, over_runs


def with_baseline(config: Any, folder: Callable[[Any], Path], **plain: Any) -> Any:
    """A run of a grid, compared with the grid's own run of the same settings but `plain`."""
    baseline = dataclasses.replace(config, **plain)
    return config if baseline == config else dataclasses.replace(config, baseline=folder(baseline))


def mean(_: np.ndarray, values: np.ndarray) -> float:
    """The metric of numbers that are measured case by case already."""
    return float(values.mean())


def compared(
    metric: Callable[..., float],
    labels: np.ndarray,
    scores: np.ndarray,
    baseline: np.ndarray | None,
    name: str,
) -> dict[str, Estimate]:
    """A metric over runs and, where there is a baseline, `name/difference`, paired with it."""
    found = {name: over_runs(metric, labels, scores, name=name)}
    if baseline is not None:
        label = f"{name}/difference"
        found[label] = over_runs(metric, labels, scores, baseline=baseline, name=label)
    return found


def measure(
    dice: np.ndarray, baseline: np.ndarray | None, structures: tuple[str, ...]
) -> dict[str, Estimate]:
    """Means over seeds and cases, (seeds, cases, structures), and differences to the baseline."""
    views: dict[str, Callable[[np.ndarray], np.ndarray]] = {"dice": lambda d: d.mean(-1)}
    for k, name in enumerate(structures):
        views[f"dice/{name}"] = lambda d, k=k: d[..., k]
    found = {}
    for name, view in views.items():
        other = None if baseline is None else view(baseline)
        found |= compared(mean, np.zeros(dice.shape[1]), view(dice), other, name)
    return found


def of_models(results: Any, metric: str) -> dict[str, Estimate]:
    """A metric of each of the models that a report compares, as `model/metric`."""
    models = results.comparison.models
    return named({f"{name}/{metric}": found[metric] for name, found in models.items()})


def named(metrics: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Estimates under the names that they stand under."""
    return {name: dataclasses.replace(found, name=name) for name, found in metrics.items()}


def notes_of(metrics: Mapping[str, Estimate]) -> tuple[str, ...]:
    """The notes of all metrics, each once."""
    return tuple(sorted({note for metric in metrics.values() for note in metric.notes}))
