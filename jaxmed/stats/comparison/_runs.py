"""Mean of a metric over training runs, generalising to new runs and new cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import unit_scale
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, as_array, check_level, group_codes
from jaxmed.stats.readers._study import jackknife_covariance


def over_runs(
    metric: Callable[..., float],
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    baseline: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    name: str = "",
) -> Estimate:
    r"""Estimate the mean of a metric over training runs, with an interval over runs *and* cases.

    Runs that differ in their seed correspond to the readers of a reader study; this is Obuchowski
    and Rockette's analysis with random readers and random cases:

    .. math:: s^2 = S_d^2 / r + \max(\overline{C}, 0), \qquad
        \nu = (r - 1) \left(\frac{S_d^2 + r \max(\overline{C}, 0)}{S_d^2}\right)^2

    where :math:`S_d^2` is the variance of the runs' values, and :math:`\overline{C}` the mean
    jackknife covariance, over the cases, of two different runs. With a baseline each value is the
    difference between a run and the baseline run of the same index: pairs that share a seed (the
    labelled subset, the initial parameters) and the cases. A single run has no spread: its
    interval is over cases alone, and a note says so.

    Args:
        metric: `(labels, scores) -> number`.
        labels: (cases, ...).
        scores: (runs, cases, ...).
        baseline: (runs, cases, ...), run `i` paired with run `i` of `scores`.
        groups: (cases,) patients, where cases of one are not independent: the jackknife then leaves
            out a patient at a time.
        level: confidence level of the interval.
        bounds: of the metric, beyond which no interval goes; by default [0, 1] where every run's
            value lies inside, which of a distance must be said otherwise: ``(0, math.inf)``.
        name: name of the metric.

    Returns:
        The estimate. `details` has each run's value, `df`, and `p_value` of a difference of 0.

    Raises:
        ValueError: for fewer than two cases, or groups, or mismatched shapes.

    References:
        Obuchowski and Rockette (1995), Commun Stat Simul 24:285. Hillis (2014), Stat Med 33:330.

    Examples:
        >>> labels = np.array([0, 1, 0, 1])
        >>> called = np.array([[0, 1, 0, 0], [0, 1, 1, 1]])
        >>> accuracy = lambda y, x: float((y == x).mean())
        >>> over_runs(accuracy, labels, called).value
        0.75
    """
    check_level(level)
    y, x = as_array(labels, "labels"), as_array(scores, "scores")
    other = None if baseline is None else as_array(baseline, "baseline")
    if x.ndim < 2 or x.shape[1] != len(y) or len(y) < 2:
        raise ValueError(
            f"scores are (runs, cases, ...) with the cases of labels, two at least: labels have "
            f"the shape {y.shape}, scores {x.shape}"
        )
    if other is not None and other.shape != x.shape:
        raise ValueError(f"the baseline has the shape {other.shape}, the scores {x.shape}")
    codes, count = group_codes(groups, len(y))
    if count < 2:
        raise ValueError("groups are two at least: all cases are of one")
    units = np.arange(len(y)) if codes is None else codes
    values, left_out = _leave_one_out(metric, y, x, units)
    if other is not None:
        base, base_out = _leave_one_out(metric, y, other, units)
        values, left_out = values - base, left_out - base_out
    scale = unit_scale(values, left_out)
    covariance = jackknife_covariance(
        values / scale, left_out / scale, np.ones(left_out.shape, bool)
    )
    r, cases = x.shape[:2]
    notes: tuple[str, ...] = ()
    if r == 1:
        variance, df = float(covariance[0, 0]), np.inf
        notes = ("one run: the interval is over cases alone",)
    else:
        spread = float((values / scale).var(ddof=1))
        shared = max(float(covariance[~np.eye(r, dtype=bool)].mean()), 0.0)
        variance = spread / r + shared
        df = (r - 1) * ((spread + r * shared) / spread) ** 2 if spread > 0 else np.inf
        if r < 4:
            notes = (f"only {r} runs: their spread is hardly known",)
    value, se = float(values.mean()), float(np.sqrt(variance)) * scale
    half = _quantile(df, 0.5 + level / 2) * se
    known = bounds or _ends(values)
    ends = (-np.inf, np.inf) if other is not None else known
    details = {"runs": values.tolist(), "df": None if np.isinf(df) else float(df), "cases": cases}
    if groups is not None:
        details["groups"] = left_out.shape[1]
    if other is not None:
        details["p_value"] = _two_sided(value, se, df)
    return Estimate(
        value,
        max(value - half, ends[0]),
        min(value + half, ends[1]),
        level,
        r,
        "run",
        f"Obuchowski-Rockette, {'random runs and cases' if r > 1 else 'random cases'}"
        + (", paired" if other is not None else ""),
        notes,
        se=se,
        details=details,
        name=name,
    )


def _leave_one_out(
    metric: Callable[..., float], y: np.ndarray, scores: np.ndarray, units: np.ndarray
) -> tuple[Floats, Floats]:
    """Return the metric of each run, (runs,), and without each unit, (runs, units)."""
    values = np.array([float(metric(y, run)) for run in scores])
    left_out = np.empty((len(scores), int(units.max()) + 1))
    for unit in range(left_out.shape[1]):
        keep = units != unit
        left_out[:, unit] = [float(metric(y[keep], run[keep])) for run in scores]
    return values, left_out


def _ends(values: Floats) -> tuple[float, float]:
    """Return the bounds of the metric: [0, 1] if all values lie inside."""
    inside = values.min() >= 0 and values.max() <= 1
    return (0.0, 1.0) if inside else (-np.inf, np.inf)


def _quantile(df: float, at: float) -> float:
    return float(special.ndtri(at) if np.isinf(df) else special.stdtrit(df, at))


def _two_sided(value: float, se: float, df: float) -> float:
    if se == 0:
        return 1.0 if value == 0 else 0.0
    ratio = -abs(value) / se
    return 2 * float(special.ndtr(ratio) if np.isinf(df) else special.stdtr(df, ratio))
