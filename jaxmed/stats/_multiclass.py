"""Metrics of decisions among any number of classes: accuracy, F1, MCC, balanced accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._binary import decisions
from jaxmed.stats._check import check_level, spelled
from jaxmed.stats._proportion import clustered_proportion, proportion, proportion_limits
from jaxmed.stats._result import Estimate
from jaxmed.stats._table import class_codes, confusion, square_and_add, table_estimate


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
    """Estimate the share of right decisions.

    Args:
        labels: (cases,) class numbers.
        predictions: (cases,) class numbers, (cases, classes) scores, or scores of two classes
            together with `threshold`.
        threshold: a score of this or more is positive.
        method: interval, as in `proportion`.
        level: confidence level.
        groups: (cases,) patient of each row: the interval then counts patients.
        unit: what is counted.

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
        k: how many classes are named, from 1 to classes. Of tied scores the later class wins.
        method: interval, as in `proportion`.
        level: confidence level.
        unit: what is counted.

    Returns:
        The estimate.

    Examples:
        >>> top_k_accuracy([0, 2], [[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]], k=2).value
        0.5
    """
    x = np.asarray(scores, dtype=np.float64)
    truth, _, classes = class_codes(labels, x)
    if x.ndim != 2 or not 1 <= k <= x.shape[1]:
        raise ValueError(f"k must lie in 1..classes of (cases, classes), but k is {k}, {x.shape}")
    order = np.argsort(x, axis=1, kind="stable")[:, classes - k :]
    hit = (order == truth[:, None]).any(axis=1)
    return proportion(
        int(hit.sum()), hit.size, method=method, level=level, unit=unit, name=f"top-{k} accuracy"
    )


def _recalls(table: Any) -> Any:
    return np.einsum("...ii->...i", table) / table.sum(axis=-1)


def _balanced(table: Any) -> Any:
    rows = table.sum(axis=-1)
    seen = np.real(rows) > 0  # classes without a case do not count
    right = np.einsum("...ii->...i", table)
    return np.where(seen, right / np.where(seen, rows, 1), 0).sum(axis=-1) / seen.sum(axis=-1)


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
        unit: what is counted.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

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
            _balanced,
            name="balanced accuracy",
            method=chosen,
            level=level,
            groups=groups,
            unit=unit,
            n_resamples=n_resamples,
            seed=seed,
        )
        return _with_notes(e, notes)
    recalls = [table[c, c] / rows[c] for c in seen]
    parts = [
        (r, *proportion_limits(table[c, c], rows[c], level=level))
        for r, c in zip(recalls, seen, strict=True)
    ]
    value = float(np.mean(recalls))
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


def _f_macro(table: Any, beta: float = 1.0) -> Any:
    """F of each class, averaged over classes seen in truth or prediction."""
    right = np.einsum("...ii->...i", table)
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    bottom = beta**2 * rows + columns
    seen = np.real(bottom) > 0
    each = np.where(seen, (1 + beta**2) * right / np.where(seen, bottom, 1), 0)
    return each.sum(axis=-1) / seen.sum(axis=-1)


def _f_weighted(table: Any, beta: float = 1.0) -> Any:
    right = np.einsum("...ii->...i", table)
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    bottom = beta**2 * rows + columns
    seen = np.real(bottom) > 0
    each = np.where(seen, (1 + beta**2) * right / np.where(seen, bottom, 1), 0)
    return (each * rows).sum(axis=-1) / rows.sum(axis=-1)


def _precision_macro(table: Any) -> Any:
    columns = table.sum(axis=-2)
    right = np.einsum("...ii->...i", table)
    called = np.real(columns) > 0  # a class never called has precision 0
    return np.where(called, right / np.where(called, columns, 1), 0).mean(axis=-1)


def _accuracy(table: Any) -> Any:
    return np.einsum("...ii->...", table) / table.sum(axis=(-2, -1))


def f1(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    average: str = "auto",
    beta: float = 1.0,
    threshold: float | None = None,
    method: str = "auto",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the F score.

    .. math:: F_\beta = \frac{(1 + \beta^2) TP}{(1 + \beta^2) TP + \beta^2 FN + FP}

    Args:
        labels: (cases,) class numbers.
        predictions: as in `accuracy`.
        average: `binary` (of class 1), `macro`, `micro`, `weighted`; `auto` is binary for two
            classes, else macro.
        beta: weight of recall.
        threshold: a score of this or more is positive.
        method: `wilson` (binary F1 is 2J / (1 + J) of the Jaccard index J, a proportion),
            `delta` (Takahashi), `transformed-delta`, `bootstrap`, `bca`; `auto` is `wilson` for
            binary F1, else `transformed-delta`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: what is counted.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The estimate; undefined with a note where class 1 is neither present nor called.

    References:
        Takahashi et al. (2022), Applied Intelligence 52:4961.

    Examples:
        >>> round(f1([1, 1, 1, 0], [1, 1, 0, 1]).value, 4)
        0.6667
    """
    labels, predictions = _taken(labels, predictions, threshold)
    table = confusion(labels, predictions)
    if average == "auto":
        average = "binary" if len(table) == 2 else "macro"
    if average not in ("binary", "macro", "micro", "weighted"):
        raise ValueError(f"average must be binary, macro, micro or weighted, but is {average!r}")
    if average == "binary" and len(table) > 2:
        raise ValueError(f"there are {len(table)} classes: choose average='macro' or another")
    name = f"F{beta:g}" if average == "binary" else f"{average} F{beta:g}"
    simple = average == "binary" and beta == 1.0 and groups is None
    chosen = spelled(method)
    if chosen == "auto":
        chosen = "wilson" if simple else "transformed-delta"
    if chosen == "wilson":
        if not simple:
            raise ValueError("wilson is for the binary F1 without groups; use transformed-delta")
        tp, union = int(table[1, 1]), int(table.sum() - table[0, 0])
        if union == 0:
            return Estimate(
                float("nan"),
                0.0,
                1.0,
                check_level(level),
                int(table.sum()),
                unit or "case",
                "wilson",
                ("F1 is undefined: class 1 is neither present nor called",),
                name=name,
            )
        ends = [2 * j / (1 + j) for j in proportion_limits(tp, union, level=level)]
        return Estimate(
            2 * tp / (tp + union),
            ends[0],
            ends[1],
            level,
            int(table.sum()),
            unit or "case",
            "wilson of Jaccard",
            name=name,
        )

    def statistic(t: Any) -> Any:
        if average == "binary":
            tp, fn, fp = t[..., 1, 1], t[..., 1, 0], t[..., 0, 1]
            return (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)
        if average == "micro":
            return _accuracy(t)
        return _f_macro(t, beta) if average == "macro" else _f_weighted(t, beta)

    return table_estimate(
        labels,
        predictions,
        statistic,
        name=name,
        method=chosen,
        level=level,
        groups=groups,
        unit=unit,
        n_resamples=n_resamples,
        seed=seed,
    )


def macro_precision(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    method: str = "transformed-delta",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of the classes' precisions; a class never called counts as 0.

    Arguments as in `f1`.

    Examples:
        >>> macro_precision([0, 1, 1, 1], [0, 0, 1, 1]).value
        0.75
    """
    return table_estimate(
        labels,
        predictions,
        _precision_macro,
        name="macro precision",
        method=method,
        level=level,
        groups=groups,
        unit=unit,
        n_resamples=n_resamples,
        seed=seed,
    )


def macro_recall(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    method: str = "transformed-delta",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of the classes' recalls by the delta method (see `balanced_accuracy`).

    Examples:
        >>> macro_recall([0, 1, 1, 1], [0, 0, 1, 0]).value > 0.6
        True
    """
    return table_estimate(
        labels,
        predictions,
        _balanced,
        name="macro recall",
        method=method,
        level=level,
        groups=groups,
        unit=unit,
        n_resamples=n_resamples,
        seed=seed,
    )


def _mcc(table: Any) -> Any:
    total = table.sum(axis=(-2, -1))
    right = np.einsum("...ii->...", table)
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    cross = (rows * columns).sum(axis=-1)
    spread = (total**2 - (rows**2).sum(axis=-1)) * (total**2 - (columns**2).sum(axis=-1))
    return (right * total - cross) / np.sqrt(spread)


def mcc(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "transformed-delta",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate Matthews' correlation of truth and decision, for any number of classes.

    .. math:: \frac{TP\,TN - FP\,FN}{\sqrt{(TP+FP)(TP+FN)(TN+FP)(TN+FN)}}

    Args:
        labels: (cases,) class numbers.
        predictions: as in `accuracy`.
        threshold: a score of this or more is positive.
        method: `transformed-delta` (stays inside -1 and 1), `delta`, `bootstrap` or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: what is counted.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The estimate; undefined with a note where truth or prediction is of one class.

    References:
        Matthews (1975), BBA 405:442. Gorodkin (2004), Comput Biol Chem 28:367.

    Examples:
        >>> round(mcc([1, 1, 0, 0], [1, 0, 0, 0]).value, 4)
        0.5774
    """
    labels, predictions = _taken(labels, predictions, threshold)
    return table_estimate(
        labels,
        predictions,
        _mcc,
        name="MCC",
        method=method,
        level=level,
        groups=groups,
        unit=unit,
        bounds=(-1.0, 1.0),
        n_resamples=n_resamples,
        seed=seed,
    )
