"""Difference of two proportions on the same cases: Wald, Agresti-Min, Tango, exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, optimize, special, stats

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import binary_labels, check_level, quantile, same_length, spelled, unknown

_METHODS = ("tango", "wald", "agresti-min", "exact")


def paired_table(first: ArrayLike, second: ArrayLike) -> tuple[int, int, int, int]:
    """Return the counts (both, first only, second only, neither) of two 0/1 outcomes.

    Examples:
        >>> paired_table([1, 1, 0, 0], [1, 0, 0, 0])
        (1, 1, 0, 2)
    """
    a, b = binary_labels(first, "first"), binary_labels(second, "second")
    same_length(first=a, second=b)
    return int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())


def given_table(
    first: ArrayLike | None, second: ArrayLike | None, table: tuple[int, int, int, int] | None
) -> tuple[int, int, int, int]:
    """Return the table given, or that of the outcomes given; raise ValueError for both or none."""
    if table is None and first is not None and second is not None:
        return paired_table(first, second)
    if table is not None and (first is None or second is None):
        return table
    raise ValueError("give both outcomes, or table=(both, first only, second only, neither)")


def _tango(b: float, c: float, n: float, z: float) -> tuple[float, float]:
    """Invert Tango's score test; b counts for, c against."""
    estimate = (b - c) / n

    def gap(delta: float) -> float:
        # Maximum-likelihood probability of a discordant case against, given the difference.
        linear = (2 * n - b + c) * delta - b - c
        root = max(linear * linear + 8 * n * c * delta * (1 - delta), 0.0)
        q = (np.sqrt(root) - linear) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        off = b - c - n * delta
        return off * off - z * z * max(variance, 0.0)

    edge = 1e-12
    low = high = estimate
    if estimate > -1 + edge:
        low = (
            -1.0
            if gap(-1 + edge) <= 0
            else optimize.brentq(gap, -1 + edge, estimate - edge, xtol=1e-13)
        )
    if estimate < 1 - edge:
        high = (
            1.0
            if gap(1 - edge) <= 0
            else optimize.brentq(gap, estimate + edge, 1 - edge, xtol=1e-13)
        )
    return float(low), float(high)


def _melded_lower(x: int, m: int, n: int, alpha: float) -> float:
    """Lower limit of the difference for x of m discordant pairs among n (Fay, Lumbard 2021)."""
    if m == 0:
        return -float(special.betaincinv(1, n, 1 - alpha))
    if m == n and x == 0:
        return -1.0

    def chance(delta: float) -> float:
        """P(T (2 B - 1) <= delta), T and B from the lower confidence distributions."""
        if delta > 0:
            if x == 0:
                return 1.0
            rate = stats.beta(m, n - m + 1)
        else:
            if m == n:
                return float(special.betainc(x, m - x + 1, 0.5 + delta / 2)) if x else 1.0
            if x == 0:
                return float(stats.beta.sf(-delta, m + 1, n - m))
            rate = stats.beta(m + 1, n - m)

        def inside(t: float) -> float:
            return float(special.betainc(x, m - x + 1, np.clip(0.5 + delta / (2 * t), 0, 1)))

        ends = rate.ppf([1e-13, 1 - 1e-13])
        # The integrand bends where T reaches |delta|.
        bend = [p for p in (abs(delta),) if ends[0] < p < ends[1]]
        value, _ = integrate.quad(
            lambda t: inside(t) * rate.pdf(t),
            *ends,
            points=bend or None,
            epsabs=1e-11,
            epsrel=1e-10,
            limit=200,
        )
        return float(value)

    return float(optimize.brentq(lambda d: chance(d) - alpha, -1 + 1e-12, 1 - 1e-12, xtol=1e-10))


def paired_difference(
    first: ArrayLike | None = None,
    second: ArrayLike | None = None,
    *,
    table: tuple[int, int, int, int] | None = None,
    method: str = "tango",
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    r"""Estimate the difference of two proportions measured on the same cases.

    .. math:: (n_{10} - n_{01}) / n

    Args:
        first: (cases,) 0/1, such as whether one model was right.
        second: (cases,) 0/1 of the other.
        table: instead of outcomes, the counts (both, first only, second only, neither).
        method: `tango` (score), `wald`, `agresti-min` (Wald with half a case added), or `exact`
            (agrees with the exact McNemar test).
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate of first - second.

    Raises:
        ValueError: unless outcomes or a table with a case are given.

    References:
        Tango (1998), Stat Med 17:891. Agresti and Min (2005), Stat Med 24:729.
        Fay and Lumbard (2021), Stat Med 40:1147.

    Examples:
        >>> e = paired_difference(table=(1, 1, 7, 12))
        >>> round(e.lower, 3), round(e.upper, 3)
        (-0.517, -0.026)
    """
    name = spelled(method)
    if name not in _METHODS:
        raise unknown("method", method, _METHODS)
    check_level(level)
    n11, b, c, n00 = given_table(first, second, table)
    n = n11 + b + c + n00
    if n < 1 or min(n11, b, c, n00) < 0:
        raise ValueError(f"the table needs counts of 0 or more, not {(n11, b, c, n00)}")
    value = (b - c) / n
    se = float(np.sqrt(max(b + c - (b - c) ** 2 / n, 0.0)) / n)
    z = quantile(level)
    if name == "wald":
        low, high = value - z * se, value + z * se
    elif name == "agresti-min":
        m = n + 2
        half = z * np.sqrt(b + c + 1 - (b - c) ** 2 / m) / m
        low, high = (b - c) / m - half, (b - c) / m + half
    elif name == "tango":
        low, high = _tango(b, c, n, z)
    else:
        alpha = (1 - level) / 2
        low, high = _melded_lower(b, b + c, n, alpha), -_melded_lower(c, b + c, n, alpha)
    return Estimate(
        value,
        float(max(low, -1.0)),
        float(min(high, 1.0)),
        level,
        n,
        unit,
        name,
        se=se,
        details={"first_only": b, "second_only": c},
        name="paired difference of proportions",
    )
