"""From scores to decisions: the rules for thresholds and for ties, on NumPy's and JAX's arrays."""

from __future__ import annotations

import math
from typing import Any


def at_least(scores: Any, threshold: float) -> Any:
    """Return which scores are positive: those at the threshold or above it.

    Raises:
        ValueError: the threshold is NaN.

    Examples:
        >>> import numpy as np
        >>> at_least(np.array([0.4, 0.5, 0.6]), 0.5)
        array([False,  True,  True])
    """
    # Nothing reaches NaN: a threshold that failed to be found would call every case negative.
    if isinstance(threshold, float) and math.isnan(threshold):
        raise ValueError("threshold is NaN; give a number, or -inf or inf to call all or none")
    return scores >= threshold


def largest(scores: Any) -> Any:
    """Return the class of the largest score along the last axis, the first of equal ones.

    Examples:
        >>> import numpy as np
        >>> largest(np.array([[0.4, 0.4, 0.2], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
        array([0, 0, 2])
    """
    return scores.argmax(-1)


def second_is_largest(scores: Any) -> Any:
    """Return `largest(scores) == 1` for two scores a row."""
    return scores[..., 1] > scores[..., 0]


def logit(threshold: float) -> float:
    """Return the logit at which a probability reaches the threshold.

    Raises:
        ValueError: the threshold is not in (0, 1).

    Examples:
        >>> logit(0.5)
        0.0
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold}; it must be a probability in (0, 1)")
    return math.log(threshold / (1 - threshold))
