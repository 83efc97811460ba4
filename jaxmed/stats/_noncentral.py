r"""Noncentral F and t distributions, also where SciPy returns NaN.

SciPy's `ncfdtr` is NaN for large noncentralities and `nctdtr` in far tails. A NaN compares false
with everything, so a search over sample sizes would silently go wrong. Both distributions are
mixtures of incomplete beta functions with Poisson weights of mean :math:`\lambda / 2`; only the
terms around that mean matter, and these are summed directly.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from jaxmed.stats.checks import Floats

# The Poisson weights beyond this many standard deviations sum to less than 1e-30.
_WINDOW = 12.0
# Beyond these the mixture differs from its limit by less than 1e-5.
_LARGEST_RATE, _LARGEST_DF = 1e9, 1e9


def _window(rate: float) -> tuple[Floats, Floats]:
    """Return the counts around a Poisson mean and their probabilities, which sum to 1."""
    reach = _WINDOW * (math.sqrt(rate) + _WINDOW)
    counts = np.arange(max(0.0, math.floor(rate - reach)), math.ceil(rate + reach) + 1)
    logs = special.xlogy(counts, rate) - special.gammaln(counts + 1) - rate
    chances = np.exp(logs)
    return counts, chances / chances.sum()


def noncentral_f_sf(f: float, df1: float, df2: float, noncentrality: float) -> float:
    r"""Return the probability that a noncentral F exceeds f.

    .. math:: \sum_j \mathrm{Pois}(j; \lambda/2)\, I_{1-x}(\nu_2/2,\, \nu_1/2 + j), \quad
              x = \frac{\nu_1 f}{\nu_1 f + \nu_2}

    Args:
        f: the limit.
        df1: degrees of freedom of the numerator.
        df2: degrees of freedom of the denominator; infinite gives the noncentral chi-square over
            df1.
        noncentrality: lambda, 0 or more.

    Raises:
        ValueError: for NaN or values outside their ranges.

    References:
        Johnson, Kotz, Balakrishnan (1995), Continuous Univariate Distributions 2, ch. 30.

    Examples:
        >>> round(noncentral_f_sf(4.0, 1, 10, 8.0), 6)
        0.789284
    """
    if not (df1 > 0 and df2 > 0 and noncentrality >= 0) or math.isnan(f):
        raise ValueError(
            "a noncentral F needs positive degrees of freedom and a noncentrality of 0 or more, "
            f"but f = {f}, df = ({df1}, {df2}), noncentrality = {noncentrality}"
        )
    if f <= 0 or math.isinf(noncentrality):
        return 1.0
    if math.isinf(f):
        return 0.0
    if noncentrality > _LARGEST_RATE:
        # The numerator varies little relative to its mean: only the denominator matters.
        if df2 > _LARGEST_DF:
            return float(df1 + noncentrality > df1 * f)
        return float(special.chdtr(df2, df2 * (df1 + noncentrality) / (df1 * f)))
    counts, chances = _window(noncentrality / 2)
    if df2 > _LARGEST_DF:
        beyond = special.chdtrc(df1 + 2 * counts, df1 * f)
    else:
        rest = df2 / (df1 * f + df2)
        beyond = special.betainc(df2 / 2, df1 / 2 + counts, rest)
    return float(min(1.0, chances @ beyond))


def noncentral_t_cdf(t: float, df: float, noncentrality: float) -> float:
    r"""Return the probability that a noncentral t is at most t.

    .. math:: \Phi(-\delta) + \tfrac12 \sum_j \bigl[ p_j I_x(j + \tfrac12, \tfrac\nu2)
              + \tfrac{\delta}{\sqrt2} q_j I_x(j + 1, \tfrac\nu2) \bigr], \quad
              x = \frac{t^2}{t^2 + \nu}

    for t of 0 or more, with :math:`p_j = \mathrm{Pois}(j; \delta^2/2)` and
    :math:`q_j = p_j\, \Gamma(j+1) / \Gamma(j + 3/2)`; other t by reflection.

    Args:
        t: the limit.
        df: degrees of freedom.
        noncentrality: delta, any number.

    Raises:
        ValueError: for NaN or degrees of freedom of 0 or less.

    References:
        Lenth (1989), Appl Stat 38:185 (AS 243).

    Examples:
        >>> round(noncentral_t_cdf(2.0, 10, 1.0), 6)
        0.807612
    """
    if not df > 0 or math.isnan(t) or math.isnan(noncentrality):
        raise ValueError(
            f"a noncentral t needs positive degrees of freedom and numbers, but t = {t}, "
            f"df = {df}, noncentrality = {noncentrality}"
        )
    if t < 0:
        return 1.0 - noncentral_t_cdf(-t, df, -noncentrality)
    if math.isinf(t):
        return 1.0
    if df > _LARGEST_DF:
        return float(special.ndtr(t - noncentrality))
    rate = noncentrality**2 / 2
    if rate > _LARGEST_RATE:
        # The numerator varies little relative to |delta|: only the denominator matters.
        if noncentrality < 0 or t == 0:
            return float(noncentrality < 0)
        return float(special.chdtrc(df, df * (noncentrality / t) ** 2))
    counts, chances = _window(rate)
    x = t * t / (t * t + df)
    even = special.betainc(counts + 0.5, df / 2, x)
    odd = special.betainc(counts + 1.0, df / 2, x) / special.poch(counts + 1.0, 0.5)
    total = special.ndtr(-noncentrality) + 0.5 * float(
        chances @ even + noncentrality / math.sqrt(2) * (chances @ odd)
    )
    return float(min(max(total, 0.0), 1.0))


def noncentral_t_sf(t: float, df: float, noncentrality: float) -> float:
    """Return the probability that a noncentral t exceeds t (see `noncentral_t_cdf`)."""
    return 1.0 - noncentral_t_cdf(t, df, noncentrality)
