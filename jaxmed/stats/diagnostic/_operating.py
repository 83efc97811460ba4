"""Operating points, partial AUC, and sensitivity at fixed specificity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats._result import Estimate, of_one_group
from jaxmed.stats.checks import (
    Floats,
    binary_scores,
    both_classes,
    check_level,
    group_codes,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._curves import RocCurve, _tpr_at, roc_curve
from jaxmed.stats.resampling._bootstrap import bootstrap


class OperatingPoint(NamedTuple):
    """A threshold with its (optimistic) rates on the data it was chosen on."""

    threshold: float
    sensitivity: float
    specificity: float
    rule: str


def _fpr_at(fpr: Floats, tpr: Floats, grid: Floats) -> Floats:
    """Return the false-positive rate at each sensitivity: the leftmost point of each level."""
    return np.interp(grid - 1e-12, tpr, fpr)


def _between(cuts: Floats) -> Floats:
    """Return a threshold between each observed score and the next lower one.

    This is the midpoint, unless the two are neighbouring doubles or infinite, where the midpoint
    may equal the lower one and make it positive too; then it is the upper score.
    """
    upper, lower = cuts[1:-1], cuts[2:]
    with np.errstate(invalid="ignore"):
        middle = 0.5 * upper + 0.5 * lower
    apart = (middle > lower) & (middle <= upper)
    return np.concatenate(([np.inf], np.where(apart, middle, upper), [-np.inf]))


def operating_points(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    rule: str = "youden",
    cost_ratio: float = 1.0,
    prevalence: float = 0.5,
    at: float | None = None,
) -> list[OperatingPoint]:
    r"""Choose thresholds by a rule; all tied thresholds are returned.

    Thresholds lie midway between observed scores. Choose them on validation data and report on test
    data: rates on the data used for the choice are optimistic.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        rule: `youden` (largest Se + r Sp, with :math:`r = \frac{1 - \pi}{c\,\pi}`),
            `closest-topleft`, `sensitivity` (the most specific with at least `at`) or
            `specificity` (the most sensitive with at least `at`).
        cost_ratio: c, cost of a missed positive divided by that of a false alarm, for `youden`.
        prevalence: prevalence of the population meant, for `youden`; .5 with cost 1 is Youden's
            index.
        at: the rate of the last two rules.

    Returns:
        The points, in order of increasing threshold.

    Raises:
        ValueError: for unknown rules, one class only, or `at` missing.

    References:
        Youden (1950), Cancer 3:32. Perkins and Schisterman (2006), Am J Epidemiol 163:670.

    Examples:
        >>> operating_points([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[0].sensitivity
        1.0
    """
    curve = roc_curve(labels, scores)
    sensitivity, specificity = curve.tpr, 1 - curve.fpr
    # A score at the threshold is positive: midway below it, and -inf below the last.
    middle = _between(curve.thresholds)
    chosen = spelled(rule)
    if chosen == "youden":
        if not 0 < prevalence < 1 or not cost_ratio > 0:
            raise ValueError("prevalence must lie in (0, 1) and cost_ratio must be positive")
        weight = (1 - prevalence) / (cost_ratio * prevalence)
        merit = sensitivity + weight * specificity
    elif chosen in ("closest-topleft", "closest.topleft"):
        chosen = "closest-topleft"
        merit = -((1 - sensitivity) ** 2 + (1 - specificity) ** 2)
    elif chosen in ("sensitivity", "specificity"):
        if at is None or not 0 <= at <= 1:
            raise ValueError(f"rule {chosen!r} needs at= in [0, 1], but it is {at}")
        held, other = (
            (sensitivity, specificity) if chosen == "sensitivity" else (specificity, sensitivity)
        )
        merit = np.where(held >= at - 1e-12, other, -np.inf)
    else:
        raise unknown("rule", rule, ("youden", "closest-topleft", "sensitivity", "specificity"))
    if curve.thresholds.size > 1 and np.isposinf(curve.thresholds[1]):
        merit[0] = -np.inf  # a score of +inf is positive at every threshold
        if not np.isfinite(merit).any():
            raise ValueError(f"no threshold reaches a {chosen} of {at}: a negative scores +inf")
    best = np.flatnonzero(merit >= merit.max() - 1e-12)[::-1]
    return [
        OperatingPoint(float(middle[i]), float(sensitivity[i]), float(specificity[i]), chosen)
        for i in best
    ]


def _partial(curve: RocCurve, low: float, high: float, focus: str) -> float:
    """Integrate the curve over a part of one axis by the trapezoidal rule."""
    if focus == "specificity":
        a, b = 1 - high, 1 - low
        x0, x1, y0, y1 = curve.fpr[:-1], curve.fpr[1:], curve.tpr[:-1], curve.tpr[1:]
        left, right = np.maximum(x0, a), np.minimum(x1, b)
        inside = (right > left) & (x1 > x0)
        x0, x1, y0, y1 = x0[inside], x1[inside], y0[inside], y1[inside]
        left, right = left[inside], right[inside]
        middle = y0 + (y1 - y0) * ((left + right) / 2 - x0) / (x1 - x0)
        return float(np.sum(middle * (right - left)))
    flipped = RocCurve(1 - curve.tpr[::-1], 1 - curve.fpr[::-1], curve.thresholds)
    return _partial(flipped, low, high, "specificity")


def partial_auc_value(
    labels: ArrayLike, scores: ArrayLike, limits: tuple[float, float], focus: str, corrected: bool
) -> float:
    """Return the partial area (see `partial_auc`); NaN if McClish's correction is undefined."""
    low, high = min(limits), max(limits)
    if not 0 <= low < high <= 1:
        raise ValueError(f"limits must be two rates in [0, 1], but are {limits}")
    area = _partial(roc_curve(labels, scores), low, high, focus)
    if not corrected:
        return area
    a, b = 1 - high, 1 - low
    chance, most = (b * b - a * a) / 2, b - a
    return (1 + (area - chance) / (most - chance)) / 2 if area >= chance else float("nan")


def partial_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    limits: tuple[float, float] = (0.9, 1.0),
    focus: str = "specificity",
    corrected: bool = False,
    method: str = "percentile",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the area under a part of the ROC curve.

    McClish's correction maps chance to .5 and the perfect curve to 1:
    :math:`\frac12 (1 + \frac{A - A_{chance}}{A_{max} - A_{chance}})`.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        limits: two rates of the axis in focus.
        focus: axis of the limits, `specificity` or `sensitivity`.
        corrected: apply McClish's correction (undefined below the diagonal).
        method: bootstrap interval: `percentile`, `basic`, `normal` or `bca`.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap (stratified by label, or by patient).
        seed: seed of the bootstrap.

    Returns:
        The estimate.

    Raises:
        ValueError: for one class only, NaN or limits outside [0, 1].

    References:
        McClish (1989), Med Decis Making 9:190.

    Examples:
        >>> y, x = [0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]
        >>> round(partial_auc(y, x, limits=(0.8, 1.0), n_resamples=50).value, 6)
        0.2
    """
    if focus not in ("specificity", "sensitivity"):
        raise unknown("focus", focus, ("specificity", "sensitivity"))
    check_level(level)
    positive, x = binary_scores(labels, scores)
    both_classes(positive)
    value = partial_auc_value(positive, x, limits, focus, corrected)
    name = "partial AUC" + (" (McClish)" if corrected else "")
    if np.isnan(value):
        return Estimate(
            value,
            0.0,
            1.0,
            level,
            x.size,
            unit or "case",
            spelled(method),
            ("below the diagonal: the corrected area is undefined",),
            name=name,
        )

    if groups is not None and group_codes(groups, x.size)[1] == 1:
        widest = 1.0 if corrected else abs(limits[1] - limits[0])
        return of_one_group(
            value, (0.0, widest), rows=x.size, level=level, unit=unit, method=spelled(method),
            name=name,
        )  # fmt: skip

    def statistic(y: NDArray[np.bool_], s: Floats) -> float:
        return partial_auc_value(y, s, limits, focus, corrected)

    return bootstrap(
        statistic,
        positive,
        x,
        method=method,
        level=level,
        n_resamples=n_resamples,
        groups=groups,
        strata=positive if groups is None else None,
        seed=seed,
        unit=unit,
        name=name,
    )


def rate_at(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    specificity: float | None = None,
    sensitivity: float | None = None,
    method: str = "percentile",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Estimate the sensitivity at a fixed specificity, or the reverse, on the empirical curve.

    The curve is interpolated linearly between points.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        specificity: the fixed specificity; or
        sensitivity: the fixed sensitivity. Exactly one of the two.
        method: bootstrap interval.
        level: confidence level.
        groups: (cases,) patient of each row.
        unit: name of the counted unit.
        n_resamples: number of resamples of the bootstrap (stratified by label, or by patient).
        seed: seed of the bootstrap.

    Returns:
        The estimate.

    Raises:
        ValueError: unless exactly one rate in [0, 1] is given; one class only; NaN.

    Examples:
        >>> y, x = [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]
        >>> round(rate_at(y, x, specificity=0.9, n_resamples=50).value, 4)
        0.6667
    """
    fixed = specificity if sensitivity is None else sensitivity
    if fixed is None or None not in (specificity, sensitivity):
        raise ValueError("give exactly one of specificity= and sensitivity=")
    if not 0 <= fixed <= 1:
        raise ValueError(f"the fixed rate must lie in [0, 1], but is {fixed}")
    positive, x = binary_scores(labels, scores)
    both_classes(positive)

    def statistic(y: NDArray[np.bool_], s: Floats) -> float:
        return rate_value(y, s, fixed, sensitivity is None)

    held, free = (
        ("specificity", "sensitivity") if sensitivity is None else ("sensitivity", "specificity")
    )
    name = f"{free} at {held} {fixed:g}"
    if groups is not None and group_codes(groups, x.size)[1] == 1:
        return of_one_group(
            statistic(positive, x), (0.0, 1.0), rows=x.size, level=check_level(level), unit=unit,
            method=spelled(method), name=name,
        )  # fmt: skip
    return bootstrap(
        statistic,
        positive,
        x,
        method=method,
        level=level,
        n_resamples=n_resamples,
        groups=groups,
        strata=positive if groups is None else None,
        seed=seed,
        unit=unit,
        name=name,
    )


def rate_value(labels: ArrayLike, scores: ArrayLike, fixed: float, at_specificity: bool) -> float:
    """Return the sensitivity at a specificity, or the specificity at a sensitivity."""
    curve = roc_curve(labels, scores)
    if at_specificity:
        return float(_tpr_at(curve.fpr, curve.tpr, np.array([1 - fixed]))[0])
    return float(1 - _fpr_at(curve.fpr, curve.tpr, np.array([fixed]))[0])
