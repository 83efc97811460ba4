"""Difference and ratio of two independent proportions."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import check_level, quantile, spelled, unknown
from jaxmed.stats.diagnostic._proportion import proportion_limits

_DIFFERENCES = ("wald", "newcombe", "newcombe-cc", "agresti-caffo", "miettinen-nurminen", "mee")
_RATIOS = ("katz-log", "koopman")


def _check_counts(x1: float, n1: float, x2: float, n2: float) -> None:
    for name, x, n in (("first", x1, n1), ("second", x2, n2)):
        if not n >= 1 or not 0 <= x <= n:
            raise ValueError(f"the {name} group needs 0 <= successes <= n with n >= 1: {x} of {n}")


def _constrained(x1: float, n1: float, x2: float, n2: float, delta: float) -> tuple[float, float]:
    """Maximum-likelihood proportions whose difference is `delta` (Miettinen, Nurminen 1985)."""
    n, s = n1 + n2, x1 + x2
    l2 = (n1 + 2 * n2) * delta - n - s
    l1 = (n2 * delta - n - 2 * x2) * delta + s
    l0 = x2 * delta * (1 - delta)
    q = l2**3 / (3 * n) ** 3 - l1 * l2 / (6 * n**2) + l0 / (2 * n)
    inner = max(l2**2 / (3 * n) ** 2 - l1 / (3 * n), 0.0)
    p = np.copysign(np.sqrt(inner), q)
    cosine = np.clip(q / p**3, -1, 1) if p != 0 else 0.0
    angle = (np.pi + np.arccos(cosine)) / 3
    p2 = float(np.clip(2 * p * np.cos(angle) - l2 / (3 * n), 0, 1))
    return float(np.clip(p2 + delta, 0, 1)), p2


def _score_limits(
    x1: float, n1: float, x2: float, n2: float, z: float, factor: float
) -> tuple[float, float]:
    """Invert the score test of a difference; `factor` scales its variance."""
    estimate = x1 / n1 - x2 / n2

    def gap(delta: float) -> float:
        p1, p2 = _constrained(x1, n1, x2, n2, delta)
        variance = (p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2) * factor
        off = estimate - delta
        return off * off - z * z * max(variance, 0.0)

    edge = 1e-12
    low = (
        -1.0
        if gap(-1 + edge) <= 0
        else optimize.brentq(gap, -1 + edge, estimate, xtol=1e-13)
        if estimate > -1 + edge
        else -1.0
    )
    high = (
        1.0
        if gap(1 - edge) <= 0
        else optimize.brentq(gap, estimate, 1 - edge, xtol=1e-13)
        if estimate < 1 - edge
        else 1.0
    )
    return float(low), float(high)


def proportion_difference(
    x1: float,
    n1: int,
    x2: float,
    n2: int,
    *,
    method: str = "newcombe",
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    r"""Estimate the difference of two independent proportions.

    .. math:: x_1 / n_1 - x_2 / n_2

    Args:
        x1: successes of the first group.
        n1: size of the first group.
        x2: successes of the second group.
        n2: size of the second group.
        method: `newcombe` (Wilson limits, squared and added), `newcombe-cc`, `wald`,
            `agresti-caffo`, `miettinen-nurminen` or `mee` (score tests inverted, with and
            without the factor n / (n - 1)).
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate, cut at -1 and 1.

    Raises:
        ValueError: for counts outside 0..n.

    References:
        Newcombe (1998), Stat Med 17:873. Miettinen and Nurminen (1985), Stat Med 4:213.

    Examples:
        >>> e = proportion_difference(56, 70, 48, 80)
        >>> round(e.lower, 4), round(e.upper, 4)  # published: .0524 to .3339
        (0.0524, 0.3339)
    """
    name = spelled(method)
    if name not in _DIFFERENCES:
        raise unknown("method", method, _DIFFERENCES)
    check_level(level)
    _check_counts(x1, n1, x2, n2)
    z = quantile(level)
    p1, p2 = x1 / n1, x2 / n2
    value = p1 - p2
    se = float(np.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2))
    if name in ("newcombe", "newcombe-cc"):
        inner = "wilson" if name == "newcombe" else "wilson-cc"
        l1, u1 = proportion_limits(x1, n1, method=inner, level=level)
        l2, u2 = proportion_limits(x2, n2, method=inner, level=level)
        low = value - np.hypot(p1 - l1, u2 - p2)
        high = value + np.hypot(u1 - p1, p2 - l2)
    elif name == "wald":
        low, high = value - z * se, value + z * se
    elif name == "agresti-caffo":
        q1, q2 = (x1 + 1) / (n1 + 2), (x2 + 1) / (n2 + 2)
        half = z * np.sqrt(q1 * (1 - q1) / (n1 + 2) + q2 * (1 - q2) / (n2 + 2))
        low, high = q1 - q2 - half, q1 - q2 + half
    else:
        factor = (n1 + n2) / (n1 + n2 - 1) if name == "miettinen-nurminen" else 1.0
        low, high = _score_limits(x1, n1, x2, n2, z, factor)
    return Estimate(
        value,
        float(max(low, -1.0)),
        float(min(high, 1.0)),
        level,
        int(n1 + n2),
        unit,
        name,
        se=se,
        name="difference of proportions",
    )


def _koopman(x1: float, n1: float, x2: float, n2: float, z: float) -> tuple[float, float]:
    """Invert Koopman's chi-square for a ratio."""
    n = n1 + n2

    def gap(log_ratio: float) -> float:
        ratio = float(np.exp(log_ratio))
        b = ratio * (n1 + x2) + x1 + n2
        root = np.sqrt(max(b * b - 4 * ratio * n * (x1 + x2), 0.0))
        p1 = 2 * ratio * (x1 + x2) / (b + root)  # the smaller root, without cancellation
        p2 = p1 / ratio
        total = 0.0
        for x, m, p in ((x1, n1, p1), (x2, n2, p2)):
            off = x - m * p
            if abs(off) > 1e-9:
                total += off * off / (m * p * (1 - p)) if 0 < p < 1 else np.inf
        return min(total, 1e12) - z * z

    centre = np.log(x1 / n1) - np.log(x2 / n2) if x1 > 0 and x2 > 0 else 0.0
    if x1 == 0 and x2 == 0:
        return 0.0, np.inf
    if x1 > 0 and x2 > 0:
        low = optimize.brentq(gap, centre - 60, centre, xtol=1e-12)
        high = optimize.brentq(gap, centre, centre + 60, xtol=1e-12)
        return float(np.exp(low)), float(np.exp(high))
    # With one zero count one side is open, and the other is the only root.
    root = float(np.exp(optimize.brentq(gap, -60, 60, xtol=1e-12)))
    return (0.0, root) if x1 == 0 else (root, np.inf)


def proportion_ratio(
    x1: float,
    n1: int,
    x2: float,
    n2: int,
    *,
    method: str = "koopman",
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    """Estimate the ratio of two independent proportions (relative risk).

    Args:
        x1: successes of the first group.
        n1: size of the first group.
        x2: successes of the second group.
        n2: size of the second group.
        method: `koopman` (score) or `katz-log`.
        level: confidence level.
        unit: name of the counted unit.

    Returns:
        The estimate; infinite where the second proportion is 0, undefined where both are,
        each with a note.

    Raises:
        ValueError: for counts outside 0..n.

    References:
        Koopman (1984), Biometrics 40:513. Katz et al. (1978), Biometrics 34:469.

    Examples:
        >>> round(proportion_ratio(56, 70, 48, 80).value, 4)
        1.3333
    """
    name = spelled(method)
    if name not in _RATIOS:
        raise unknown("method", method, _RATIOS)
    check_level(level)
    _check_counts(x1, n1, x2, n2)
    z = quantile(level)
    p1, p2 = x1 / n1, x2 / n2
    notes: tuple[str, ...] = ()
    if x2 > 0:
        value = p1 / p2
    else:
        value = float("inf") if x1 > 0 else float("nan")
        notes = (f"the second proportion is 0: the ratio is {value:g}",)
    if name == "koopman":
        low, high = _koopman(x1, n1, x2, n2, z)
    elif x1 == 0 and x2 == 0:
        low, high = 0.0, float("inf")
    else:
        # A zero count, or both full, is moved by half a case (Walter).
        a = x1 if x1 > 0 else 0.5
        b = x2 if x2 > 0 else 0.5
        if x1 == n1 and x2 == n2:
            a, b = n1 - 0.5, n2 - 0.5
        half = z * np.sqrt(1 / a - 1 / n1 + 1 / b - 1 / n2)
        low, high = (a / n1) / (b / n2) * np.exp([-half, half])
        low, high = (0.0 if x1 == 0 else low), (np.inf if x2 == 0 else high)
    return Estimate(
        value,
        float(low),
        float(high),
        level,
        int(n1 + n2),
        unit,
        name,
        notes,
        name="ratio of proportions",
    )
