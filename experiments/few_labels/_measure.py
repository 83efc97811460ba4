"""Measuring of the paradigm table: means over seeds, and differences paired by seed and case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from jaxmed.protocols import knn_probe, linear_probe
from jaxmed.stats import Estimate, over_runs

from .._common.compared import compared, notes_of
from ._labels import Task
from ._train import Trained


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean one-against-rest AUC, as MedMNIST has it; quick enough for a jackknife."""
    areas = []
    for k in range(scores.shape[1]):
        positive = labels == k
        n = int(positive.sum())
        if 0 < n < len(labels):
            ranks = rankdata(scores[:, k])
            areas.append((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))
    return float(np.mean(areas))


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of cases whose most probable class is theirs."""
    return float((scores.argmax(1) == labels).mean())


METRICS: Mapping[str, Callable[..., float]] = {"auc": auc, "accuracy": accuracy}


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
            found[f"{probe}/auc"] = over_runs(auc, truth, votes, name=f"{probe}/auc")
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
