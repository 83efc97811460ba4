"""Effect sizes with intervals: standardised mean differences, Cliff's delta, concordance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from jaxmed.quantities import unit_scale
from jaxmed.stats._noncentral import noncentral_t_cdf
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import check_level, finite, quantile, same_length
from jaxmed.stats.diagnostic._auc import auc


def _noncentral_limits(t: float, df: float, level: float) -> tuple[float, float]:
    """Invert Student's noncentral t for its noncentrality."""
    tail = (1 - level) / 2

    def below(nc: float) -> float:
        return noncentral_t_cdf(t, df, nc)

    def solve(p: float) -> float:
        low, high = t - 2.0, t + 2.0
        while below(low) < p:
            low -= 2.0
        while below(high) > p:
            high += 2.0
        return float(optimize.brentq(lambda nc: below(nc) - p, low, high, xtol=1e-10))

    return solve(1 - tail), solve(tail)


def cohen_d(
    first: ArrayLike,
    second: ArrayLike,
    *,
    hedges: bool = True,
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    r"""Estimate the standardised difference of two independent means.

    .. math:: d = (\bar x - \bar y) / s_{pooled}

    Args:
        first: (cases1,) values.
        second: (cases2,) values.
        hedges: correct the small-sample bias (Hedges' g).
        level: confidence level; the interval inverts the noncentral t.
        unit: name of the counted unit.

    Returns:
        The estimate.

    Raises:
        ValueError: for fewer than 2 cases in a group, NaN, or no variance.

    References:
        Cohen (1988). Hedges (1981), J Educ Stat 6:107. Cumming and Finch (2001).

    Examples:
        >>> round(cohen_d([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], hedges=False).value, 6)
        -1.0
    """
    check_level(level)
    x, y = finite(first, "first", minimum=2), finite(second, "second", minimum=2)
    n1, n2 = x.size, y.size
    df = n1 + n2 - 2
    scale = unit_scale(x, y)
    x, y = x / scale, y / scale
    pooled = float(np.sqrt(((n1 - 1) * x.var(ddof=1) + (n2 - 1) * y.var(ddof=1)) / df))
    if pooled == 0:
        raise ValueError("neither group varies: a standardised difference is undefined")
    d = float(x.mean() - y.mean()) / pooled
    scale = float(np.sqrt(n1 * n2 / (n1 + n2)))
    low, high = _noncentral_limits(d * scale, df, level)
    factor = 1 - 3 / (4 * df - 1) if hedges else 1.0
    return Estimate(
        d * factor,
        low / scale * factor,
        high / scale * factor,
        level,
        n1 + n2,
        unit,
        "noncentral t",
        details={"pooled_sd": pooled},
        name="Hedges g" if hedges else "Cohen d",
    )


def cliffs_delta(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, unit: str = "case"
) -> Estimate:
    r"""Estimate Cliff's delta, :math:`P(X > Y) - P(X < Y)`, of two independent groups.

    Args:
        first: (cases1,) values.
        second: (cases2,) values.
        level: confidence level; limits are those of the AUC, 2 A - 1.
        unit: name of the counted unit.

    Returns:
        The estimate.

    References:
        Cliff (1993), Psychol Bull 114:494.

    Examples:
        >>> cliffs_delta([2.0, 3.0], [1.0, 2.0]).value
        0.75
    """
    x, y = finite(first, "first"), finite(second, "second")
    e = auc(np.repeat([1, 0], [x.size, y.size]), np.concatenate([x, y]), level=level)
    return Estimate(
        2 * e.value - 1,
        2 * e.lower - 1,
        2 * e.upper - 1,
        level,
        e.n,
        unit,
        e.method,
        e.notes,
        se=None if e.se is None else 2 * e.se,
        name="Cliff delta",
    )


def concordance(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, *, level: float = 0.95, unit: str = "case"
) -> Estimate:
    r"""Estimate Harrell's concordance index of a risk score with censored event times.

    A pair counts if the shorter time ended in an event; it is concordant if that case had the
    higher risk, and half so for equal risks.

    Args:
        time: (cases,) times, positive.
        event: (cases,) 1 if the event was seen, 0 if censored.
        risk: (cases,) higher for earlier events.
        level: confidence level; the error is the jackknife's, the limits are on the logit scale.
        unit: name of the counted unit.

    Returns:
        The estimate.

    Raises:
        ValueError: if no pair can be compared, for NaN or unequal lengths.

    References:
        Harrell et al. (1982), JAMA 247:2543. Pencina and D'Agostino (2004), Stat Med 23:2109.

    Examples:
        >>> concordance([1.0, 2.0, 3.0, 4.0], [1, 1, 0, 1], [4.0, 3.0, 2.0, 1.0]).value
        1.0
    """
    from jaxmed.stats.checks import binary_labels
    from jaxmed.stats.diagnostic._auc import logit_limits

    check_level(level)
    t, r = finite(time, "time", minimum=2), finite(risk, "risk", minimum=2)
    seen = binary_labels(event, "event")
    n = same_length(time=t, event=seen, risk=r)
    pairs, wins = np.zeros(n), np.zeros(n)
    step = max(1, 4_000_000 // n)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        # An event at a censoring time is taken to precede it.
        usable = seen[rows, None] & (
            (t[rows, None] < t[None, :]) | ((t[rows, None] == t[None, :]) & ~seen[None, :])
        )
        score = usable * ((r[rows, None] > r[None, :]) + 0.5 * (r[rows, None] == r[None, :]))
        pairs[rows] += usable.sum(axis=1)
        pairs += usable.sum(axis=0)
        wins[rows] += score.sum(axis=1)
        wins += score.sum(axis=0)
    total, won = pairs.sum() / 2, wins.sum() / 2
    if total == 0:
        raise ValueError("no pair can be compared: no event before another case's time")
    value = float(won / total)
    left = total - pairs
    out = np.where(left > 0, (won - wins) / np.where(left > 0, left, 1), value)
    se = float(np.sqrt((n - 1) / n * np.sum((out - out.mean()) ** 2)))
    z = quantile(level)
    notes: tuple[str, ...] = ()
    if 0 < value < 1 and se > 0:
        low, high = logit_limits(value, se, z)
    else:
        low, high = max(value - z * se, 0.0), min(value + z * se, 1.0)
        notes = ("at the end of its range the interval is a point: use a bootstrap",)
    return Estimate(
        value,
        low,
        high,
        level,
        n,
        unit,
        "harrell, jackknife, logit",
        notes,
        se=se,
        details={"pairs": float(total), "events": int(seen.sum())},
        name="concordance",
    )
