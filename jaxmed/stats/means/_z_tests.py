"""Normal or t test of an effect for every alternative, shared by the comparisons."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from jaxmed.stats.checks import check_level, spelled, unknown

ALTERNATIVES = ("two-sided", "greater", "less", "non-inferiority", "equivalence", "superiority")


def tail(statistic: float, df: float | None) -> float:
    """Return P(Z > statistic) for a normal, or Student's t with `df`."""
    if df is None:
        return float(special.ndtr(-statistic))
    return float(special.stdtr(df, -statistic))


def effect_test(
    effect: float,
    se: float,
    *,
    alternative: str,
    margin: float = 0.0,
    level: float = 0.95,
    df: float | None = None,
) -> tuple[float, float, tuple[float, float], str]:
    """Return statistic, p-value, interval and the alternative's name.

    Args:
        effect: estimated difference.
        se: standard error; at 0 the test decides at once.
        alternative: `two-sided`, `greater`, `less`; `superiority` (effect > margin),
            `non-inferiority` (effect > -margin), `equivalence` (both one-sided tests within
            the margin).
        margin: positive, in the effect's unit.
        level: confidence level of the interval: two-sided, but 2 level - 1 for equivalence (TOST).
        df: degrees of freedom for t; None for the normal.

    Raises:
        ValueError: for an unknown alternative, or a margin missing or out of place.
    """
    name = spelled(alternative).replace("two.sided", "two-sided")
    if name not in ALTERNATIVES:
        raise unknown("alternative", alternative, ALTERNATIVES)
    check_level(level)
    if margin < 0 or not math.isfinite(margin):
        raise ValueError(f"margin must be a positive number, but is {margin}")
    if name in ("non-inferiority", "equivalence") and margin == 0:
        raise ValueError(f"{name} needs margin=: how much worse is still acceptable")
    if name in ("two-sided", "greater", "less") and margin:
        raise ValueError(f"margin is for superiority, non-inferiority, equivalence; not {name}")

    def ratio(gap: float) -> float:
        if se > 0:
            return gap / se
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)

    if name == "equivalence":
        low, high = ratio(effect + margin), ratio(margin - effect)
        statistic = min(low, high)
        p = tail(statistic, df)
    elif name == "two-sided":
        statistic = ratio(effect)
        p = min(1.0, 2 * tail(abs(statistic), df))
    elif name == "less":
        statistic = ratio(effect)
        p = tail(-statistic, df)
    else:
        shift = {"greater": 0.0, "superiority": -margin, "non-inferiority": margin}[name]
        statistic = ratio(effect + shift)
        p = tail(statistic, df)
    inner = 2 * level - 1 if name == "equivalence" else level
    if not inner > 0:
        raise ValueError(f"equivalence needs a level above 0.5, but it is {level}")
    upper = 0.5 + inner / 2
    q = float(special.ndtri(upper) if df is None else special.stdtrit(df, upper))
    half = q * se if se > 0 else 0.0
    return float(statistic), float(p), (effect - half, effect + half), name


def pooled_df(parts: list[tuple[float, float]]) -> float:
    """Return Welch and Satterthwaite's degrees of freedom of a sum of (variance, df) parts."""
    total = sum(v for v, _ in parts)
    bottom = sum(v**2 / d for v, d in parts if v > 0)
    return float(total**2 / bottom) if bottom > 0 else float(np.inf)
