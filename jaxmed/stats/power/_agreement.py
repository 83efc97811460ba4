"""Sample sizes for agreement studies, and power as a curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize, special

from jaxmed.stats.checks import Floats, check_number, check_rate, check_whole, quantile
from jaxmed.stats.power._precision import PrecisionPlan


def size_for_kappa(
    kappa: float,
    half_width: float,
    *,
    marginals: Sequence[float] = (0.5, 0.5),
    level: float = 0.95,
) -> PrecisionPlan:
    r"""Return the number of cases needed for an interval of Cohen's kappa of a given half-width.

    The two raters are assumed to use the classes equally often and to disagree at random.

    Args:
        kappa: expected.
        half_width: half width of the interval.
        marginals: share of each class, summing to 1.
        level: confidence level.

    Returns:
        The cases, not rounded, by the delta-method error of `kappa`.

    Raises:
        ValueError: for kappa outside [0, 1), or shares that do not sum to 1.

    References:
        Fleiss, Cohen, Everitt (1969), Psychol Bull 72:323.

    Examples:
        >>> math.ceil(size_for_kappa(0.6, 0.1).total)
        246
    """
    from jaxmed.stats.diagnostic._table import delta_se

    share = np.asarray(marginals, dtype=np.float64)
    if not 0 <= kappa < 1:
        raise ValueError(f"kappa must lie in [0, 1), but is {kappa}")
    if share.ndim != 1 or share.size < 2 or share.min() <= 0 or abs(share.sum() - 1) > 1e-9:
        raise ValueError(f"marginals must be positive shares that sum to 1, but are {marginals}")
    w = check_rate(half_width, "half_width")
    table = kappa * np.diag(share) + (1 - kappa) * np.outer(share, share)

    def statistic(t: Any) -> Any:
        total = t.sum()
        chance = (t.sum(axis=0) * t.sum(axis=1)).sum() / total
        return (np.trace(t) - chance) / (total - chance)

    one = delta_se(statistic, table)  # the error of a single case
    n = (quantile(level) * one / w) ** 2
    return PrecisionPlan(float(n), float(n), {"method": "delta", "level": level})


def size_for_icc(
    icc: float, half_width: float, *, raters: int = 2, level: float = 0.95
) -> PrecisionPlan:
    r"""Return the number of subjects needed for an ICC interval of a given half-width.

    .. math:: n = \frac{8 z^2 (1 - \rho)^2 (1 + (k-1)\rho)^2}{k (k-1) w^2} + 1

    with w the full width.

    Args:
        icc: expected.
        half_width: half width of the interval.
        raters: ratings of each subject, k.
        level: confidence level.

    Returns:
        The subjects, not rounded.

    Raises:
        ValueError: for a correlation outside (0, 1) or fewer than 2 raters.

    References:
        Bonett (2002), Stat Med 21:1331.

    Examples:
        >>> math.ceil(size_for_icc(0.8, 0.1, raters=3).total)
        36
    """
    rho, w = check_rate(icc, "icc"), 2 * check_rate(half_width, "half_width")
    check_whole(raters, "raters", 2)
    z = quantile(level)
    inner = (1 - rho) * (1 + (raters - 1) * rho)
    n = 8 * z * z * inner**2 / (raters * (raters - 1) * w * w) + 1
    return PrecisionPlan(n, n, {"method": "bonett", "level": level, "raters": raters})


def size_for_limits(half_width: float, *, level: float = 0.95) -> PrecisionPlan:
    r"""Return the number of cases needed for limits of agreement of a given half-width.

    Args:
        half_width: half width of each limit's interval, in standard deviations of the differences;
            the error of a limit is near :math:`s \sqrt{3/n}`.
        level: confidence level.

    Returns:
        The cases, not rounded.

    Raises:
        ValueError: for a half-width of 0 or less.

    References:
        Bland and Altman (1986), Lancet 1:307.

    Examples:
        >>> math.ceil(size_for_limits(0.34).total)
        103
    """
    check_number(half_width, "half_width", above=0)

    def gap(n: float) -> float:
        return float(special.stdtrit(n - 1, 0.5 + level / 2)) * math.sqrt(3 / n) - half_width

    quantile(level)
    n = float(optimize.brentq(gap, 2.5, 1e9)) if gap(2.5) > 0 else 2.5
    return PrecisionPlan(n, n, {"method": "bland-altman", "level": level})


def power_curve(plan: Callable[[Any], Any], sizes: Sequence[float]) -> tuple[Floats, Floats]:
    """Return the power of a plan at several sizes, for plotting.

    Args:
        plan: function of a size, such as `lambda n: power_proportions(0.8, 0.9, n=n)`; its `power`
            is taken, or the first of a pair, or the number itself.
        sizes: sizes to compute it at.

    Returns:
        (sizes,) and (sizes,) powers.

    Examples:
        >>> from jaxmed.stats import power_proportions
        >>> power_curve(lambda n: power_proportions(0.8, 0.9, n=n), [100, 200])[1].round(2)
        array([0.51, 0.8 ])
    """

    def read(answer: Any) -> float:
        if hasattr(answer, "power"):
            return float(answer.power)
        return float(answer[0] if isinstance(answer, tuple) else answer)

    at = np.asarray(sizes, dtype=np.float64)
    return at, np.array([read(plan(n)) for n in sizes])
