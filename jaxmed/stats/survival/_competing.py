"""Competing risks: the cumulative incidence of one cause among several, and Gray's test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.quantities import kaplan_meier_steps, risk_table
from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, check_whole, quantile, spelled, unknown
from jaxmed.stats.survival._curves import SurvivalCurve
from jaxmed.stats.survival._followed import check_times, event_codes, named_groups
from jaxmed.stats.survival._log_rank import quadratic


def cumulative_incidence(
    time: ArrayLike,
    event: ArrayLike,
    *,
    cause: int = 1,
    method: str = "log-log",
    level: float = 0.95,
) -> SurvivalCurve:
    r"""Estimate the probability of an event of one cause by each time (Aalen and Johansen).

    .. math:: \hat F_1(t) = \sum_{t_i \le t} \hat S(t_i-) \frac{d_{1i}}{n_i}

    with the survival from all causes. One minus the Kaplan-Meier estimate that takes other causes
    for censoring is larger, and the probability of nothing that happens. The variance is that of
    the infinitesimal jackknife, which without censoring is :math:`F_1 (1 - F_1) / n`.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 0 for censored, 1 and more for the cause.
        cause: the one meant.
        method: limits on the scale of `log-log` of one minus it, or `plain`.
        level: confidence level of each point's limits.

    Returns:
        The curve; `events` are those of the cause.

    Raises:
        ValueError: no event of the cause, or times and events out of range.

    References:
        Aalen and Johansen (1978), Scand J Stat 5:141. Kalbfleisch and Prentice (1980).

    Examples:
        >>> cumulative_incidence([1, 2, 3, 4], [1, 2, 1, 0]).value
        array([0.25, 0.25, 0.5 , 0.5 ])
    """
    z = quantile(level)
    chosen = spelled(method)
    if chosen not in ("log-log", "plain"):
        raise unknown("method", method, ("log-log", "plain"))
    times = check_times(time)
    codes = event_codes(event, times)
    cause = _present(cause, codes)
    table = risk_table(times, codes > 0)
    dead = _counts(times, codes == cause, table.time)
    value, influence = _incidence(times, codes, cause, table.time)
    error = np.sqrt(np.sum(influence**2, axis=0))
    inner = (value > 0) & (value < 1)
    f = np.where(inner, value, 0.5)
    if chosen == "log-log":
        spread = np.exp(z * error / ((1 - f) * -np.log1p(-f)))
        lower, upper = 1 - (1 - f) ** (1 / spread), 1 - (1 - f) ** spread
    else:
        lower, upper = np.maximum(f - z * error, 0.0), np.minimum(f + z * error, 1.0)
    return SurvivalCurve(
        table.time, value, np.where(inner, lower, value), np.where(inner, upper, value),
        table.at_risk, dead, table.censored, 0.0, level, f"Aalen-Johansen, {chosen}",
    )  # fmt: skip


def gray_test(time: ArrayLike, event: ArrayLike, by: ArrayLike, *, cause: int = 1) -> TestResult:
    r"""Test whether groups have the same cumulative incidence of a cause.

    .. math:: U_k = \sum_i \left(d_{1ik} - d_{1i} \frac{R_{ik}}{\sum_r R_{ir}}\right), \qquad
       R_{ik} = n_{ik} \frac{1 - \hat F_{1k}(t_i-)}{\hat S_k(t_i-)}

    The score is Gray's (with equal weights): those who had another event stay at risk, as far as
    they would not have been censored. Its variance is that of the infinitesimal jackknife, where
    Gray's is made of martingales; the two agree in large samples.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 0 for censored, 1 and more for the cause.
        by: (cases,) group of each case.
        cause: the one meant.

    Returns:
        The test, with one degree of freedom less than groups.

    Raises:
        ValueError: fewer than two groups, no event of the cause.

    References:
        Gray (1988), Ann Stat 16:1141.

    Examples:
        >>> time, event = [1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 1, 2, 1, 0, 1]
        >>> r = gray_test(time, event, list("aaaabbbb"))
        >>> round(r.statistic, 2), r.df
        (4.1, 1.0)
    """
    times = check_times(time)
    codes = event_codes(event, times)
    cause = _present(cause, codes)
    names, group = np.unique(named_groups(by, "by", len(times)), return_inverse=True)
    k = len(names)
    if k < 2:
        raise ValueError(f"by has one group, {names[0]!r}: there is nothing to compare")
    when = np.unique(times[codes == cause])
    sets, moved = np.zeros((k, len(when))), np.zeros((len(times), len(when)))
    dead = np.zeros((k, len(when)))
    for r in range(k):
        rows = group == r
        sets[r], moved[rows] = _subdistribution_risk(times[rows], codes[rows], cause, when)
        dead[r] = _counts(times[rows], codes[rows] == cause, when)
    whole, total = sets.sum(0), dead.sum(0)
    share = sets / whole
    score = (dead - total * share).sum(1)
    # Each case's influence on each score: its own event, and its share in the risk sets.
    own = (codes == cause)[:, None] & (times[:, None] == when)
    influence = np.zeros((len(times), k))
    for r in range(k):
        at = (group == r)[:, None] - share[r]
        influence[:, r] = np.sum(own * at - total / whole * moved * at, axis=1)
    statistic, df = quadratic(score, influence.T @ influence)
    return TestResult(
        statistic, float(special.chdtrc(df, statistic)), None, None, len(times), "case",
        "Gray's test, infinitesimal jackknife", df=float(df),
        details={"observed": dead.sum(1).tolist(), "score": score.tolist()},
    )  # fmt: skip


def _present(cause: int, codes: NDArray[np.intp]) -> int:
    cause = check_whole(cause, "cause", 1)
    if not (codes == cause).any():
        raise ValueError(f"no event is of cause {cause}; there are {np.unique(codes).tolist()}")
    return cause


def _counts(time: Floats, counted: NDArray[np.bool_], at: Floats) -> Floats:
    """Return how many of the counted cases end at each of the ascending times."""
    ended = np.sort(time[counted])
    return (np.searchsorted(ended, at, "right") - np.searchsorted(ended, at)).astype(np.float64)


def _survival_before(
    time: Floats, codes: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return times, survival from all causes just before each, its log's influences, the risk set.

    Rows of the influences are cases, columns the distinct times of these cases.
    """
    table = risk_table(time, codes > 0)
    steps = kaplan_meier_steps(table)
    left = table.at_risk - table.events
    safe = np.where(left > 0, left, 1.0)
    here = time[:, None] == table.time
    at_risk = time[:, None] >= table.time
    gone = here & (codes > 0)[:, None]
    stays = at_risk & ~gone
    # d log(1 - d/n) = d(n - d) / (n - d) - dn / n; past a survival of 0 nothing is asked.
    each = np.where(left > 0, stays / safe, 0.0) - at_risk / table.at_risk
    log_moved = np.concatenate((np.zeros((len(time), 1)), np.cumsum(each, axis=1)[:, :-1]), axis=1)
    before = np.concatenate(([1.0], steps[:-1]))
    return table.time, before, log_moved, table.at_risk


def _incidence(
    time: Floats, codes: NDArray[np.intp], cause: int, at: Floats
) -> tuple[Floats, Floats]:
    """Return the cumulative incidence at each time and (cases, times) influences."""
    when, before, log_moved, n = _survival_before(time, codes)
    dead = _counts(time, codes == cause, when)
    jump = before * dead / n
    own = (time[:, None] == when) & (codes == cause)[:, None]
    moved = jump * log_moved + before / n * own - jump / n * (time[:, None] >= when)
    reached = np.searchsorted(when, at, "right")
    value = np.concatenate(([0.0], np.cumsum(jump)))[reached]
    total = np.concatenate((np.zeros((len(time), 1)), np.cumsum(moved, axis=1)), axis=1)
    return value, total[:, reached]


def _subdistribution_risk(
    time: Floats, codes: NDArray[np.intp], cause: int, at: Floats
) -> tuple[Floats, Floats]:
    """Return Gray's weighted risk set at each time and its (cases, times) influences."""
    when, before, log_moved, n = _survival_before(time, codes)
    value, moved = _incidence(time, codes, cause, when)
    free = 1 - np.concatenate(([0.0], value[:-1]))
    free_moved = -np.concatenate((np.zeros((len(time), 1)), moved[:, :-1]), axis=1)
    good = (before > 0) & (free > 0)
    s, g = np.where(good, before, 1.0), np.where(good, free, 1.0)
    sets = np.where(good, n * g / s, 0.0)
    at_risk = time[:, None] >= when
    influence = sets * (at_risk / n + free_moved / g - log_moved)
    # At a time that is not one of the group's own, the next of its times has the same risk set.
    reached = np.searchsorted(when, at)
    none = np.zeros((len(time), 1))
    return (
        np.append(sets, 0.0)[reached],
        np.concatenate((np.where(good, influence, 0.0), none), axis=1)[:, reached],
    )
