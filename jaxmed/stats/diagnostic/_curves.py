"""ROC and precision-recall curves, their points and pointwise bands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats.checks import (
    Floats,
    as_array,
    binary_scores,
    both_classes,
    check_level,
    group_codes,
    spelled,
    unknown,
)
from jaxmed.stats.diagnostic._proportion import proportion_limits
from jaxmed.stats.resampling._resample import resample_weights


class RocCurve(NamedTuple):
    """Points from (0, 0) to (1, 1).

    fpr: 1 - specificity; tpr: sensitivity; thresholds: a score of this or more is positive, the
    first infinite.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


class PrCurve(NamedTuple):
    """Points of falling threshold; recall rises to 1. `prevalence` is the chance level."""

    recall: Floats
    precision: Floats
    thresholds: Floats
    prevalence: float


class Band(NamedTuple):
    """A curve on a grid with pointwise limits."""

    x: Floats
    value: Floats
    lower: Floats
    upper: Floats
    level: float
    method: str


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Return the empirical ROC curve, one point per distinct score.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.

    Returns:
        The points, in order of decreasing threshold.

    Raises:
        ValueError: for one class only, NaN or unequal lengths.

    Examples:
        >>> roc_curve([0, 1, 1], [0.1, 0.4, 0.4]).tpr
        array([0., 1., 1.])
    """
    positive, x = binary_scores(labels, scores)
    n1, n0 = both_classes(positive)
    order = np.argsort(-x, kind="stable")
    ordered = x[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), x.size - 1)
    hits = np.cumsum(positive[order])[ends]
    return RocCurve(
        np.concatenate(([0.0], (ends + 1 - hits) / n0)),
        np.concatenate(([0.0], hits / n1)),
        np.concatenate(([np.inf], ordered[ends])),
    )


def pr_curve(labels: ArrayLike, scores: ArrayLike) -> PrCurve:
    """Return the empirical precision-recall curve, one point per distinct score.

    Arguments and errors as in `roc_curve`.

    Examples:
        >>> pr_curve([0, 1, 1], [0.1, 0.4, 0.5]).precision.round(3)
        array([1.   , 1.   , 0.667])
    """
    positive, x = binary_scores(labels, scores)
    n1, n0 = both_classes(positive)
    order = np.argsort(-x, kind="stable")
    ordered = x[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), x.size - 1)
    hits = np.cumsum(positive[order])[ends]
    return PrCurve(hits / n1, hits / (ends + 1), ordered[ends], n1 / (n1 + n0))


def _tpr_at(fpr: Floats, tpr: Floats, grid: Floats) -> Floats:
    """Return the sensitivity at each rate: the top of vertical steps, linear in between."""
    # Among points at one rate np.interp uses the last; the nudge guards against rounding.
    return np.interp(grid + 1e-12, fpr, tpr)


def roc_band(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    grid: ArrayLike | None = None,
    method: str = "bootstrap",
    level: float = 0.95,
    groups: ArrayLike | None = None,
    n_resamples: int = 500,
    seed: int = 0,
) -> Band:
    """Return sensitivity on a grid of false-positive rates with pointwise limits.

    Limits are pointwise, not simultaneous for the whole curve.

    Args:
        labels: (cases,) 0 or 1.
        scores: (cases,) higher for positives.
        grid: false-positive rates; 101 even ones if absent.
        method: `bootstrap` (stratified, or by patient with groups) or `wilson` (of the
            sensitivity at the empirical threshold, which ignores that the threshold is
            estimated and is too narrow where the curve is steep).
        level: confidence level of the limits.
        groups: (cases,) patient of each row.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Returns:
        The band; from 0 to 1 where all rows are of one group.

    Raises:
        ValueError: as `roc_curve`.

    Examples:
        >>> band = roc_band([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], grid=[0.5], n_resamples=50)
        >>> float(band.value[0])
        1.0
    """
    check_level(level)
    positive, x = binary_scores(labels, scores)
    n1, _ = both_classes(positive)
    at = np.linspace(0, 1, 101) if grid is None else as_array(grid, "grid", np.float64)
    if not (at.min() >= 0 and at.max() <= 1):
        raise ValueError("grid holds rates outside [0, 1]")
    curve = roc_curve(positive, x)
    value = _tpr_at(curve.fpr, curve.tpr, at)
    chosen = spelled(method)
    if chosen == "wilson":
        limits = np.array([proportion_limits(v * n1, n1, level=level) for v in value])
        return Band(at, value, limits[:, 0], limits[:, 1], level, "wilson, pointwise")
    if chosen != "bootstrap":
        raise unknown("method", method, ("bootstrap", "wilson"))
    if _one_group(groups, x.size):
        return _whole_band(at, value, level)
    order = np.argsort(-x, kind="stable")
    ordered = x[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), x.size - 1)
    is_positive = positive[order]
    curves = []
    rng = np.random.default_rng(seed)
    chunks = resample_weights(
        rng, x.size, n_resamples, groups=groups, strata=positive if groups is None else None
    )
    for weights in chunks:
        drawn = weights[:, order]
        hits = np.cumsum(drawn * is_positive, axis=1)[:, ends]
        alarms = np.cumsum(drawn * ~is_positive, axis=1)[:, ends]
        for h, a in zip(hits, alarms, strict=True):
            if h[-1] > 0 and a[-1] > 0:
                fpr = np.concatenate(([0.0], a / a[-1]))
                curves.append(_tpr_at(fpr, np.concatenate(([0.0], h / h[-1])), at))
    if len(curves) < n_resamples / 2:
        raise ValueError("a class is missing in most resamples: too few groups")
    alpha = (1 - level) / 2
    low, high = np.quantile(np.stack(curves), [alpha, 1 - alpha], axis=0)
    return Band(at, value, low, high, level, f"percentile bootstrap ({n_resamples}), pointwise")


def _one_group(groups: ArrayLike | None, n: int) -> bool:
    return groups is not None and group_codes(groups, n)[1] == 1


def _whole_band(at: Floats, value: Floats, level: float) -> Band:
    """The band of rows that are all of one group: nothing says how groups differ."""
    zero = np.zeros_like(value)
    return Band(at, value, zero, zero + 1, level, "no limits: all rows are of one group")


def pr_band(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    grid: ArrayLike | None = None,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    n_resamples: int = 500,
    seed: int = 0,
) -> Band:
    """Return precision on a grid of recalls with pointwise bootstrap limits.

    The precision at a recall is that of the highest threshold that reaches it (linear
    interpolation would be too optimistic). Arguments as in `roc_band`.

    Examples:
        >>> band = pr_band([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], grid=[0.5], n_resamples=50)
        >>> float(band.value[0])
        1.0
    """
    check_level(level)
    positive, x = binary_scores(labels, scores)
    both_classes(positive)
    at = np.linspace(0, 1, 101) if grid is None else as_array(grid, "grid", np.float64)
    order = np.argsort(-x, kind="stable")
    ordered = x[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), x.size - 1)
    is_positive = positive[order]

    def read(hits: Floats, called: Floats) -> Floats:
        seen = called > 0
        hits, called = hits[seen], called[seen]
        index = np.searchsorted(hits / hits[-1], at - 1e-12, "left")
        index = np.minimum(index, hits.size - 1)
        return hits[index] / called[index]

    counts = np.cumsum(is_positive)[ends].astype(np.float64)
    value = read(counts, ends + 1.0)
    if _one_group(groups, x.size):
        return _whole_band(at, value, level)
    curves = []
    rng = np.random.default_rng(seed)
    chunks = resample_weights(
        rng, x.size, n_resamples, groups=groups, strata=positive if groups is None else None
    )
    for weights in chunks:
        drawn = weights[:, order]
        hits = np.cumsum(drawn * is_positive, axis=1)[:, ends]
        called = np.cumsum(drawn, axis=1)[:, ends]
        curves += [read(h, c) for h, c in zip(hits, called, strict=True) if h[-1] > 0]
    alpha = (1 - level) / 2
    low, high = np.quantile(np.stack(curves), [alpha, 1 - alpha], axis=0)
    return Band(at, value, low, high, level, f"percentile bootstrap ({n_resamples}), pointwise")
