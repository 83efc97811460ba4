"""Agreement of several raters: intraclass correlation and Fleiss' kappa."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxmed.quantities import unit_scale
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_level, finite, quantile, spelled, unknown
from jaxmed.stats.readers._kappa import log_limits

_FORMS = ("ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k")


# Raters below which the limits of ICC2 are generalised ones.
FEW_RATERS = 20


def icc(
    ratings: ArrayLike,
    *,
    form: str = "ICC2",
    level: float = 0.95,
    method: str = "auto",
    unit: str = "subject",
) -> Estimate:
    r"""Estimate an intraclass correlation of several raters.

    Shrout and Fleiss' forms: ICC1, each subject has other raters; ICC2, the same raters, a sample
    of those who might rate (absolute agreement); ICC3, these raters and no others (consistency);
    with k, of the mean of the raters. ICC2 is (McGraw and Wong's A,1)

    .. math:: \frac{MS_s - MS_e}{MS_s + (k-1) MS_e + k (MS_r - MS_e)/n}

    Args:
        ratings: (subjects, raters), none missing.
        form: `ICC1`, `ICC2`, `ICC3`, `ICC1k`, `ICC2k` or `ICC3k`.
        level: confidence level.
        method: method of the limits. `f`: exact for ICC1 and ICC3, but for ICC2, whose raters are a
            sample, McGraw and Wong's approximation covers .72 to .90 of a nominal .95 with two or
            three raters and 100 subjects. `generalized`, for ICC2: quantiles of the mean squares
            over chi-square draws, which cover .94 to .97 with 2 to 20 raters. `auto` is
            `generalized` for ICC2 with fewer than 20 raters, else `f`.
        unit: name of the unit of a row.

    Returns:
        The estimate, with the F statistic and its degrees of freedom in `details`.

    Raises:
        ValueError: for fewer than 2 subjects or raters, NaN, or an unknown form.

    References:
        Shrout and Fleiss (1979), Psychol Bull 86:420. McGraw and Wong (1996), Psychol Methods 1:30.
        Tian and Cappelleri (2004), J Biopharm Stat 14:125 (generalised limits).

    Examples:
        >>> x = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9]]
        >>> x.append([6, 2, 4, 7])
        >>> [round(icc(x, form=f).value, 2) for f in ("ICC1", "ICC2", "ICC3")]  # as published
        [0.17, 0.29, 0.71]
    """
    if form not in _FORMS:
        raise unknown("form", form, _FORMS)
    limits = spelled(method).replace("generalised", "generalized")
    if limits not in ("auto", "f", "generalized"):
        raise unknown("method", method, ("auto", "f", "generalized"))
    if limits == "generalized" and form[:4] != "ICC2":
        raise ValueError(f"generalised limits are for ICC2; those of {form} are exact: method='f'")
    check_level(level)
    x = finite(ratings, "ratings", minimum=2, ndim=2)
    x = x / unit_scale(x)
    n, k = x.shape
    if k < 2:
        raise ValueError(f"an intraclass correlation needs at least 2 raters, but there is {k}")
    grand = x.mean()
    subjects = k * np.sum((x.mean(axis=1) - grand) ** 2)
    raters = n * np.sum((x.mean(axis=0) - grand) ** 2)
    total = np.sum((x - grand) ** 2)
    if total == 0:
        return Estimate(
            float("nan"),
            -1.0,
            1.0,
            level,
            n,
            unit,
            form,
            ("all ratings are equal: the correlation is undefined",),
            name=form,
        )
    ms_s = subjects / (n - 1)
    ms_w = (total - subjects) / (n * (k - 1))
    ms_r = raters / (k - 1)
    ms_e = (total - subjects - raters) / ((n - 1) * (k - 1))
    mean_of = form.endswith("k")
    kind = form[:4]
    alpha = 1 - level
    if kind == "ICC1":
        value = (ms_s - ms_w) / (ms_s + (k - 1) * ms_w)
        f, df = ms_s / ms_w if ms_w > 0 else np.inf, (n - 1, n * (k - 1))
    else:
        f, df = ms_s / ms_e if ms_e > 0 else np.inf, (n - 1, (n - 1) * (k - 1))
        if kind == "ICC3":
            value = (ms_s - ms_e) / (ms_s + (k - 1) * ms_e)
        else:
            value = (ms_s - ms_e) / (ms_s + (k - 1) * ms_e + k * (ms_r - ms_e) / n)
    label = "F intervals"
    if limits == "auto":
        limits = "generalized" if kind == "ICC2" and k < FEW_RATERS else "f"
    notes: tuple[str, ...] = ()
    if np.isinf(f):
        # Raters agree exactly: there is no information on how much they may differ.
        low = high = value
        notes = ("raters leave no error: the interval is a point",)
    elif limits == "generalized":
        low, high = _generalized_limits(subjects, raters, total - subjects - raters, n, k, level)
        # The generalised quantity has no negative variance between subjects; the estimate may.
        low, high = min(low, value), max(high, value)
        label = "generalised intervals"
    elif kind in ("ICC1", "ICC3"):
        low_f = f / special.fdtri(*df, 1 - alpha / 2)
        high_f = f * special.fdtri(*df[::-1], 1 - alpha / 2)
        low, high = (low_f - 1) / (low_f + k - 1), (high_f - 1) / (high_f + k - 1)
    else:
        f_r = ms_r / ms_e
        top = (k - 1) * (n - 1) * (k * value * f_r + n * (1 + (k - 1) * value) - k * value) ** 2
        bottom = (n - 1) * k**2 * value**2 * f_r**2 + (n * (1 + (k - 1) * value) - k * value) ** 2
        v = top / bottom
        f_low = special.fdtri(n - 1, v, 1 - alpha / 2)
        f_high = special.fdtri(v, n - 1, 1 - alpha / 2)
        rest = k * ms_r + (k * n - k - n) * ms_e
        low = n * (ms_s - f_low * ms_e) / (f_low * rest + n * ms_s)
        high = n * (f_high * ms_s - ms_e) / (rest + n * f_high * ms_s)
    if mean_of:
        value, low, high = (k * r / (1 + (k - 1) * r) for r in (value, low, high))
    return Estimate(
        float(value),
        float(low),
        float(high),
        level,
        n,
        unit,
        f"{form}, {label}",
        notes,
        details={"f": float(f), "df": df, "p_value": float(special.fdtrc(*df, f)), "raters": k},
        name=form,
    )


@functools.lru_cache(maxsize=16)
def _chi_square_draws(n: int, k: int) -> tuple[Floats, Floats, Floats]:
    """Chi-square variables of the degrees of freedom of subjects, raters and error."""
    from scipy.stats import qmc

    points = qmc.Sobol(3, seed=0).random_base2(12).T
    free = (n - 1, k - 1, (n - 1) * (k - 1))
    subjects, raters, error = (special.chdtri(df, u) for df, u in zip(free, points, strict=True))
    return subjects, raters, error


def _generalized_limits(
    subjects: float, raters: float, rest: float, n: int, k: int, level: float
) -> tuple[float, float]:
    """Quantiles of ICC2 where each sum of squares is divided by a chi-square variable.

    The draws are 4096 points of a scrambled Sobol sequence, always the same.
    """
    sums = (subjects, raters, max(rest, 0.0))
    between, of_raters, error = (
        ss / draws for ss, draws in zip(sums, _chi_square_draws(n, k), strict=True)
    )
    signal = np.maximum(between - error, 0) / k
    shifts = np.maximum(of_raters - error, 0) / n
    low, high = np.quantile(signal / (signal + shifts + error), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def fleiss_kappa(
    ratings: ArrayLike, *, level: float = 0.95, method: str = "log", unit: str = "subject"
) -> Estimate:
    r"""Estimate Fleiss' kappa, the agreement of several raters on classes beyond chance.

    Args:
        ratings: (subjects, raters) class numbers.
        level: confidence level.
        method: method of the limits: `log` or `wald`, with the error whatever the agreement, which
            covers .93 to .97 from 60 subjects (of 20 about .90), `wald` less near 1; `null`, with
            Fleiss' error under no agreement, as other packages print it: an error for a test of no
            agreement (.76 at a kappa of .6), not for an interval.
        unit: name of the unit of a row.

    Returns:
        The estimate; `details["null_se"]` has the error under no agreement.

    Raises:
        ValueError: for fewer than 2 subjects or raters, or fractions.

    References:
        Fleiss (1971), Psychol Bull 76:378. Fleiss, Nee, Landis (1979), Psychol Bull 86:974.
        Gwet (2008), Br J Math Stat Psychol 61:29 (the error at any agreement).

    Examples:
        >>> fleiss_kappa([[0, 0, 0], [1, 1, 1]]).value
        1.0
    """
    check_level(level)
    chosen = spelled(method)
    if chosen not in ("log", "wald", "null"):
        raise unknown("method", method, ("log", "wald", "null"))
    x = finite(ratings, "ratings", minimum=2, ndim=2)
    n, m = x.shape
    if m < 2:
        raise ValueError(f"kappa needs at least 2 raters, but there is {m}")
    if (x != np.round(x)).any():
        raise ValueError("ratings must be whole class numbers")
    classes, codes = np.unique(x, return_inverse=True)
    k = classes.size
    codes = codes.reshape(n, m)
    counts = np.stack([(codes == c).sum(axis=1) for c in range(k)], axis=1)
    p = counts.sum(axis=0) / (n * m)
    q = 1 - p
    chance = float(np.sum(p**2))
    if chance == 1:
        return Estimate(
            float("nan"),
            -1.0,
            1.0,
            level,
            n,
            unit,
            "fleiss",
            ("all ratings are of one class: kappa is undefined",),
            name="Fleiss kappa",
        )
    agree = float((np.sum(counts**2) - n * m) / (n * m * (m - 1)))
    value = (agree - chance) / (1 - chance)
    pq = float(np.sum(p * q))
    variance = 2 * (pq**2 - float(np.sum(p * q * (q - p)))) / (n * m * (m - 1) * pq**2)
    null_se = float(np.sqrt(variance))
    # Each subject's part in agreement, and in the chance agreement that is taken off.
    own = (np.sum(counts**2, axis=1) - m) / (m * (m - 1))
    expected = counts @ p / m
    parts = (own - chance) / (1 - chance) - 2 * (1 - value) * (expected - chance) / (1 - chance)
    se = null_se if chosen == "null" else float(parts.std(ddof=1) / np.sqrt(n))
    q = quantile(level) if chosen == "null" else float(special.stdtrit(n - 1, 0.5 + level / 2))
    if chosen == "log":
        differ = int((own < 1).sum())
        low, high = log_limits(value, se, q, differ=differ, n=n, chance=1 - chance, level=level)
    else:
        low, high = value - q * se, value + q * se
    return Estimate(
        value,
        low,
        high,
        level,
        n,
        unit,
        f"fleiss, {chosen}",
        se=se,
        details={"raters": m, "null_se": null_se},
        name="Fleiss kappa",
    )
