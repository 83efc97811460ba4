"""Ratios and means with undefined parts."""

from __future__ import annotations

from typing import Any

import numpy as np


def divide(above: Any, below: Any, empty: float) -> Any:
    """Return `above / below`, with `empty` for 0 / 0; for real and complex numbers.

    Examples:
        >>> divide([1, 0], [2, 0], float("nan"))
        array([0.5, nan])
    """
    above, below = np.asarray(above), np.asarray(below)
    nothing = np.real(below) == 0
    return np.where(nothing, empty, above / np.where(nothing, 1, below))


def mean_defined(values: Any, weights: Any = None) -> float:
    """Return the (weighted) mean of the values that are not NaN; NaN if there is none.

    Examples:
        >>> mean_defined([0.5, float("nan"), 1.0])
        0.75
    """
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, np.float64)
    total = weights[defined].sum()
    return float((values[defined] * weights[defined]).sum() / total) if total > 0 else float("nan")
