"""Metrics of a binary decision: accuracy, sensitivity, specificity, predictive values, ratios."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.stats._check import (
    binary_labels,
    binary_scores,
    check_level,
    quantile,
    same_length,
    spelled,
    unknown,
)
from jaxmed.stats._proportion import clustered_proportion, proportion, proportion_limits
from jaxmed.stats._result import Estimate
from jaxmed.stats._table import square_and_add


class Counts(NamedTuple):
    """True and false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


def decisions(
    labels: ArrayLike, predictions: ArrayLike, threshold: float | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return truth and decision as booleans; scores are positive from the threshold upwards."""
    if threshold is not None:
        truth, scores = binary_scores(labels, predictions)
        return truth, scores >= threshold
    truth = binary_labels(labels)
    array = np.asarray(predictions)
    if array.ndim == 2 and array.shape[1] == 2:
        array = array.argmax(axis=1)
    try:
        guess = binary_labels(array, "predictions")
    except ValueError as error:
        raise ValueError(f"{error} (for scores or probabilities give threshold=)") from None
    same_length(labels=truth, predictions=guess)
    return truth, guess


def counts(labels: ArrayLike, predictions: ArrayLike, *, threshold: float | None = None) -> Counts:
    """Count true and false positives and negatives.

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.

    Returns:
        The four counts.

    Examples:
        >>> counts([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], threshold=0.5)
        Counts(tp=1, fp=1, fn=1, tn=1)
    """
    truth, guess = decisions(labels, predictions, threshold)
    tp = int((truth & guess).sum())
    fp = int((~truth & guess).sum())
    fn = int((truth & ~guess).sum())
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def _share(
    hit: NDArray[np.bool_],
    among: NDArray[np.bool_],
    name: str,
    empty: str,
    method: str,
    level: float,
    groups: ArrayLike | None,
    unit: str | None,
) -> Estimate:
    """Estimate the share of `hit` among the chosen rows."""
    check_level(level)
    if not among.any():
        return Estimate(
            float("nan"),
            0.0,
            1.0,
            level,
            0,
            unit or "case",
            spelled(method),
            (f"{name} is undefined: {empty}",),
            name=name,
        )
    if groups is not None:
        g = np.asarray(groups)
        same_length(labels=hit, groups=g)
        if len(np.unique(g[among])) >= 2:
            return clustered_proportion(
                hit[among], g[among], method=method, level=level, unit=unit or "patient", name=name
            )
    return proportion(
        int(hit[among].sum()),
        int(among.sum()),
        method=method,
        level=level,
        unit=unit or "case",
        name=name,
    )


def sensitivity(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the sensitivity (recall), TP / (TP + FN).

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.
        method: interval, as in `proportion`.
        level: confidence level.
        groups: (cases,) patient of each row: the interval then counts patients.
        unit: what is counted.

    Returns:
        The estimate; undefined with a note where no case is positive.

    Raises:
        ValueError: for labels other than 0/1, NaN, or scores without a threshold.

    Examples:
        >>> print(sensitivity([1, 1, 1, 0], [1, 1, 0, 0]))
        sensitivity 0.667 (95% CI 0.208 to 0.939; n = 3 cases, wilson)
    """
    truth, guess = decisions(labels, predictions, threshold)
    return _share(guess, truth, "sensitivity", "no positive case", method, level, groups, unit)


def specificity(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the specificity, TN / (TN + FP). Arguments as in `sensitivity`.

    Examples:
        >>> specificity([0, 0, 1], [0, 1, 1]).value
        0.5
    """
    truth, guess = decisions(labels, predictions, threshold)
    return _share(~guess, ~truth, "specificity", "no negative case", method, level, groups, unit)


def _predictive(
    labels: ArrayLike,
    predictions: ArrayLike,
    threshold: float | None,
    prevalence: float | None,
    method: str,
    level: float,
    groups: ArrayLike | None,
    unit: str | None,
    positive: bool,
) -> Estimate:
    truth, guess = decisions(labels, predictions, threshold)
    name, empty = (
        ("PPV", "nothing was called positive")
        if positive
        else ("NPV", "nothing was called negative")
    )
    if prevalence is None:
        hit, among = (truth, guess) if positive else (~truth, ~guess)
        return _share(hit, among, name, empty, method, level, groups, unit)
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie in (0, 1), but is {prevalence}")
    if groups is not None:
        raise ValueError("a predictive value at a stated prevalence takes no groups yet")
    se_ = _share(guess, truth, "sensitivity", "no positive case", "wilson", level, None, unit)
    sp_ = _share(~guess, ~truth, "specificity", "no negative case", "wilson", level, None, unit)
    odds = prevalence / (1 - prevalence)
    notes: tuple[str, ...] = (f"at a stated prevalence of {prevalence:g}",)
    n1, n0 = se_.n, sp_.n
    if not n1 or not n0:
        return Estimate(
            float("nan"),
            0.0,
            1.0,
            level,
            truth.size,
            unit or "case",
            "mercaldo-logit",
            (*notes, f"{name} is undefined: it needs both classes"),
            name=name,
        )
    # logit PPV = log odds + log(Se / (1 - Sp)); logit NPV = -log odds + log(Sp / (1 - Se)).
    top, bottom = (se_.value, 1 - sp_.value) if positive else (sp_.value, 1 - se_.value)
    value = top * odds / (top * odds + bottom) if positive else top / (top + bottom * odds)
    if not np.isfinite(value):
        return Estimate(
            float("nan"),
            0.0,
            1.0,
            level,
            truth.size,
            unit or "case",
            "mercaldo-logit",
            (*notes, f"{name} is undefined: {empty}"),
            name=name,
        )
    n_top, n_bottom = (n1, n0) if positive else (n0, n1)
    if top in (0, 1) or bottom in (0, 1):  # zero cells: half a case is added (Mercaldo 2007)
        top_v = (top * n_top + 0.5) / (n_top + 1)
        bottom_v = (bottom * n_bottom + 0.5) / (n_bottom + 1)
        notes += ("zero cell: half a case was added to each class for the interval",)
    else:
        top_v, bottom_v = top, bottom
    variance = (1 - top_v) / (top_v * n_top) + (1 - bottom_v) / (bottom_v * n_bottom)
    centre = np.log(top_v / bottom_v) + (np.log(odds) if positive else -np.log(odds))
    half = quantile(level) * np.sqrt(variance)
    return Estimate(
        float(value),
        float(special.expit(centre - half)),
        float(special.expit(centre + half)),
        level,
        truth.size,
        unit or "case",
        "mercaldo-logit",
        notes,
        name=name,
    )


def ppv(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    prevalence: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    r"""Estimate the positive predictive value (precision), in the sample or at a prevalence.

    .. math:: \frac{Se\,\pi}{Se\,\pi + (1 - Sp)(1 - \pi)}

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`.
        threshold: a score of this or more is positive.
        prevalence: of the population meant; without it the sample's own, which is right only
            where cases were not chosen by their label.
        method: interval of the sample's value, as in `proportion`.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: what is counted.

    Returns:
        The estimate.

    Raises:
        ValueError: as `sensitivity`, and for a prevalence outside (0, 1).

    References:
        Mercaldo, Lau, Zhou (2007), Stat Med 26:2170.

    Examples:
        >>> round(ppv([1, 1, 0, 0], [1, 1, 1, 0], prevalence=0.01).value, 4)
        0.0198
    """
    return _predictive(
        labels, predictions, threshold, prevalence, method, level, groups, unit, True
    )


def npv(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    threshold: float | None = None,
    prevalence: float | None = None,
    method: str = "wilson",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    """Estimate the negative predictive value. Arguments as in `ppv`.

    Examples:
        >>> npv([1, 0, 0], [0, 0, 0]).notes
        ()
    """
    return _predictive(
        labels, predictions, threshold, prevalence, method, level, groups, unit, False
    )


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
        unit: what is counted.

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
        unit: what is counted.

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
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    """Estimate Youden's index, sensitivity + specificity - 1, at a fixed decision.

    Args:
        labels: (cases,) 0 or 1.
        predictions: (cases,) 0 or 1, or scores together with `threshold`. A threshold chosen on
            the same data makes the value too high and the interval too narrow.
        threshold: a score of this or more is positive.
        method: `square-and-add` (of Wilson intervals, good at the ends) or `wald`.
        level: confidence level.
        unit: what is counted.

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
    elif name == "square-and-add":
        parts = [
            (se, *proportion_limits(tp, n1, level=level)),
            (sp, *proportion_limits(tn, n0, level=level)),
        ]
        low, high = square_and_add(value, parts, [1.0, 1.0])
    else:
        raise unknown("method", method, ("square-and-add", "wald"))
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
