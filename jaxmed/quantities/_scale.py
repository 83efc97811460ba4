"""The scale at which values are squared, so that no unit of theirs under- or overflows."""

from __future__ import annotations

from typing import Any

import numpy as np


def unit_scale(*arrays: Any) -> float:
    """Return a power of two near the largest absolute value, 1 where all are 0 or not finite.

    Values divided by it have squares that neither underflow nor overflow, and the division is
    exact: results for values of usual size are the same to the bit.

    Examples:
        >>> unit_scale([3e-200, -5e-200]) <= 1e-199, unit_scale([0.0])
        (True, 1.0)
    """
    top = max(float(np.max(np.abs(array), initial=0.0)) for array in map(np.asarray, arrays))
    if top == 0 or not np.isfinite(top):
        return 1.0
    return float(np.ldexp(1.0, min(max(int(np.frexp(top)[1]), -1021), 1023)))


def deviation(values: Any, ddof: int = 1) -> float:
    """Return the standard deviation of values of any unit, however small or large.

    Examples:
        >>> round(deviation([1e-200, 2e-200, 3e-200]) / 1e-200, 12)
        1.0
    """
    x = np.asarray(values, np.float64)
    scale = unit_scale(x)
    return float((x / scale).std(ddof=ddof)) * scale
