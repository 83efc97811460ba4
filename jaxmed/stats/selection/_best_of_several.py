"""Bias of choosing the best of several models, and its correction (BBC-CV)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import as_array, check_level, group_codes


def bbc_cv(
    metric: Callable[..., Any],
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    unit: str | None = None,
) -> Estimate:
    """Estimate the performance of the best of several configurations, corrected for the choice.

    The best of many is optimistic. Out-of-fold predictions of all configurations are resampled: on
    each resample the best is chosen and scored on the cases left out.

    Args:
        metric: `(labels, predictions) -> number`, higher is better.
        labels: (cases,) truth.
        predictions: (configurations, cases, ...) out-of-fold predictions of each.
        level: confidence level.
        groups: (cases,) patient of each row: whole patients are drawn.
        n_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
        unit: name of the drawn unit.

    Returns:
        The corrected estimate; `details` has the naive value of the best and the bias.

    Raises:
        ValueError: for other shapes, or a metric undefined on most resamples.

    References:
        Tsamardinos, Greasidou, Borboudakis (2018), Mach Learn 107:1895.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, 100)
        >>> noise = rng.integers(0, 2, (20, 100))  # twenty coins
        >>> e = bbc_cv(lambda y, p: np.mean(y == p), y, noise, n_resamples=200)
        >>> e.value < e.details["naive"]
        True
    """
    check_level(level)
    y, p = as_array(labels, "labels"), as_array(predictions, "predictions")
    if p.ndim < 2 or p.shape[1] != len(y):
        raise ValueError(f"predictions must be (configurations, {len(y)}, ...), but are {p.shape}")
    codes, k = group_codes(groups, len(y))
    unit_of = np.arange(len(y)) if codes is None else codes
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(n_resamples):
        counts = np.bincount(rng.integers(0, k, k), minlength=k)
        weights = counts[unit_of]
        inside, outside = np.repeat(np.arange(len(y)), weights), np.flatnonzero(weights == 0)
        try:
            best = int(np.nanargmax([metric(y[inside], q[inside]) for q in p]))
            scores.append(float(metric(y[outside], p[best][outside])))
        except ValueError:  # one class only on a side: left out
            continue
    good = np.array([s for s in scores if np.isfinite(s)])
    if good.size < n_resamples / 2:
        raise ValueError(f"the metric is undefined on {n_resamples - good.size} resamples")
    naive = max(float(metric(y, q)) for q in p)
    alpha = (1 - level) / 2
    low, high = np.quantile(good, [alpha, 1 - alpha])
    value = float(good.mean())
    return Estimate(
        value,
        float(low),
        float(high),
        level,
        k,
        unit or ("case" if codes is None else "patient"),
        f"BBC-CV ({n_resamples} resamples)",
        se=float(good.std(ddof=1)),
        details={"naive": naive, "bias": naive - value, "configurations": len(p)},
        name="best configuration",
    )
