"""Measuring of the paradigm table: means over seeds, and differences paired by seed and case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxmed import quantities
from jaxmed.protocols import knn_probe, linear_probe
from jaxmed.stats import Estimate, over_runs

from .._common.compared import compared, notes_of
from ._labels import Task
from ._train import Trained


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of cases whose most probable class is theirs."""
    table = quantities.tabulate(labels, quantities.largest(scores), scores.shape[1])
    return float(quantities.accuracy(table))


METRICS: Mapping[str, Callable[..., float]] = {"auc": quantities.macro_auc, "accuracy": accuracy}


def measure(
    task: Task, result: Trained, baseline: np.ndarray | None
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    """The metrics of a row on the test set, and notes that belong beside them."""
    truth = task.parts["test"].arrays["label"]
    scores = result.scores["test"]
    found = {}
    for name, metric in METRICS.items():
        found |= compared(metric, truth, scores, baseline, name)
    for probe, rule in PROBES.items():
        if result.features:
            votes = np.stack([rule(task, result.features, seed) for seed in range(len(scores))])
            found[f"{probe}/auc"] = over_runs(
                quantities.macro_auc, truth, votes, name=f"{probe}/auc"
            )
    return found, notes_of(found)


def _linear(task: Task, features: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    x, y = _labelled(task, features, seed)
    return linear_probe(x, y, classes=len(task.classes)).predict(features["test"][seed])


def _nearest(task: Task, features: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    x, y = _labelled(task, features, seed)
    return knn_probe(x, y, features["test"][seed], classes=len(task.classes))


def _labelled(task: Task, features: Mapping[str, np.ndarray], seed: int) -> Any:
    kept = task.labelled[seed]
    return features["train"][seed][kept], task.parts["train"].arrays["label"][kept]


PROBES = {"linear": _linear, "knn": _nearest}
