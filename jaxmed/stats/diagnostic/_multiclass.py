"""Metrics of decisions among any number of classes: accuracy, top-k, balanced accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import as_array, check_level, spelled
from jaxmed.stats.diagnostic._binary import decisions
from jaxmed.stats.diagnostic._proportion import clustered_proportion, proportion, proportion_limits
from jaxmed.stats.diagnostic._table import class_codes, confusion, square_and_add, table_estimate


def _taken(
    labels: ArrayLike, predictions: ArrayLike, threshold: float | None
) -> tuple[ArrayLike, ArrayLike]:
    """Apply a threshold to scores of two classes."""
    if threshold is None:
        return labels, predictions
    truth, guess = decisions(labels, predictions, threshold)
    return truth.astype(int), guess.astype(int)


def accuracy(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the accuracy, the share of correct decisions.

    Args:
        labels: (cases,) class numbers.
        predictions: (cases,) class numbers, (cases, classes) scores, or scores of two classes
            together with `threshold`.
        threshold: a score of this or more is positive.
        method: interval, as in `proportion`.
        level: confidence level.
        groups: (cases,) patient of each row: the interval then counts patients.
        unit: name of the counted unit.

    Returns:
        The estimate.

    Raises:
        ValueError: for NaN, fractions without a threshold, or unequal lengths.

    Examples:
        >>> accuracy([0, 1, 2, 2], [0, 1, 2, 1]).value
        0.75
    """
    truth, guess, _ = class_codes(*_taken(labels, predictions, threshold))
    right = truth == guess
    if groups is not None:
        return clustered_proportion(
            right, groups, method=method, level=level, unit=unit or "patient", name="accuracy"
        )
    return proportion(
        int(right.sum()),
        right.size,
        method=method,
        level=level,
        unit=unit or "case",
        name="accuracy",
    )


def top_k_accuracy(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    k: int = 2,
    method: str = "wilson",
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    """Estimate how often the truth is among the k highest scores.

    Args:
        labels: (cases,) class numbers.
        scores: (cases, classes).
        k: number of top classes, from 1 to classes. Among tied scores the earlier class
            wins, as in `accuracy`.
        method: interval, as in `proportion`.
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate.

    Examples:
        >>> top_k_accuracy([0, 2], [[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]], k=2).value
        0.5
    """
    x = as_array(scores, "scores", np.float64)
    truth, _, _ = class_codes(labels, x)
    if x.ndim != 2 or not 1 <= k <= x.shape[1]:
        raise ValueError(f"k must lie in 1..classes of (cases, classes), but k is {k}, {x.shape}")
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    hit = (order == truth[:, None]).any(axis=1)
    return proportion(
        int(hit.sum()), hit.size, method=method, level=level, unit=unit, name=f"top-{k} accuracy"
    )


def balanced_accuracy(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "square-and-add",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of the classes' sensitivities (macro recall).

    Args:
        labels: (cases,) class numbers. Classes without a case are left out, with a note.
        predictions: as in `accuracy`.
        threshold: a score of this or more is positive.
        method: `square-and-add` (of Wilson intervals), `delta`, `transformed-delta`,
            `bootstrap` or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate.

    References:
        Zou and Donner (2008), Stat Med 27:1693.

    Examples:
        >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0]).value
        0.5
    """
    check_level(level)
    labels, predictions = _taken(labels, predictions, threshold)
    table = confusion(labels, predictions)
    rows = table.sum(axis=1)
    seen = np.flatnonzero(rows)
    notes: tuple[str, ...] = ()
    if seen.size < rows.size:
        absent = [int(c) for c in np.flatnonzero(rows == 0)]
        notes = (f"classes {absent} have no case and are left out",)
    if spelled(method) != "square-and-add" or groups is not None:
        chosen = "delta" if spelled(method) == "square-and-add" else method
        e = table_estimate(
            labels,
            predictions,
            quantities.balanced_accuracy,
            name="balanced accuracy",
            method=chosen,
            level=level,
            groups=groups,
            unit=unit,
            n_resamples=n_resamples,
            seed=seed,
        )
        return _with_notes(e, notes)
    recalls = quantities.recalls(table)[seen]
    parts = [
        (r, *proportion_limits(table[c, c], rows[c], level=level))
        for r, c in zip(recalls, seen, strict=True)
    ]
    value = float(quantities.balanced_accuracy(table))
    low, high = square_and_add(value, parts, [1 / seen.size] * seen.size)
    error = np.sqrt(sum(r * (1 - r) / rows[c] for r, c in zip(recalls, seen, strict=True)))
    return Estimate(
        value,
        max(low, 0.0),
        min(high, 1.0),
        level,
        int(rows.sum()),
        unit or "case",
        "square-and-add of wilson",
        notes,
        se=float(error / seen.size),
        details={"recalls": dict(zip(map(int, seen), map(float, recalls)))},
        name="balanced accuracy",
    )


def _with_notes(estimate: Estimate, notes: tuple[str, ...]) -> Estimate:
    import dataclasses

    return dataclasses.replace(estimate, notes=(*estimate.notes, *notes)) if notes else estimate
