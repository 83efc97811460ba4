"""Likelihood ratios, the diagnostic odds ratio and Youden's index of a binary decision."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import (
    check_level,
    quantile,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._binary import counts
from jaxmed.stats.diagnostic._proportion import proportion_limits
from jaxmed.stats.diagnostic._table import square_and_add


def _log_ratio(
    name: str,
    value: float,
    variance: float,
    level: float,
    n: int,
    unit: str,
    method: str,
    notes: tuple[str, ...] = (),
    centre: float | None = None,
) -> Estimate:
    """Interval of a ratio on the log scale."""
    middle = np.log(value) if centre is None else centre
    half = quantile(level) * np.sqrt(variance)
    return Estimate(
        float(value),
        float(np.exp(middle - half)),
        float(np.exp(middle + half)),
        level,
        n,
        unit,
        method,
        notes,
        details={"se_log": float(np.sqrt(variance))},
        name=name,
    )


def likelihood_ratio(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    sign: str = "positive",
    threshold: float | None = None,
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    r"""Estimate a likelihood ratio: Se / (1 - Sp), or (1 - Se) / Sp.

    Simel's log interval; with a zero cell half a case is added to all four for the interval.

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        sign: `positive` or `negative`.
        threshold: a score of this or more is positive.
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate; infinite where its denominator is 0, with a note.

    Raises:
        ValueError: for bad labels or a class without cases.

    References:
        Simel, Samsa, Matchar (1991), J Clin Epidemiol 44:763.

    Examples:
        >>> round(likelihood_ratio([1] * 4 + [0] * 4, [1, 1, 1, 0, 1, 0, 0, 0]).value, 6)
        3.0
    """
    if sign not in ("positive", "negative"):
        raise unknown("sign", sign, ("positive", "negative"))
    check_level(level)
    tp, fp, fn, tn = counts(labels, predictions, threshold=threshold)
    n1, n0 = tp + fn, fp + tn
    if not n1 or not n0:
        raise ValueError(f"a likelihood ratio needs both classes, but counts are {n1} and {n0}")
    top, bottom = (tp, fp) if sign == "positive" else (fn, tn)
    name = "LR+" if sign == "positive" else "LR-"
    notes: tuple[str, ...] = ()
    value = (top / n1) / (bottom / n0) if bottom else (np.inf if top else np.nan)
    t, b, m1, m0 = float(top), float(bottom), float(n1), float(n0)
    if top == 0 or bottom == 0:
        t, b, m1, m0 = t + 0.5, b + 0.5, m1 + 1, m0 + 1
        notes = ("zero cell: half a case was added to each cell for the interval",)
        if bottom == 0:
            notes += (f"{name} is {'infinite' if top else 'undefined'}: its denominator is 0",)
    variance = 1 / t - 1 / m1 + 1 / b - 1 / m0
    centre = np.log((t / m1) / (b / m0))
    return _log_ratio(name, value, variance, level, n1 + n0, unit, "simel-log", notes, centre)


def diagnostic_odds_ratio(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    """Estimate the diagnostic odds ratio, TP TN / (FP FN), with Woolf's interval.

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate; with a zero cell half a case is added for the interval (Haldane).

    References:
        Woolf (1955), Ann Hum Genet 19:251. Glas et al. (2003), J Clin Epidemiol 56:1129.

    Examples:
        >>> diagnostic_odds_ratio([1] * 4 + [0] * 4, [1, 1, 1, 0, 1, 0, 0, 0]).value
        9.0
    """
    check_level(level)
    cells = np.array(counts(labels, predictions, threshold=threshold), dtype=float)
    tp, fp, fn, tn = cells
    notes: tuple[str, ...] = ()
    top, bottom = tp * tn, fp * fn
    value = top / bottom if bottom else (np.inf if top else np.nan)
    used = cells
    if (cells == 0).any():
        used = cells + 0.5
        notes = ("zero cell: half a case was added to each cell for the interval",)
    centre = np.log(used[0] * used[3] / (used[1] * used[2]))
    return _log_ratio(
        "DOR", value, float((1 / used).sum()), level, int(cells.sum()), unit, "woolf", notes, centre
    )


def youden(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "square-and-add",
    rates: str = "wilson",
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    """Estimate Youden's index, sensitivity + specificity - 1, of a binary decision.

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`. A threshold chosen on
            the same data makes the value too high and the interval too narrow.
        threshold: a score of this or more is positive.
        method: `square-and-add` (of the rates' intervals, good at the ends), `wald`, or `sum`
            (the rates' limits added, as in epiR: conservative).
        rates: interval of the two rates, as in `proportion`.
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate.

    References:
        Youden (1950), Cancer 3:32. Shan (2015), PLoS ONE 10:e0133709.

    Examples:
        >>> youden([1, 1, 0, 0], [1, 0, 0, 0]).value
        0.5
    """
    check_level(level)
    tp, fp, fn, tn = counts(labels, predictions, threshold=threshold)
    n1, n0 = tp + fn, fp + tn
    if not n1 or not n0:
        raise ValueError(f"Youden's index needs both classes, but counts are {n1} and {n0}")
    se, sp = tp / n1, tn / n0
    value = se + sp - 1
    error = float(np.sqrt(se * (1 - se) / n1 + sp * (1 - sp) / n0))
    name = spelled(method)
    if name == "wald":
        half = quantile(level) * error
        low, high = value - half, value + half
    elif name == "sum":
        (l1, u1), (l2, u2) = (
            proportion_limits(x, n, method=rates, level=level) for x, n in ((tp, n1), (tn, n0))
        )
        low, high = l1 + l2 - 1, u1 + u2 - 1
    elif name == "square-and-add":
        parts = [
            (se, *proportion_limits(tp, n1, method=rates, level=level)),
            (sp, *proportion_limits(tn, n0, method=rates, level=level)),
        ]
        low, high = square_and_add(value, parts, [1.0, 1.0])
    else:
        raise unknown("method", method, ("square-and-add", "sum", "wald"))
    return Estimate(
        value,
        max(low, -1.0),
        min(high, 1.0),
        level,
        n1 + n0,
        unit,
        name,
        se=error,
        name="Youden index",
    )
