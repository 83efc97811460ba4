"""The error of a mean of rows in groups, shared by the estimate and the test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jaxmed.quantities import unit_scale
from jaxmed.stats.checks import Floats


def clustered_error(deviations: Floats, codes: NDArray[np.intp], k: int) -> float:
    """Return the standard error of a mean over groups: that of a ratio estimator.

    Args:
        deviations: (rows,) values less their mean.
        codes: (rows,) group of each row, 0 to k - 1.
        k: number of groups, at least 2.
    """
    excess = np.bincount(codes, deviations, k)
    scale = unit_scale(excess)
    root = np.sqrt(k / (k - 1) * np.sum((excess / scale) ** 2))
    return float(root / deviations.size) * scale
