"""Do groups differ in survival: the log-rank test, its weights, its strata."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.quantities import risk_table
from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, quantile, spelled, unknown
from jaxmed.stats.survival._followed import Followed, followed, named_groups

WEIGHTINGS = ("log-rank", "gehan", "tarone-ware", "peto")


def log_rank_test(
    time: ArrayLike,
    event: ArrayLike,
    by: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    weighting: str = "log-rank",
    level: float = 0.95,
) -> TestResult:
    r"""Test whether two or more groups have the same hazard.

    .. math:: U_k = \sum_i w_i \left(d_{ik} - d_i \frac{n_{ik}}{n_i}\right), \qquad
       \chi^2 = U^\top V^{-1} U

    with the hypergeometric covariance :math:`V`; within strata both are summed. Of two groups the
    effect is the hazard ratio of the second to the first, by Pike's and Peto's one step from 1,
    :math:`\exp(U_2 / V_{22})`: close to Cox's where the ratio is not extreme.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        by: (cases,) group of each case, such as arm or risk group.
        strata: (cases,) compare within these alone, such as the centre.
        weighting: `log-rank` (all times alike), `gehan` (by the number at risk), `tarone-ware` (by
            its root) or `peto` (by the pooled survival just before).
        level: confidence level of the hazard ratio.

    Returns:
        The test, `df` one less than the groups; observed and expected events by group in `details`.

    Raises:
        ValueError: fewer than two groups, no event, or times and events as in `kaplan_meier`.

    References:
        Mantel (1966). Peto and Peto (1972), JRSS A 135:185. Gehan (1965). Tarone and Ware (1977).

    Examples:
        >>> months = [1, 3, 4, 6, 2, 5, 8, 9]
        >>> r = log_rank_test(months, [1, 1, 1, 0, 1, 0, 1, 1], list("aaaabbbb"))
        >>> round(r.statistic, 3), round(r.p_value, 3), round(r.effect, 3)
        (1.393, 0.238, 0.304)
    """
    z = quantile(level)
    chosen = spelled(weighting)
    if chosen not in WEIGHTINGS:
        raise unknown("weighting", weighting, WEIGHTINGS)
    cases = followed(time, event)
    names = named_groups(by, "by", len(cases.time))
    codes = np.unique(names, return_inverse=True)[1]
    k = int(codes.max()) + 1
    if k < 2:
        raise ValueError(f"by has one group, {names[0]!r}: there is nothing to compare")
    layer = np.zeros(len(codes), int)
    if strata is not None:
        layer = np.unique(named_groups(strata, "strata", len(codes)), return_inverse=True)[1]
    observed, expected, score = np.zeros(k), np.zeros(k), np.zeros(k)
    covariance = np.zeros((k, k))
    for stratum in np.unique(layer):
        inside = layer == stratum
        part = Followed(cases.time[inside], cases.event[inside])
        for total, more in zip(
            (observed, expected, score, covariance),
            _sums(part, codes[inside], k, chosen),
            strict=True,
        ):
            total += more
    statistic, df = quadratic(score, covariance)
    effect = interval = None
    variance = covariance[1, 1]
    notes: tuple[str, ...] = ()
    if df < k - 1:
        notes += ("a group shares no risk set with another: it is not compared",)
    if k == 2 and chosen == "log-rank" and variance > 0:
        step, half = score[1] / variance, z / np.sqrt(variance)
        effect = float(np.exp(step))
        interval = (float(np.exp(step - half)), float(np.exp(step + half)))
    listed = [str(name) for name in np.unique(names)]
    return TestResult(
        statistic, float(special.chdtrc(df, statistic)) if df else float("nan"), effect, interval,
        len(codes), "case", f"{chosen} test{', stratified' if strata is not None else ''}", notes,
        level, df=float(df), name="hazard ratio" if effect is not None else "",
        details={
            "groups": listed, "observed": observed.tolist(), "expected": expected.tolist(),
            "strata": len(np.unique(layer)),
        },
    )  # fmt: skip


def quadratic(score: Floats, covariance: Floats) -> tuple[float, int]:
    """Return the chi-square statistic of scores that sum to 0, and its degrees of freedom."""
    size = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.where(size > 0, size, 1.0)
    inverse = np.linalg.pinv(covariance / np.outer(scale, scale), rcond=1e-10, hermitian=True)
    rank = int(np.linalg.matrix_rank(covariance / np.outer(scale, scale), tol=1e-8, hermitian=True))
    x = score / scale
    return float(x @ inverse @ x), rank


def _sums(
    cases: Followed, codes: NDArray[np.intp], k: int, weighting: str
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return observed, expected, weighted score and covariance of one stratum."""
    table = risk_table(*cases)
    when = np.searchsorted(table.time, cases.time)
    shape = (len(table.time), k)
    flat = when * k + codes
    size = shape[0] * k
    leaving = np.bincount(flat, minlength=size).reshape(shape)
    risk = np.cumsum(leaving[::-1], axis=0)[::-1].astype(np.float64)
    dead = np.bincount(flat, cases.event, size).reshape(shape)
    n, d = table.at_risk, table.events
    share = risk / n[:, None]
    weight = {
        "log-rank": np.ones(len(n)),
        "gehan": n,
        "tarone-ware": np.sqrt(n),
        # Peto and Peto's modified estimate, which is never 0 while there are events.
        "peto": np.cumprod(1 - d / (n + 1)),
    }[weighting]
    gap = dead - d[:, None] * share
    factor = weight**2 * np.divide(d * (n - d), n - 1, out=np.zeros(len(n)), where=n > 1)
    covariance = np.diag(factor @ share) - np.einsum("t,ti,tj->ij", factor, share, share)
    return dead.sum(0), (d[:, None] * share).sum(0), weight @ gap, covariance
