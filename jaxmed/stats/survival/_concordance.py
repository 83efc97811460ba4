"""Does a higher risk mean an earlier event: Harrell's and Uno's concordance."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import concordance_sums
from jaxmed.stats._result import Estimate, TestResult
from jaxmed.stats.checks import Floats, check_level, quantile, spelled, unknown
from jaxmed.stats.diagnostic._auc import newcombe_limits
from jaxmed.stats.survival._censoring import Censoring
from jaxmed.stats.survival._followed import Followed, followed, per_case
from jaxmed.stats.survival._influence import difference, estimate

METHODS = ("harrell", "uno")
_NAMES = {"harrell": "Harrell's C", "uno": "Uno's C"}


class _Found(NamedTuple):
    value: float
    influence: Floats
    pairs: float
    events: int


def survival_concordance(
    time: ArrayLike,
    event: ArrayLike,
    risk: ArrayLike,
    *,
    method: str = "harrell",
    until: float | None = None,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    r"""Estimate how often, of two cases, the one with the earlier event had the higher risk.

    .. math:: \frac{\sum_{i,j} \delta_i v_i [t_i < t_j]
       \left([r_i > r_j] + \tfrac12 [r_i = r_j]\right)}{\sum_{i,j} \delta_i v_i [t_i < t_j]}

    Harrell's :math:`v_i = 1` counts each comparable pair once; what it estimates depends on the
    censoring. Uno's :math:`v_i = \hat G(t_i-)^{-2}`, with the probability of being uncensored,
    does not, if censoring is independent of event and risk; it needs a horizon where few remain.
    Two events at one time are no pair; one that is censored at the time of an event outlived it.
    The variance is the infinitesimal jackknife's, the limits are on the logit scale.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        risk: (cases,) any numbers, higher for earlier events: a log hazard, or minus a time.
        method: `harrell` or `uno`.
        until: count the events before this time alone, Uno's :math:`\tau`; all by default.
        level: confidence level.
        groups: (cases,) patient of each case, where one has several.
        unit: name of the counted unit.

    Returns:
        The estimate; .5 is chance. Pairs and events are in `details`.

    Raises:
        ValueError: no comparable pair, NaN, unequal lengths, events other than 0 and 1.

    References:
        Harrell, Lee and Mark (1996), Stat Med 15:361. Uno et al. (2011), Stat Med 30:1105.
        Therneau and Watson (2017), The concordance statistic and the Cox model.

    Examples:
        >>> e = survival_concordance([2, 4, 6, 8], [1, 1, 0, 1], [0.9, 0.4, 0.5, 0.1])
        >>> e.value, e.details["pairs"]
        (0.8, 5.0)
    """
    check_level(level)
    chosen = _method(method)
    cases = followed(time, event)
    found = _concordance(cases, per_case(risk, "risk", cases.time), chosen, until)
    made = estimate(
        found.value, found.influence, name=_NAMES[chosen], level=level, groups=groups, unit=unit,
        logit=True, details={"pairs": found.pairs, "events": found.events, "until": until},
    )  # fmt: skip
    if 0 < found.value < 1 or made.n == 1:
        return made
    # No pair is out of order, and the variance 0: as an area of as many cases of either kind.
    lower, upper = newcombe_limits(
        found.value, found.events, max(made.n - found.events, 1), quantile(level)
    )
    note = "all pairs agree, the variance is 0: Newcombe's score limits of an AUC"
    return dataclasses.replace(
        made, lower=lower, upper=upper, method="newcombe", notes=(note,)
    )  # fmt: skip


def survival_concordance_test(
    time: ArrayLike,
    event: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    method: str = "harrell",
    until: float | None = None,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> TestResult:
    """Compare the concordances of two risks of the same cases.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        first: (cases,) risks of one model.
        second: (cases,) risks of the other.
        method: `harrell` or `uno`.
        until: as in `survival_concordance`.
        level: confidence level of the difference.
        groups: (cases,) patient of each case.
        unit: name of the counted unit.

    Returns:
        The test of first - second, from the differences of the cases' influences.

    Raises:
        ValueError: as in `survival_concordance`.

    Examples:
        >>> time, event = [2, 4, 6, 8, 9], [1, 1, 0, 1, 1]
        >>> r = survival_concordance_test(time, event, [5, 4, 3, 2, 1], [5, 2, 1, 4, 3])
        >>> round(r.effect, 3), r.interval[0] < r.effect < r.interval[1]
        (0.25, True)
    """
    chosen = _method(method)
    cases = followed(time, event)
    one = _concordance(cases, per_case(first, "first", cases.time), chosen, until)
    two = _concordance(cases, per_case(second, "second", cases.time), chosen, until)
    return difference(
        one.value - two.value, one.influence - two.influence, level=level, groups=groups,
        unit=unit, name=f"difference of {_NAMES[chosen]}",
        details={"first": one.value, "second": two.value},
    )  # fmt: skip


def _method(method: str) -> str:
    chosen = spelled(method)
    if chosen not in METHODS:
        raise unknown("method", method, METHODS)
    return chosen


def _concordance(cases: Followed, risk: Floats, method: str, until: float | None) -> _Found:
    counted = cases.event if until is None else cases.event & (cases.time < until)
    each = counted.astype(np.float64)
    censoring = Censoring(cases)
    reached = censoring.reached(cases.time, before=True)
    if method == "uno":
        each[counted] /= censoring.steps[reached[counted]] ** 2
    sums = concordance_sums(cases.time, cases.event, risk, None, each)
    pairs = float(sums.pairs.sum())
    if pairs == 0:
        raise ValueError(
            "no two cases are comparable: no event before "
            f"{'another case ended' if until is None else f'until={until:g}'}"
        )
    value = float(sums.wins.sum()) / pairs
    excess = sums.wins - value * sums.pairs
    influence = excess + sums.wins_outlived - value * sums.pairs_outlived
    if method == "uno":
        influence = influence + censoring.influence(reached, -2 * excess)
    return _Found(value, influence / pairs, pairs, int(counted.sum()))
