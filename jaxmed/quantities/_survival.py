"""Quantities of times to an event, of which some are censored: risk sets, curves, pairs.

Where an event and a censoring share a time, the event came first: whoever was censored was at risk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CHUNK = 4_000_000  # pairs looked at together


class RiskTable(NamedTuple):
    """Who is at risk when, at each distinct time, in ascending order.

    time: (times,); at_risk: (times,) under observation just before it; events, censored: (times,)
    at it. Counts, or sums of weights.
    """

    time: Floats
    at_risk: Floats
    events: Floats
    censored: Floats


def risk_table(time: Floats, event: Bools, weights: Floats | None = None) -> RiskTable:
    """Return who is at risk at each distinct time.

    Examples:
        >>> risk_table(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, True])).at_risk
        array([4., 3., 1.])
    """
    weights = np.ones(len(time)) if weights is None else weights
    times, code = np.unique(time, return_inverse=True)
    counted = (np.bincount(code, weights * which, len(times)) for which in (event, ~event))
    events, censored = (count.astype(np.float64) for count in counted)
    at_risk = np.cumsum((events + censored)[::-1])[::-1]
    return RiskTable(times, at_risk, events, censored)


def kaplan_meier_steps(table: RiskTable) -> Floats:
    """Return the product-limit estimate of survival beyond each of the table's times.

    Examples:
        >>> kaplan_meier_steps(risk_table(np.array([1.0, 2.0]), np.array([True, False])))
        array([0.5, 0.5])
    """
    return np.cumprod(1.0 - table.events / table.at_risk, dtype=np.float64)


def censoring_steps(table: RiskTable) -> Floats:
    """Return the product-limit estimate of remaining uncensored beyond each of the table's times.

    Examples:
        >>> censoring_steps(risk_table(np.array([1.0, 1.0, 2.0]), np.array([True, False, True])))
        array([0.5, 0.5])
    """
    exposed = table.at_risk - table.events
    share = np.divide(table.censored, exposed, out=np.zeros(len(exposed)), where=exposed > 0)
    return np.cumprod(1.0 - share, dtype=np.float64)


def step_at(times: Floats, values: Floats, at: Floats, start: float, *, before: bool) -> Floats:
    """Return a step function's value at each time, or just before it; `start` ahead of all steps.

    Examples:
        >>> step_at(np.array([1.0]), np.array([0.5]), np.array([1.0]), 1.0, before=True)
        array([1.])
    """
    reached = np.searchsorted(times, at, "left" if before else "right")
    return np.concatenate(([start], values))[reached]


class PairSums(NamedTuple):
    """What each case adds to the pairs of a concordance.

    wins, pairs: (cases,) summed over those that outlived the case, if it had the event: the
    pairs in which its risk was the higher (ties count half), and all pairs.
    wins_outlived, pairs_outlived: (cases,) the same summed over those that it outlived.
    """

    wins: Floats
    pairs: Floats
    wins_outlived: Floats
    pairs_outlived: Floats


def concordance_sums(
    time: Floats,
    event: Bools,
    risk: Floats,
    weights: Floats | None = None,
    pair_weights: Floats | None = None,
) -> PairSums:
    """Return what each case adds to the comparable pairs: one had the event, the other later or no.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) whether it was the event.
        risk: (cases,) higher for earlier events.
        weights: (cases,) how often each counts; once if absent.
        pair_weights: (cases,) weight of the pairs in which the case had the event; 1 if absent.

    Examples:
        >>> time, risk = np.array([1.0, 2.0, 3.0]), np.array([3.0, 1.0, 2.0])
        >>> sums = concordance_sums(time, np.ones(3, bool), risk)
        >>> sums.wins, sums.pairs
        (array([2., 0., 0.]), array([2., 1., 0.]))
    """
    n = len(time)
    weights = np.ones(n) if weights is None else weights
    each = np.ones(n) if pair_weights is None else pair_weights
    sums = PairSums(*(np.zeros(n) for _ in range(4)))
    first = np.flatnonzero(event & (each > 0) & (weights > 0))
    size = max(1, _CHUNK // max(n, 1))
    for start in range(0, len(first), size):
        i = first[start : start + size]
        outlived = (time > time[i, None]) | ((time == time[i, None]) & ~event)
        won = np.where(outlived, (risk[i, None] > risk) + 0.5 * (risk[i, None] == risk), 0.0)
        sums.wins[i] = each[i] * (won @ weights)
        sums.pairs[i] = each[i] * (outlived @ weights)
        counted = each[i] * weights[i]
        sums.wins_outlived[:] += counted @ won
        sums.pairs_outlived[:] += counted @ outlived
    return sums


def concordance(
    time: Floats,
    event: Bools,
    risk: Floats,
    weights: Floats | None = None,
    pair_weights: Floats | None = None,
) -> float:
    """Return the share of comparable pairs whose earlier event had the higher risk; NaN without.

    Arguments as in :func:`concordance_sums`.

    Examples:
        >>> concordance(np.array([1.0, 2.0, 3.0]), np.ones(3, bool), np.array([3, 1, 2]))
        0.6666666666666666
    """
    weights = np.ones(len(time)) if weights is None else weights
    sums = concordance_sums(time, event, risk, weights, pair_weights)
    pairs = float(weights @ sums.pairs)
    return float(weights @ sums.wins) / pairs if pairs > 0 else float("nan")
