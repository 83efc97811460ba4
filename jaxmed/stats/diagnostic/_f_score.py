"""F scores, and precision and recall averaged over classes."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import check_level, spelled
from jaxmed.stats.diagnostic._multiclass import _taken
from jaxmed.stats.diagnostic._proportion import proportion_limits
from jaxmed.stats.diagnostic._table import confusion, table_estimate


def _f_weighted(table: Any, beta: float) -> Any:
    rows = table.sum(axis=-1)
    return (quantities.f_scores(table, 0.0, beta=beta) * rows).sum(axis=-1) / rows.sum(axis=-1)


def _precision_macro(table: Any) -> Any:
    return quantities.macro(quantities.precisions(table), table)


def _recall_macro(table: Any) -> Any:
    return quantities.macro(quantities.recalls(table), table)


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
        average: `binary` (of class 1), `macro` (over the classes that occur in the labels or among
            the predictions), `micro`, `weighted`; `auto` is binary for two classes, else macro.
        beta: weight of recall.
        threshold: a score of this or more is positive.
        method: `wilson` (binary F1 is 2J / (1 + J) of the Jaccard index J, a proportion),
            `delta` (Takahashi), `transformed-delta`, `bootstrap`, `bca`; `auto` is `wilson` for
            binary F1, else `transformed-delta`.
        level: confidence level.
        groups: (cases,) patient of each row; the bootstrap then draws patients.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The estimate; undefined with a note if class 1 is neither present nor predicted.

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
            float(quantities.f_scores(table)[1]),
            ends[0],
            ends[1],
            level,
            int(table.sum()),
            unit or "case",
            "wilson of Jaccard",
            name=name,
        )

    def statistic(t: Any) -> Any:
        if average == "micro":
            return quantities.accuracy(t)
        if average == "weighted":
            return _f_weighted(t, beta)
        each = quantities.f_scores(t, beta=beta)
        return each[..., 1] if average == "binary" else quantities.macro(each, t)

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
    """Estimate the mean of the classes' precisions.

    Classes count that occur in the labels or among the predictions; one never called counts as 0.
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
    """Estimate the mean of the classes' recalls.

    Classes count that occur in the labels or among the predictions; one that is only predicted
    counts as 0. `balanced_accuracy` leaves that one out. Arguments as in `f1`.

    Examples:
        >>> macro_recall([0, 1, 1, 1], [0, 0, 1, 0]).value > 0.6
        True
    """
    return table_estimate(
        labels,
        predictions,
        _recall_macro,
        name="macro recall",
        method=method,
        level=level,
        groups=groups,
        unit=unit,
        n_resamples=n_resamples,
        seed=seed,
    )
