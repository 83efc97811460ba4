"""Multi-reader multi-case analysis: Obuchowski-Rockette and Dorfman-Berbaum-Metz."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats._noncentral import noncentral_f_sf
from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.checks import check_level, check_number, check_rate, check_whole, unknown
from jaxmed.stats.readers._study import ReaderStudy


class VarianceComponents(NamedTuple):
    """Obuchowski and Rockette's components of the variance of one figure of merit.

    reader, treatment_reader: of the readers; error: of one figure by its cases; cov1: same
    reader, other treatment; cov2: other reader, same treatment; cov3: both other.
    """

    reader: float
    treatment_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float


class ReaderTest(NamedTuple):
    """Result of a multi-reader multi-case comparison.

    overall: the test that all treatments are equal; differences: a test of each pair of
    treatments; means: an estimate of each treatment; components: the variances.
    """

    overall: TestResult
    differences: dict[str, TestResult]
    means: dict[Any, Estimate]
    components: VarianceComponents


def _components(study: ReaderStudy) -> tuple[VarianceComponents, dict[str, float]]:
    """Average the covariance by kind, and take the mean squares of the figures."""
    theta = study.theta
    t, r = theta.shape
    cov = study.covariance
    same_t, same_r = np.eye(t, dtype=bool), np.eye(r, dtype=bool)
    tt = same_t[:, None, :, None]
    rr = same_r[None, :, None, :]

    def mean(mask: np.ndarray) -> float:
        chosen = np.broadcast_to(mask, cov.shape)
        return float(cov[chosen].mean()) if chosen.any() else 0.0

    error, cov1, cov2, cov3 = mean(tt & rr), mean(~tt & rr), mean(tt & ~rr), mean(~tt & ~rr)
    row, column, grand = theta.mean(axis=1), theta.mean(axis=0), theta.mean()
    ms_t = r * float(np.sum((row - grand) ** 2)) / (t - 1) if t > 1 else 0.0
    ms_r = t * float(np.sum((column - grand) ** 2)) / (r - 1) if r > 1 else 0.0
    rest = theta - row[:, None] - column[None, :] + grand
    ms_tr = float(np.sum(rest**2)) / ((t - 1) * (r - 1)) if t > 1 and r > 1 else 0.0
    gap = max(cov2 - cov3, 0.0)
    components = VarianceComponents(
        (ms_r - ms_tr) / t - cov1 + cov3, ms_tr - error + cov1 + gap, error, cov1, cov2, cov3
    )
    return components, {"T": ms_t, "R": ms_r, "TR": ms_tr}


def _by_treatment(study: ReaderStudy, i: int) -> tuple[float, float, float]:
    """Return one treatment's error, its covariance between readers, and its MS(R)."""
    block = study.covariance[i, :, i, :]
    r = block.shape[0]
    error = float(np.diag(block).mean())
    cov2 = float(block[~np.eye(r, dtype=bool)].mean()) if r > 1 else 0.0
    ms_r = float(study.theta[i].var(ddof=1)) if r > 1 else 0.0
    return error, cov2, ms_r


def _limits(
    value: float, se: float, df: float | None, level: float, ends: tuple[float, float]
) -> tuple[float, float]:
    upper = 0.5 + level / 2
    q = special.ndtri(upper) if df is None else special.stdtrit(df, upper)
    return max(value - float(q) * se, ends[0]), min(value + float(q) * se, ends[1])


def _refuse_empty(denominator: float, floor: float) -> None:
    if not denominator > floor:
        raise ValueError(
            f"the readers and cases leave no variance to test against ({denominator:.3g}): "
            "all readers agree, or the covariances exceed the variance"
        )


def reader_test(
    study: ReaderStudy,
    *,
    readers: str = "random",
    cases: str = "random",
    level: float = 0.95,
) -> ReaderTest:
    r"""Compare the treatments of a reader study, averaged over its readers.

    Random readers and cases (the default) generalise to similar readers and cases; fixed readers
    or fixed cases apply to the observed ones only. With both random

    .. math::
        F = \frac{MS_T}{MS_{TR} + \max\{r(\widehat{Cov}_2 - \widehat{Cov}_3), 0\}}

    with Hillis' denominator degrees of freedom. With fixed readers nothing is truncated at 0: the
    error of a difference follows from its covariance. With jackknife covariances this is identical
    to Dorfman-Berbaum-Metz' analysis of pseudovalues as corrected by Hillis.

    Args:
        study: result of `reader_study` or `froc_study`.
        readers: `random` or `fixed`.
        cases: `random` or `fixed`.
        level: confidence level of the intervals.

    Returns:
        The tests and estimates. `effect` of a difference is first - second.

    Raises:
        ValueError: for fewer than two treatments or readers, or both factors fixed.

    References:
        Obuchowski and Rockette (1995), Commun Stat Simul 24:285. Hillis (2007), Stat Med 26:596.
        Hillis (2014), Stat Med 33:330.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> c, r, t = (g.ravel() for g in np.meshgrid(range(40), range(4), range(2)))
        >>> y = (c % 2).astype(int)
        >>> x = y * (1.0 + 0.5 * t) + rng.normal(size=c.size)
        >>> from jaxmed.stats import reader_study
        >>> reader_test(reader_study(y, x, r, t, c)).overall.df[0]
        1
    """
    for name, value in (("readers", readers), ("cases", cases)):
        if value not in ("random", "fixed"):
            raise unknown(name, value, ("random", "fixed"))
    if readers == cases == "fixed":
        raise ValueError("with readers and cases fixed there is nothing random to test against")
    check_level(level)
    theta = study.theta
    t, r = theta.shape
    if t < 2 or r < 2:
        raise ValueError(f"a comparison needs 2 treatments and 2 readers, but has {t} and {r}")
    parts, ms = _components(study)
    gap = parts.cov2 - parts.cov3
    df1 = t - 1
    floor = 1e-14 * max(parts.error, ms["T"], 1e-300)
    if readers == "fixed":
        denominator = parts.error - parts.cov1 + (r - 1) * gap
        _refuse_empty(denominator, floor)
        statistic = df1 * ms["T"] / denominator
        p, df2 = float(special.chdtrc(df1, statistic)), None
    else:
        denominator = ms["TR"] + (r * max(gap, 0.0) if cases == "random" else 0.0)
        _refuse_empty(denominator, floor)
        statistic = ms["T"] / denominator
        df2 = denominator**2 / (ms["TR"] ** 2 / ((t - 1) * (r - 1)))
        p = float(special.fdtrc(df1, df2, statistic))
    kind = {
        ("random", "random"): "random readers and cases",
        ("fixed", "random"): "fixed readers",
        ("random", "fixed"): "fixed cases",
    }[readers, cases]
    method = f"Obuchowski-Rockette, {study.method} covariance, {kind}"
    notes: tuple[str, ...] = ()
    if cases == "random" and readers == "random" and r < 4:
        notes = (f"only {r} readers: their spread is hardly known",)
    common = {
        "n": r if readers == "random" else study.cases,
        "unit": "reader" if readers == "random" else "case",
        "method": method,
    }
    overall = TestResult(
        float(statistic),
        p,
        None,
        None,
        **common,
        notes=notes,
        level=level,
        df=(df1, float(df2)) if df2 is not None else df1,
        details={
            "readers": r,
            "cases": study.cases,
            "denominator": float(denominator),
            "mean_squares": ms,
        },
        name=f"{study.metric} of treatments",
    )
    se = float(np.sqrt(2 / r * denominator))
    differences = {}
    for i in range(t):
        for j in range(i + 1, t):
            value = float(theta[i].mean() - theta[j].mean())
            ratio = value / se if se > 0 else 0.0
            one = special.ndtr(-abs(ratio)) if df2 is None else special.stdtr(df2, -abs(ratio))
            key = f"{study.treatments[i]} - {study.treatments[j]}"
            differences[key] = TestResult(
                ratio,
                2 * float(one),
                value,
                _limits(value, se, df2, level, (-np.inf, np.inf)),
                **common,
                level=level,
                df=df2,
                details={"se": se},
                name=f"{study.metric} {key}",
            )
    means = {}
    for i, name in enumerate(study.treatments):
        error, cov2, ms_r = _by_treatment(study, i)
        if readers == "fixed":
            variance, df = max(error + (r - 1) * cov2, 0.0) / r, None
        else:
            extra = r * max(cov2, 0.0) if cases == "random" else 0.0
            variance = (ms_r + extra) / r
            df = (ms_r + extra) ** 2 / (ms_r**2 / (r - 1)) if ms_r > 0 else None
        value, error_of = float(theta[i].mean()), float(np.sqrt(variance))
        low, high = _limits(value, error_of, df, level, (0.0, 1.0))
        means[name] = Estimate(
            value,
            low,
            high,
            level,
            common["n"],
            common["unit"],
            method,
            se=error_of,
            details={"df": df, "readers": theta[i].tolist()},
            name=f"{study.metric} of {name}",
        )
    return ReaderTest(overall, differences, means, parts)


class PseudovalueAnova(NamedTuple):
    """Dorfman-Berbaum-Metz mean squares, variance components, F, its degrees of freedom and p."""

    mean_squares: dict[str, float]
    components: dict[str, float]
    f: float
    df2: float
    p_value: float


def dbm_anova(study: ReaderStudy) -> PseudovalueAnova:
    """Return the analysis of variance of jackknife pseudovalues (Dorfman-Berbaum-Metz).

    F and its degrees of freedom are those of `reader_test` with jackknife covariances; the
    variance components are what published tables list.

    Args:
        study: fully crossed, of `reader_study`.

    Returns:
        Mean squares (T, R, C, TR, TC, RC, TRC), components, F, degrees of freedom and p-value.

    Raises:
        ValueError: for fewer than two treatments, readers or cases.

    References:
        Dorfman, Berbaum, Metz (1992), Invest Radiol 27:723. Hillis, Berbaum, Metz (2008), Acad
        Radiol 15:647.
    """
    y = study.pseudovalues
    if y is None or min(y.shape) < 2:
        raise ValueError("the analysis needs 2 or more treatments, readers and cases, crossed")
    t, r, c = y.shape
    grand = y.mean()

    def effect(axes: tuple[int, ...]) -> np.ndarray:
        return y.mean(axis=axes, keepdims=True) - grand

    a, b, d = effect((1, 2)), effect((0, 2)), effect((0, 1))
    ab, ad, bd = effect((2,)) - a - b, effect((1,)) - a - d, effect((0,)) - b - d
    abd = y - grand - a - b - d - ab - ad - bd

    def ms(part: np.ndarray, repeats: int, df: int) -> float:
        return float(np.sum(part**2) * repeats / df)

    m = {
        "T": ms(a, r * c, t - 1),
        "R": ms(b, t * c, r - 1),
        "C": ms(d, t * r, c - 1),
        "TR": ms(ab, c, (t - 1) * (r - 1)),
        "TC": ms(ad, r, (t - 1) * (c - 1)),
        "RC": ms(bd, t, (r - 1) * (c - 1)),
        "TRC": ms(abd, 1, (t - 1) * (r - 1) * (c - 1)),
    }
    components = {
        "R": (m["R"] - m["TR"] - m["RC"] + m["TRC"]) / (t * c),
        "C": (m["C"] - m["TC"] - m["RC"] + m["TRC"]) / (t * r),
        "TR": (m["TR"] - m["TRC"]) / c,
        "TC": (m["TC"] - m["TRC"]) / r,
        "RC": (m["RC"] - m["TRC"]) / t,
        "error": m["TRC"],
    }
    denominator = m["TR"] + max(m["TC"] - m["TRC"], 0.0)
    f = m["T"] / denominator
    df2 = denominator**2 / (m["TR"] ** 2 / ((t - 1) * (r - 1)))
    return PseudovalueAnova(m, components, f, df2, float(special.fdtrc(t - 1, df2, f)))


class ReaderPower(NamedTuple):
    """Power of a planned reader study, with its assumptions."""

    power: float
    noncentrality: float
    df2: float
    readers: int
    cases: int


def reader_power(
    pilot: ReaderStudy,
    *,
    readers: int,
    cases: int,
    effect: float,
    alpha: float = 0.05,
) -> ReaderPower:
    """Return the power of a study of two treatments, from a pilot's variance components.

    Args:
        pilot: a study of two treatments.
        readers: number of readers of the planned study.
        cases: number of cases of the planned study, with the pilot's share of positives.
        effect: difference of the treatments to be found.
        alpha: two-sided size of the test.

    Returns:
        The power with random readers and cases.

    Raises:
        ValueError: if there are not two treatments, or fewer than 2 readers or cases.

    References:
        Hillis, Obuchowski, Berbaum (2011), Acad Radiol 18:129.
    """
    if pilot.theta.shape[0] != 2:
        raise ValueError(f"the pilot must compare 2 treatments, but has {pilot.theta.shape[0]}")
    check_whole(readers, "readers", 2)
    check_whole(cases, "cases", 2)
    check_number(effect, "effect")
    check_rate(alpha, "alpha")
    parts, _ = _components(pilot)
    scale = pilot.cases / cases
    gap = max(parts.cov2 - parts.cov3, 0.0)
    spread = max(parts.treatment_reader, 0.0)
    denominator = spread + scale * (parts.error - parts.cov1 + (readers - 1) * gap)
    within = spread + scale * (parts.error - parts.cov1 - gap)
    if not denominator > 0:
        raise ValueError(
            "the pilot leaves no variance to plan with: its covariances exceed its error"
        )
    df2 = (readers - 1) * (denominator / within) ** 2 if within > 0 else math.inf
    ncp = readers * effect**2 / 2 / denominator
    # With one degree of freedom above, the F quantile is the square of a t quantile, which SciPy
    # gives for any number of degrees of freedom below.
    tail = 1 - alpha / 2
    quantile = special.stdtrit(df2, tail) if math.isfinite(df2) else special.ndtri(tail)
    critical = float(quantile) ** 2
    found = noncentral_f_sf(critical, 1, df2, ncp)
    return ReaderPower(found, float(ncp), float(df2), readers, cases)


def reader_sample_size(
    pilot: ReaderStudy,
    *,
    readers: int,
    effect: float,
    power: float = 0.8,
    alpha: float = 0.05,
    largest: int = 100_000,
) -> ReaderPower:
    """Return the smallest number of cases that reaches a power with a given number of readers.

    Args:
        pilot: a study of two treatments.
        readers: number of readers of the planned study.
        effect: difference to be found.
        power: wanted.
        alpha: two-sided size of the test.
        largest: cases beyond which the search stops.

    Returns:
        The power at the smallest number of cases.

    Raises:
        ValueError: if no number of cases suffices: more readers are needed.
    """
    check_rate(power, "power")
    check_whole(largest, "largest", 2)

    def at(cases: int) -> ReaderPower:
        return reader_power(pilot, readers=readers, cases=cases, effect=effect, alpha=alpha)

    if not at(largest).power >= power:
        raise ValueError(f"{largest} cases do not reach power {power}: add readers")
    low, high = 1, largest  # power grows with the cases
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(max(middle, 2)).power >= power else (middle, high)
    return at(max(high, 2))
