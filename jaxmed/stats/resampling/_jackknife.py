"""The jackknife, leaving out one unit at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import unit_scale
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import (
    as_array,
    check_level,
    group_codes,
    same_length,
)
from jaxmed.stats.resampling._bootstrap import _evaluator, jackknife_values


def jackknife(
    statistic: Callable[..., Any],
    *data: ArrayLike,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    weighted: bool = False,
    unit: str | None = None,
    name: str = "",
) -> Estimate:
    r"""Estimate a smooth statistic with the jackknife's error and a t interval.

    .. math:: s^2 = \frac{k-1}{k} \sum_i (\theta_{(i)} - \bar\theta)^2

    Not valid for quantiles: the jackknife of a median is inconsistent.

    Args:
        statistic: as in `bootstrap`.
        *data: arrays with the same number of rows.
        level: confidence level.
        groups: (rows,) units left out whole.
        weighted: whether the statistic takes weights.
        unit: name of the unit left out.
        name: name of the statistic.

    Returns:
        The estimate (not corrected for bias, which is in `details`).

    Raises:
        ValueError: for fewer than two units.

    References:
        Efron and Tibshirani (1993), chapter 11.

    Examples:
        >>> round(jackknife(np.mean, [1.0, 2.0, 3.0, 4.0]).se, 4)  # equals s / sqrt(n)
        0.6455
    """
    check_level(level)
    arrays = tuple(as_array(array, f"data {i}") for i, array in enumerate(data))
    n = same_length(**{f"data {i}": array for i, array in enumerate(arrays)})
    codes, k = group_codes(groups, n)
    if k < 2:
        raise ValueError(f"a jackknife needs at least 2 units, but there is {k}")
    evaluate = _evaluator(statistic, arrays, weighted)
    point = float(evaluate(np.ones((1, n)))[0])
    values = jackknife_values(evaluate, n, codes, k)
    scale = unit_scale(values)
    gap = (values - values.mean()) / scale
    se = float(np.sqrt((k - 1) / k * np.sum(gap**2))) * scale
    half = float(special.stdtrit(k - 1, 0.5 + level / 2)) * se
    return Estimate(
        value=point,
        lower=point - half,
        upper=point + half,
        level=level,
        n=k,
        unit=unit or ("case" if codes is None else "patient"),
        method="jackknife t",
        se=se,
        details={"bias": float((k - 1) * (values.mean() - point))},
        name=name,
    )
