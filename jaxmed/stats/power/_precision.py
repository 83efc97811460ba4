"""Sample sizes for an interval of a given width or a given one-sided bound."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from jaxmed.stats.checks import check_number, check_rate, check_whole, quantile, spelled, unknown


class PrecisionPlan(NamedTuple):
    """Cases for an interval of stated width: of the class itself, and in all."""

    of_class: float
    total: float
    details: dict[str, Any]


def size_for_width(
    p: float,
    half_width: float,
    *,
    method: str = "wilson",
    level: float = 0.95,
    prevalence: float | None = None,
) -> PrecisionPlan:
    """Return the number of cases needed for a proportion's interval of a given half-width.

    Args:
        p: proportion expected (of sensitivity: among positives).
        half_width: half of the interval's width.
        method: `wilson` (the smallest whole n) or `wald` (Buderer's formula, not rounded).
        level: confidence level.
        prevalence: share of the class among all cases; the total is then larger.

    Returns:
        Cases of the class, and cases in all.

    Raises:
        ValueError: for rates outside (0, 1).

    References:
        Buderer (1996), Acad Emerg Med 3:895.

    Examples:
        >>> size_for_width(0.9, 0.05).total
        141.0
    """
    from jaxmed.stats.diagnostic._proportion import proportion_limits

    p, w = check_rate(p, "p"), check_rate(half_width, "half_width")
    share = 1.0 if prevalence is None else check_rate(prevalence, "prevalence")
    z = quantile(level)
    name = spelled(method)
    if name == "wald":
        of_class = z * z * p * (1 - p) / w**2
    elif name == "wilson":

        def wide(n: int) -> bool:
            low, high = proportion_limits(p * n, n, level=level)
            return (high - low) / 2 > w + 1e-12

        low, high = 0, 1
        while wide(high):
            high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if wide(middle) else (low, middle)
        of_class = float(high)
    else:
        raise unknown("method", method, ("wilson", "wald"))
    return PrecisionPlan(of_class, of_class / share, {"method": name, "level": level})


def size_exact_bound(
    p: float, margin: float, *, power: float = 0.9, alpha: float = 0.05, largest: int = 20_000
) -> int:
    """Return the n from which an exact lower bound passes p - margin with a given power.

    The power of an exact test oscillates with n: this is the n from which it stays above `power`.

    Args:
        p: sensitivity (or specificity) expected.
        margin: the bound must exceed p - margin.
        power: wanted.
        alpha: one-sided.
        largest: n beyond which the search stops.

    Returns:
        Cases of the class.

    Raises:
        ValueError: for rates outside (0, 1), or no n below `largest`.

    References:
        Flahault, Cadilhac, Thomas (2005), J Clin Epidemiol 58:859.

    Examples:
        >>> size_exact_bound(0.9, 0.05)
        408
    """
    p, null = check_rate(p, "p"), check_rate(p - margin, "p - margin")
    check_number(margin, "margin", above=0)
    check_rate(power, "power")
    check_rate(alpha, "alpha")
    check_whole(largest, "largest", 2)
    n = np.arange(2, largest + 1)
    critical = stats.binom.isf(alpha, n, null) + 1
    enough = stats.binom.sf(critical - 1, n, p) >= power
    # Far beyond the normal approximation's n, the power no longer drops.
    short = np.flatnonzero(~enough)
    if short.size == n.size or short[-1] == n.size - 1:
        raise ValueError(f"no n below {largest} reaches power {power}")
    return int(n[short[-1] + 1])
