"""Comparison of treatments in a reader study (Obuchowski and Rockette)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.checks import check_level, unknown
from jaxmed.stats.readers._components import VarianceComponents, components
from jaxmed.stats.readers._study import ReaderStudy


class ReaderTest(NamedTuple):
    """Result of a multi-reader multi-case comparison.

    overall: the test that all treatments are equal; differences: a test of each pair of
    treatments; means: an estimate of each treatment; components: the variances.
    """

    overall: TestResult
    differences: dict[str, TestResult]
    means: dict[Any, Estimate]
    components: VarianceComponents


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
    parts, ms = components(study)
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
