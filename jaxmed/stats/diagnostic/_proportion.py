"""Intervals of one proportion: eleven methods, one- and two-sided, plain or clustered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from jaxmed.stats._result import Estimate, of_one_group
from jaxmed.stats.checks import check_level, finite, group_codes, quantile, spelled, unknown

Limits = tuple[float, float]


def _wald(x: float, n: float, z: float) -> Limits:
    p = x / n
    half = z * np.sqrt(p * (1 - p) / n)
    return p - half, p + half


def _wilson(x: float, n: float, z: float) -> Limits:
    p = x / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The limits at the ends are exactly 0 and 1, where the formula has rounding errors.
    return (0.0 if x == 0 else centre - half), (1.0 if x == n else centre + half)


def _wilson_cc(x: float, n: float, z: float) -> Limits:
    p, q = x / n, 1 - x / n
    bottom = 2 * (n + z * z)
    low = 2 * x + z * z - 1 - z * np.sqrt(max(0.0, z * z - 2 - 1 / n + 4 * p * (n * q + 1)))
    high = 2 * x + z * z + 1 + z * np.sqrt(max(0.0, z * z + 2 - 1 / n + 4 * p * (n * q - 1)))
    return (0.0 if x == 0 else low / bottom), (1.0 if x == n else high / bottom)


def _agresti_coull(x: float, n: float, z: float) -> Limits:
    total = n + z * z
    p = (x + z * z / 2) / total
    half = z * np.sqrt(p * (1 - p) / total)
    return p - half, p + half


def _jeffreys(x: float, n: float, z: float) -> Limits:
    tail = special.ndtr(-z)
    low = 0.0 if x == 0 else special.betaincinv(x + 0.5, n - x + 0.5, tail)
    high = 1.0 if x == n else special.betainccinv(x + 0.5, n - x + 0.5, tail)
    return low, high


def _clopper_pearson(x: float, n: float, z: float) -> Limits:
    tail = special.ndtr(-z)
    low = 0.0 if x == 0 else special.betaincinv(x, n - x + 1, tail)
    high = 1.0 if x == n else special.betainccinv(x + 1, n - x, tail)
    return low, high


def _mid_p(x: float, n: float, z: float) -> Limits:
    tail = special.ndtr(-z)

    def above(p: float) -> float:  # P(X > x) + P(X = x)/2
        return stats.binom.sf(x, n, p) + 0.5 * stats.binom.pmf(x, n, p)

    low = 0.0 if x == 0 else optimize.brentq(lambda p: above(p) - tail, 0, 1, xtol=1e-14)
    high = 1.0 if x == n else optimize.brentq(lambda p: above(p) - (1 - tail), 0, 1, xtol=1e-14)
    return low, high


def _likelihood_ratio(x: float, n: float, z: float) -> Limits:
    p = x / n
    peak = special.xlogy(x, p) + special.xlog1py(n - x, -p)

    def gap(t: float) -> float:
        return 2 * (peak - special.xlogy(x, t) - special.xlog1py(n - x, -t)) - z * z

    low = 0.0 if x == 0 else optimize.brentq(gap, 1e-300, p, xtol=1e-14)
    high = 1.0 if x == n else optimize.brentq(gap, p, 1 - 1e-16, xtol=1e-14)
    return low, high


def _arcsine(x: float, n: float, z: float) -> Limits:
    angle = np.arcsin(np.sqrt((x + 0.375) / (n + 0.75)))  # Anscombe's form
    half = z / (2 * np.sqrt(n))
    low, high = max(angle - half, 0.0), min(angle + half, np.pi / 2)
    return np.sin(low) ** 2, np.sin(high) ** 2


def _logit(x: float, n: float, z: float) -> Limits:
    if x in (0, n):  # the logit is infinite: use the exact limits
        return _clopper_pearson(x, n, z)
    centre, half = special.logit(x / n), z * np.sqrt(n / (x * (n - x)))
    return special.expit(centre - half), special.expit(centre + half)


def _blaker(x: float, n: float, z: float) -> Limits:
    alpha = 2 * special.ndtr(-z)
    exact = _clopper_pearson(x, n, z)

    def first(successes: float, start: float) -> float:
        """Smallest p from `start` at which Blaker's acceptability reaches alpha."""
        if successes == 0:
            return 0.0

        def acceptability(p: np.ndarray) -> np.ndarray:
            above, below = stats.binom.sf(successes - 1, n, p), stats.binom.cdf(successes, n, p)
            left = above + stats.binom.cdf(stats.binom.ppf(above, n, p) - 1, n, p)
            right = below + stats.binom.sf(stats.binom.ppf(1 - below, n, p), n, p)
            return np.minimum(left, right)

        # It jumps, so it is scanned from the exact limit, then scanned finer.
        stop = successes / n
        for _ in range(2):
            grid = np.linspace(start, stop, 2001)
            at = int(np.argmax(acceptability(grid) >= alpha * (1 - 1e-12)))
            start, stop = grid[max(at - 1, 0)], grid[at]
        return float(stop)

    return first(x, exact[0]), 1 - first(n - x, 1 - exact[1])


_METHODS: dict[str, Callable[[float, float, float], Limits]] = {
    "wald": _wald,
    "wilson": _wilson,
    "wilson-cc": _wilson_cc,
    "agresti-coull": _agresti_coull,
    "jeffreys": _jeffreys,
    "clopper-pearson": _clopper_pearson,
    "mid-p": _mid_p,
    "likelihood-ratio": _likelihood_ratio,
    "arcsine": _arcsine,
    "logit": _logit,
    "blaker": _blaker,
}
_ALIASES = {"midp": "mid-p", "exact": "clopper-pearson", "score": "wilson"}


def proportion_limits(x: float, n: float, *, method: str = "wilson", level: float = 0.95) -> Limits:
    """Return the two limits of a proportion, clipped to [0, 1] (the arithmetic alone)."""
    name = spelled(method)
    name = _ALIASES.get(name, name)
    if name not in _METHODS:
        raise unknown("method", method, _METHODS)
    low, high = _METHODS[name](float(x), float(n), quantile(level))
    return float(min(max(low, 0.0), 1.0)), float(min(max(high, 0.0), 1.0))


def proportion(
    successes: float,
    n: int,
    *,
    method: str = "wilson",
    level: float = 0.95,
    side: str = "both",
    unit: str = "case",
    name: str = "proportion",
) -> Estimate:
    r"""Estimate a proportion with an interval.

    .. math:: \hat p = x / n

    `wald` covers far less than its level at small n and near 0 and 1 (.18 at n = 20, p = .99)
    and is provided for comparison only; `clopper-pearson` and `blaker` never cover less than the
    level; `wilson`, `agresti-coull`, `jeffreys` and `mid-p` are near it on average, though at
    single points `wilson` and `jeffreys` fall to about .89.

    Args:
        successes: number of successes, from 0 to n.
        n: number of trials, at least 1.
        method: `wilson`, `wilson-cc`, `wald`, `agresti-coull`, `clopper-pearson` (`exact`),
            `jeffreys`, `mid-p`, `likelihood-ratio`, `arcsine`, `logit` or `blaker`.
        level: confidence level. A one-sided bound puts all of 1 - level on its side.
        side: `both`, `lower` (a lower bound only) or `upper`.
        unit: name of one trial.
        name: name of the proportion, for printing.

    Returns:
        The estimate; an unbounded side is 0 or 1.

    Raises:
        ValueError: if successes lie outside 0..n, n < 1, or a name is not known.

    References:
        Brown, Cai, DasGupta (2001), Statistical Science 16:101. Blaker (2000), Can J Stat 28:783.

    Examples:
        >>> e = proportion(48, 64)
        >>> round(e.lower, 4), round(e.upper, 4)
        (0.6318, 0.8399)
    """
    check_level(level)
    if not n >= 1:
        raise ValueError(f"n must be at least 1, but is {n}: no {unit} to estimate {name} from")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..{n}, but are {successes}")
    if side not in ("both", "lower", "upper"):
        raise unknown("side", side, ("both", "lower", "upper"))
    # A one-sided bound at `level` is the two-sided limit at 2 level - 1, negative where level < .5.
    two_sided = level if side == "both" else 2 * level - 1
    if two_sided <= 0:
        raise ValueError(f"a one-sided bound needs level above 0.5, but it is {level}")
    low, high = proportion_limits(successes, n, method=method, level=two_sided)
    if side == "lower":
        high = 1.0
    elif side == "upper":
        low = 0.0
    p = successes / n
    notes: tuple[str, ...] = ()
    if spelled(method) == "wald" and (successes in (0, n) or n * min(p, 1 - p) < 5):
        notes = ("Wald limits fail near 0 and 1 and at small n: use wilson",)
    return Estimate(
        value=float(p),
        lower=low,
        upper=high,
        level=level,
        n=int(n),
        unit=unit,
        method=spelled(method),
        notes=notes,
        se=float(np.sqrt(p * (1 - p) / n)),
        details={"successes": successes, "trials": n},
        name=name,
    )


def clustered_proportion(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    method: str = "wilson",
    level: float = 0.95,
    unit: str = "patient",
    name: str = "proportion",
) -> Estimate:
    r"""Estimate a proportion of clustered rows (e.g. lesions of a patient).

    .. math::
        \operatorname{var}(\hat p) = \frac{K}{K-1}\,\frac{\sum_k (x_k - \hat p\, m_k)^2}{M^2}

    The interval is that of an independent sample of size n / design effect.

    Args:
        values: (rows,) of 0/1, or of numbers in [0, 1].
        groups: (rows,) the group (patient) of each row.
        method: interval of `proportion`, or `wald` with the ratio estimator's error.
        level: confidence level.
        unit: name of the unit of a group.
        name: name of the proportion.

    Returns:
        The estimate; `n` counts groups, `details` has the design effect and the naive error. Rows
        of one group have the whole range as their interval, with a note.

    Raises:
        ValueError: for values outside [0, 1].

    References:
        Rao and Scott (1992), Biometrics 48:577. Obuchowski (1998), Stat Med 17:1495.

    Examples:
        >>> e = clustered_proportion([1, 1, 0, 1, 0, 0], [1, 1, 2, 2, 3, 3])
        >>> round(e.value, 2), e.n
        (0.5, 3)
    """
    x = finite(values, "values")
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"values must lie in [0, 1], but range from {x.min()} to {x.max()}")
    codes, k = group_codes(groups, x.size)
    method_name = f"{spelled(method)}, clustered"
    if k < 2:
        return of_one_group(
            float(x.mean()), (0.0, 1.0), rows=x.size, level=level, unit=unit, method=method_name,
            name=name, details={"rows": x.size},
        )  # fmt: skip
    sums, sizes = np.bincount(codes, x, k), np.bincount(codes, minlength=k)
    m = x.size
    p = float(x.mean())
    variance = k / (k - 1) * np.sum((sums - p * sizes) ** 2) / m**2
    naive = p * (1 - p) / m
    effect = float(variance / naive) if naive > 0 else float("nan")
    notes: tuple[str, ...] = (f"{m} rows in {k} groups",)
    if naive == 0 or variance == 0:  # all rows equal: the intraclass correlation is unknown
        effective = float(k)
        notes += ("all rows or groups alike: the groups were counted as the sample",)
    else:
        effective = m / effect
    if spelled(method) == "wald":
        half = quantile(level) * float(np.sqrt(variance))
        low, high = max(p - half, 0.0), min(p + half, 1.0)
    else:
        low, high = proportion_limits(p * effective, effective, method=method, level=level)
    return Estimate(
        value=p,
        lower=low,
        upper=high,
        level=level,
        n=k,
        unit=unit,
        method=method_name,
        notes=notes,
        se=float(np.sqrt(variance)),
        details={"design_effect": effect, "naive_se": float(np.sqrt(naive)), "rows": m},
        name=name,
    )
