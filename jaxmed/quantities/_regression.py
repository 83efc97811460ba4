"""Errors of numbers: targets, outputs and weights (n,), or (b, n) weights for b values at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed.quantities._means import divide
from jaxmed.quantities._scale import unit_scale


def mae(targets: Any, outputs: Any, weights: Any = None) -> Any:
    """Return the mean absolute error.

    Examples:
        >>> float(mae(np.array([1.0, 4.0]), np.array([1.0, 2.0])))
        1.0
    """
    return _mean(abs(outputs - targets), weights)


def mse(targets: Any, outputs: Any, weights: Any = None) -> Any:
    """Return the mean squared error."""
    return _mean((outputs - targets) ** 2, weights)


def rmse(targets: Any, outputs: Any, weights: Any = None) -> Any:
    """Return the root of the mean squared error."""
    gap = outputs - targets
    scale = unit_scale(gap)
    return np.sqrt(_mean((gap / scale) ** 2, weights)) * scale


def bias(targets: Any, outputs: Any, weights: Any = None) -> Any:
    """Return the mean error, above 0 where the outputs are too large."""
    return _mean(outputs - targets, weights)


def r2(targets: Any, outputs: Any, weights: Any = None) -> Any:
    r"""Return the coefficient of determination, NaN for a constant target.

    Examples:
        >>> y, x = np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0])
        >>> round(float(r2(y, x)), 4)
        0.9486
    """
    scale = unit_scale(targets, outputs)
    targets, outputs = targets / scale, outputs / scale
    if weights is None:
        spread, centre = ((targets - targets.mean()) ** 2).mean(), targets.mean()
    else:
        near = targets - targets.mean()  # squares of what is near 0 keep their digits
        centre = _mean(near, weights)
        spread = _mean(near**2, weights) - centre**2
    return explained(mse(targets, outputs, weights), spread)


def explained(squared: Any, spread: Any) -> Any:
    r"""Return :math:`1 - \sum (y - x)^2 / \sum (y - \bar y)^2` from the two sums or means."""
    return 1 - divide(squared, spread, float("nan"))


def _mean(values: Any, weights: Any) -> Any:
    if weights is None:
        return np.mean(values)
    return (weights @ values) / weights.sum(-1)
