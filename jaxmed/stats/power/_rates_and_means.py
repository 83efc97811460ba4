"""Power and sample size of rates and means: two groups, pairs, and non-inferiority."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

from jaxmed.stats._noncentral import noncentral_t_sf
from jaxmed.stats.checks import check_number, check_rate, spelled, unknown


class Power(NamedTuple):
    """A planned study: its size, its power, and a sentence for the protocol.

    n: exact solution, per group, in pairs or in total according to `unit`; needed: `n` rounded up;
    power: at `n`; sentence: text for the protocol, with the assumptions.
    """

    n: float
    needed: int
    power: float
    unit: str
    sentence: str


def _check_test(alpha: float, sides: int) -> None:
    check_rate(alpha, "alpha")
    if sides not in (1, 2):
        raise ValueError(f"sides must be 1 or 2, but is {sides}")


def _solve(power_at: Callable[[float], float], power: float, low: float = 2.0) -> float:
    """Return the n at which an increasing power curve reaches `power`."""
    check_rate(power, "power")
    high = max(2 * low, 8.0)
    while known_power(power_at(high), high) < power:
        high *= 2
        if high > 1e9:
            raise ValueError("no sample size below 10^9 reaches this power: is there an effect?")
    if power_at(low) >= power:
        return low
    return float(optimize.brentq(lambda n: power_at(n) - power, low, high, xtol=1e-9, rtol=1e-12))


def known_power(power: float, n: float) -> float:
    """Return a computed power, refusing NaN, which would mislead a search."""
    if math.isnan(power):
        raise ValueError(f"the power at n = {n:g} could not be computed: check the assumptions")
    return power


def planned(
    power_at: Callable[[float], float],
    n: float | None,
    power: float | None,
    unit: str,
    finding: str,
    alpha: float,
    sides: int,
    low: float = 2.0,
) -> Power:
    """Build the plan: solve for n if power is given, for power if n is."""
    if (n is None) == (power is None):
        raise ValueError("give exactly one of n= and power=")
    if n is not None:
        size = check_number(n, "n")
    else:
        assert power is not None  # exactly one of the two is missing
        size = _solve(power_at, power, low)
    if not size >= 2 and n is not None:
        raise ValueError(f"n must be at least 2, but is {n}")
    needed = math.ceil(size - 1e-9)
    reached = known_power(power_at(size), size)
    sentence = (
        f"With {needed} {unit}, a {'two' if sides == 2 else 'one'}-sided test at the "
        f"{100 * alpha:g}% level has {100 * power_at(needed):.0f}% power to detect {finding}."
    )
    return Power(size, needed, float(reached), unit, sentence)


def power_proportions(
    p1: float,
    p2: float,
    *,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    sides: int = 2,
    method: str = "normal",
    strict: bool = False,
) -> Power:
    """Plan a comparison of two independent proportions, groups of equal size.

    Args:
        p1: proportion of the first group.
        p2: proportion of the second.
        n: cases in each group; or
        power: wanted. Exactly one of the two.
        alpha: size of the test.
        sides: 1 or 2.
        method: `normal` (pooled variance under the null hypothesis) or `arcsine` (Cohen's h).
        strict: count rejections on the wrong side too.

    Returns:
        The plan; `n` is per group.

    Raises:
        ValueError: for rates outside (0, 1), equal rates with power=, or both or none given.

    References:
        Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions.

    Examples:
        >>> power_proportions(0.8, 0.9, power=0.8).needed
        199
    """
    p1, p2 = check_rate(p1, "p1"), check_rate(p2, "p2")
    _check_test(alpha, sides)
    name = spelled(method)
    z = float(special.ndtri(1 - alpha / sides))
    if name == "normal":
        centre = (p1 + p2) / 2
        null = math.sqrt(2 * centre * (1 - centre))
        other = math.sqrt(p1 * (1 - p1) + p2 * (1 - p2))

        def power_at(m: float) -> float:
            shift = math.sqrt(m) * abs(p1 - p2)
            found = float(special.ndtr((shift - z * null) / other))
            if strict and sides == 2:
                found += float(special.ndtr((-shift - z * null) / other))
            return found
    elif name == "arcsine":
        h = 2 * math.asin(math.sqrt(p1)) - 2 * math.asin(math.sqrt(p2))

        def power_at(m: float) -> float:
            shift = abs(h) * math.sqrt(m / 2)
            found = float(special.ndtr(shift - z))
            return found + (float(special.ndtr(-shift - z)) if sides == 2 else 0.0)
    else:
        raise unknown("method", method, ("normal", "arcsine"))
    return planned(
        power_at,
        n,
        power,
        "cases in each group",
        f"a difference between proportions of {p1:g} and {p2:g}",
        alpha,
        sides,
    )


def power_t(
    effect: float,
    *,
    sd: float = 1.0,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    sides: int = 2,
    design: str = "paired",
) -> Power:
    """Plan a comparison of means, such as of two models' Dice, by the noncentral t.

    Args:
        effect: difference to be found.
        sd: standard deviation: of the differences if paired, else of one group.
        n: cases (paired), or in each group; or
        power: wanted.
        alpha: size of the test.
        sides: 1 or 2.
        design: `paired` or `two-sample`.

    Returns:
        The plan.

    Raises:
        ValueError: for sd of 0 or less, an effect of 0 with power=, unknown design.

    Examples:
        >>> power_t(0.02, sd=0.08, power=0.9).needed
        171
    """
    name = spelled(design).replace("two.sample", "two-sample")
    if name not in ("paired", "two-sample"):
        raise unknown("design", design, ("paired", "two-sample"))
    check_number(effect, "effect")
    check_number(sd, "sd", above=0)
    _check_test(alpha, sides)
    groups = 1 if name == "paired" else 2

    def power_at(m: float) -> float:
        df = groups * (m - 1)
        ncp = abs(effect) / sd * math.sqrt(m / groups)
        t = float(special.stdtrit(df, 1 - alpha / sides))
        return noncentral_t_sf(t, df, ncp)

    unit = "cases" if groups == 1 else "cases in each group"
    return planned(
        power_at, n, power, unit, f"a mean difference of {effect:g} (sd {sd:g})", alpha, sides
    )


def power_mcnemar(
    p_first: float,
    p_second: float,
    *,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    method: str = "normal",
) -> Power:
    """Plan a paired comparison of two proportions by McNemar's test, two-sided.

    Args:
        p_first: probability that only the first is right on a case.
        p_second: probability that only the second is right.
        n: pairs; or
        power: wanted.
        alpha: size of the test.
        method: `normal` (Duffy); with n= also `exact` or `mid-p`, the unconditional power of
            these tests.

    Returns:
        The plan, in pairs.

    Raises:
        ValueError: for chances outside (0, 1) or summing to more than 1; exact with power=.

    References:
        Duffy (1984), Biometrics 40:1005.

    Examples:
        >>> power_mcnemar(0.1, 0.2, power=0.8).needed
        234
    """
    b, c = check_rate(p_first, "p_first"), check_rate(p_second, "p_second")
    check_rate(alpha, "alpha")
    if b + c > 1:
        raise ValueError(f"p_first + p_second must not pass 1, but is {b + c}")
    small, large = min(b, c), max(b, c)
    name = spelled(method)
    z = float(special.ndtri(1 - alpha / 2))
    gap, both = large - small, small + large

    def normal(m: float) -> float:
        return float(
            special.ndtr((math.sqrt(m) * gap - z * math.sqrt(both)) / math.sqrt(both - gap**2))
        )

    def unconditional(m: float, mid: bool) -> float:
        pairs = int(m)
        split = np.arange(1, pairs + 1)
        chance = stats.binom.pmf(split, pairs, both)
        total = 0.0
        for k, weight in zip(split, chance, strict=True):
            if weight < 1e-14:
                continue
            at = np.arange(k + 1)
            if mid:  # rejections on both sides, as the mid-p test makes them
                least = np.minimum(at, k - at)
                p = 2 * stats.binom.cdf(least, k, 0.5) - stats.binom.pmf(least, k, 0.5)
                rejected = p <= alpha
            else:  # on the right side only, as a protocol would count them
                rejected = stats.binom.cdf(at, k, 0.5) <= alpha / 2
            total += weight * float(stats.binom.pmf(at, k, small / both)[rejected].sum())
        return total

    table = {
        "normal": normal,
        "exact": lambda m: unconditional(m, False),
        "mid-p": lambda m: unconditional(m, True),
    }
    if name not in table:
        raise unknown("method", method, table)
    if name != "normal" and power is not None:
        raise ValueError(f"{name} power jumps with n: give n=, or method='normal' to solve for it")
    return planned(
        table[name],
        n,
        power,
        "pairs",
        f"a difference where {100 * b:g}% of the pairs are right with the first alone and "
        f"{100 * c:g}% with the second alone",
        alpha,
        2,
    )


def power_noninferiority(
    p_new: float,
    p_reference: float,
    margin: float,
    *,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.025,
) -> Power:
    """Plan a non-inferiority comparison of two independent proportions (one-sided).

    Args:
        p_new: proportion expected of the new one.
        p_reference: number of parameters of the reference.
        margin: how much worse is acceptable.
        n: cases in each group; or
        power: wanted.
        alpha: one-sided size of the test.

    Returns:
        The plan; `n` is per group.

    Raises:
        ValueError: for a margin of 0 or less, or rates outside (0, 1).

    References:
        Blackwelder (1982), Control Clin Trials 3:345.

    Examples:
        >>> power_noninferiority(0.85, 0.85, 0.1, power=0.8).needed
        201
    """
    a, b = check_rate(p_new, "p_new"), check_rate(p_reference, "p_reference")
    check_number(margin, "margin", above=0)
    check_rate(alpha, "alpha")
    sd = math.sqrt(a * (1 - a) + b * (1 - b))
    z = float(special.ndtri(1 - alpha))

    def power_at(m: float) -> float:
        return float(special.ndtr(math.sqrt(m) * (margin + a - b) / sd - z))

    return planned(
        power_at,
        n,
        power,
        "cases in each group",
        f"non-inferiority within {margin:g} of {b:g}",
        alpha,
        1,
    )
