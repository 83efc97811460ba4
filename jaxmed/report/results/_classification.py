"""From labels and scores to results: every metric with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.report.results._measures import HEADLINE, OF_CALLS, Named, Rule, measures
from jaxmed.report.results._parts import Scores
from jaxmed.report.results._results import Results, Task, results_of
from jaxmed.stats import Estimate, warn_repeats

Array = NDArray[Any]


def classification(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    task: Task | None = None,
    classes: Sequence[str] = (),
    cases: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    patients: Sequence[Any] | None = None,
    level: float = 0.95,
    threshold: float = 0.5,
    hard: bool = False,
    resampling_seed: int = 0,
    title: str = "Classification",
    **about: Any,
) -> Results:
    """Evaluate predictions of classes or numbers by any model.

    AUC and accuracy are MedMNIST's: the mean one-vs-rest AUC for several classes, the mean
    over labels for several labels; accuracy of the most probable class, or at `threshold`.

    Args:
        labels: (cases,) classes 0, 1, ...; (cases, tasks) 0/1 for multi-label, NaN where a label is
            not known; numbers.
        scores: (cases, classes) probabilities; for two classes also (cases,), of class 1;
            (cases, tasks) for multi-label; (cases,) for regression.
        task: one of `report.TASKS`; by default inferred from the shapes (never ordinal or
            regression).
        classes: names; by default their numbers.
        cases: names; by default their numbers.
        groups: (cases,) patients, where cases of one patient are not independent.
        patients: (cases,) patients, where the cases are counted as independent all the same: each
            metric then says how many rows share a patient.
        level: confidence level of all intervals.
        threshold: threshold of the positive call.
        hard: whether the scores are predicted classes, 0 and 1, without a probability: then only
            what counts calls is measured.
        resampling_seed: seed of the bootstrap.
        title: title of the report.
        **about: further fields of `Results`; those of its parts (`splits`, `history`, `seed`, ...)
            by their own names.

    Returns:
        `ClassificationResults` or `RegressionResults`, ready for `write`. What is undefined on
        these data is left out of the metrics and named in the notes.

    Raises:
        ValueError: for mismatched shapes, labels outside the classes or scores that are not
            finite.

    Examples:
        >>> r = classification([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
        >>> r.task, r.metrics["auc"].value, r.metrics["accuracy"].value
        ('binary', 0.75, 0.5)
    """
    y, s = np.asarray(labels), np.asarray(scores, float)
    task = task or _guess(y, s)
    y, s = _checked(y, s, task)
    n = len(y)
    names = tuple(classes) or _numbered(y, s, task)
    _check_classes(y, s, names, task)
    check_threshold(s, task, threshold)
    cases = tuple(cases) or tuple(str(i) for i in range(n))
    for name, values in (("cases", cases), ("groups", groups), ("patients", patients)):
        if values is not None and len(values) != n:
            raise ValueError(f"{name} has {len(values)} entries for {n} rows")
    rule = Rule(level, None if groups is None else np.asarray(groups), resampling_seed)
    named = measures(task, rule, y, s, names, threshold)
    if hard:
        named = ((name, make) for name, make in named if name in OF_CALLS)
    metrics, undefined = _measured(named)
    if patients is not None and groups is None:
        metrics = {name: warn_repeats(found, patients) for name, found in metrics.items()}
    return results_of(
        task,
        title=title,
        classes=names,
        metrics=metrics,
        headline=tuple(name for name in HEADLINE[task] if name in metrics),
        scores=Scores(y, s, cases, groups),
        level=level,
        notes=(*about.pop("notes", ()), *undefined),
        **({"threshold": threshold} if task in ("binary", "multi-label") else {}),
        **({"hard": True} if hard and task != "regression" else {}),
        **about,
    )


def _measured(named: Named) -> tuple[dict[str, Estimate], list[str]]:
    """Compute the metrics; undefined ones become a note."""
    metrics, notes = {}, []
    for name, make in named:
        try:
            metrics[name] = dataclasses.replace(make(), name=name)
        except ValueError as error:
            notes.append(f"{name} is undefined on these data: {error}")
    return metrics, notes


def _guess(y: Array, s: Array) -> Task:
    if y.ndim == 2 and y.shape[1] > 1:
        return "multi-label"
    columns = 1 if s.ndim == 1 else s.shape[1]
    return "binary" if columns <= 2 else "multi-class"


def _checked(y: Array, s: Array, task: str) -> tuple[Array, Array]:
    if task not in HEADLINE:
        raise ValueError(f"task is one of {', '.join(HEADLINE)}, got {task!r}")
    if len(y) == 0 or len(y) != len(s):
        raise ValueError(
            f"labels and scores need the same number of rows, at least 1: {y.shape}, {s.shape}"
        )
    if not np.isfinite(s).all():
        rows = np.flatnonzero(~np.isfinite(s).reshape(len(s), -1).all(1))
        raise ValueError(f"scores must be finite; row {rows[0]} and {len(rows) - 1} others are not")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if s.ndim == 2 and s.shape[1] == 1 and task in ("binary", "regression"):
        s = s[:, 0]
    if task == "regression":
        if y.shape != s.shape or y.ndim != 1:
            raise ValueError(f"regression takes (cases,) twice, got {y.shape} and {s.shape}")
        return y.astype(float), s
    if task == "multi-label" and y.dtype.kind == "f" and np.isnan(y).any():
        return _checked_with_unknown(y, s)
    whole = y.astype(int)
    if (whole != y).any():
        raise ValueError(
            f"labels of a {task} task must be whole numbers; for numbers that are measured give "
            "task='regression' (--task regression)"
        )
    if task == "multi-label":
        if whole.shape != s.shape:
            raise ValueError(f"multi-label takes (cases, tasks) twice: {y.shape}, {s.shape}")
        return whole, s
    if whole.ndim != 1:
        raise ValueError(f"{task} labels have the shape (cases,), got {y.shape}")
    if task == "binary" and s.ndim == 1:
        s = np.stack([1 - s, s], 1)
    if s.ndim != 2:
        raise ValueError(f"{task} scores have the shape (cases, classes), got {s.shape}")
    return whole, s


def _checked_with_unknown(y: Array, s: Array) -> tuple[Array, Array]:
    """Labels of several tasks, some of which are not known."""
    if y.shape != s.shape:
        raise ValueError(f"multi-label takes (cases, tasks) twice: {y.shape}, {s.shape}")
    if not np.isin(y[~np.isnan(y)], (0, 1)).all():
        raise ValueError("labels of a multi-label task are 0, 1, or NaN where they are not known")
    return y, s


def _numbered(y: Array, s: Array, task: str) -> tuple[str, ...]:
    return ("value",) if task == "regression" else tuple(str(i) for i in range(s.shape[1]))


def _check_classes(y: Array, s: Array, names: Sequence[str], task: str) -> None:
    if task == "regression":
        return
    if len(names) != s.shape[1]:
        raise ValueError(f"{len(names)} class names for {s.shape[1]} columns of scores")
    limit = 2 if task in ("binary", "multi-label") else len(names)
    if np.isnan(y).any():
        return
    if y.min() < 0 or y.max() >= limit:
        seen = np.unique(y)
        hint = ""
        if task == "binary" and seen.size <= 2:
            hint = f": write 0 for {seen[0]} and 1 for {seen[-1]}"
        elif task == "binary":
            hint = "; for numbers that are measured give task='regression' (--task regression)"
        elif task == "multi-class" and y.min() > 0:
            hint = ": classes count from 0"
        raise ValueError(f"labels must lie in 0..{limit - 1}, got {y.min()}..{y.max()}{hint}")


def check_threshold(s: Array, task: str, threshold: float) -> None:
    """Refuse a probability's threshold for scores that are none: each call would be wrong."""
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number, got {threshold}")
    if task not in ("binary", "multi-label") or threshold != 0.5 or s.size == 0:
        return
    shown = s[:, -1] if task == "binary" else s
    low, high = float(shown.min()), float(shown.max())
    if low >= 0 and high <= 1:
        return
    if low >= 0 and high <= 100:
        hint = "divide per cents by 100 (--scale percent)"
    else:
        hint = "send logits through a sigmoid (--scale logit)"
    raise ValueError(
        f"scores range from {low:g} to {high:g}, but a threshold of 0.5 is for probabilities: "
        f"{hint}, or give the threshold of a positive call (--threshold)"
    )
