"""Intervals and tests from influence values: what each case adds to an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.stats._result import Estimate, TestResult, of_one_group
from jaxmed.stats.checks import Floats, group_codes, quantile
from jaxmed.stats.diagnostic._auc import logit_limits

METHOD = "infinitesimal jackknife"


def jackknife_error(influence: Floats, groups: ArrayLike | None) -> tuple[float, int]:
    """Return the standard error, and the number of cases or groups that it rests on."""
    codes, k = group_codes(groups, len(influence))
    each = influence if codes is None else np.bincount(codes, influence, k)
    return float(np.sqrt(np.sum(each**2))), k


def estimate(
    value: float,
    influence: Floats,
    *,
    name: str,
    level: float,
    groups: ArrayLike | None,
    unit: str | None,
    logit: bool,
    notes: tuple[str, ...] = (),
    details: Mapping[str, Any] | None = None,
) -> Estimate:
    """Build an estimate in [0, 1] from its influence values.

    Args:
        value: the estimate.
        influence: (cases,) its derivative in each case's weight.
        name: of the quantity.
        level: confidence level.
        groups: (cases,) patient of each case, or None.
        unit: name of the counted unit.
        logit: whether the limits are made on the logit scale, or on the value's own.
        notes: to report with it.
        details: further numbers.
    """
    z = quantile(level)
    se, k = jackknife_error(influence, groups)
    if groups is not None and k == 1:
        return of_one_group(
            value, (0.0, 1.0), rows=len(influence), level=level, unit=unit, method=METHOD,
            name=name, details=details,
        )  # fmt: skip
    if logit and 0 < value < 1 and se > 0:
        lower, upper = logit_limits(value, se, z)
        method = f"{METHOD}, logit"
    else:
        lower, upper = max(value - z * se, 0.0), min(value + z * se, 1.0)
        method = f"{METHOD}, normal"
    unit = unit or ("case" if groups is None else "patient")
    return Estimate(
        value, lower, upper, level, k, unit, method, notes, se, details or {}, name
    )  # fmt: skip


def difference(
    effect: float,
    influence: Floats,
    *,
    name: str,
    level: float,
    groups: ArrayLike | None,
    unit: str | None,
    details: Mapping[str, Any],
) -> TestResult:
    """Build the normal test of a difference from the difference of influence values."""
    z = quantile(level)
    se, k = jackknife_error(influence, groups)
    notes: tuple[str, ...] = ()
    if se == 0:
        notes = ("the two agree in every comparison: nothing says how they differ",)
    statistic = effect / se if se > 0 else 0.0
    return TestResult(
        statistic, float(2 * special.ndtr(-abs(statistic))), effect,
        (effect - z * se, effect + z * se), k, unit or ("case" if groups is None else "patient"),
        f"paired {METHOD}", notes, level, details={"se": se, **details}, name=name,
    )  # fmt: skip
