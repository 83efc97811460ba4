"""Survival and cumulative hazard over time: Kaplan-Meier, Nelson-Aalen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import kaplan_meier_steps, risk_table, step_at
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_rate, quantile, spelled, unknown
from jaxmed.stats.survival._followed import check_times, followed

METHODS = ("log-log", "log", "plain")


class SurvivalCurve(NamedTuple):
    """A step function of time with pointwise limits; a step holds until the next.

    time: (steps,) distinct times of events and censorings; value, lower, upper: (steps,) from that
    time on; at_risk: (steps,) just before it; events, censored: (steps,) at it. `start` is the
    value before the first step: 1 of survival, 0 of a hazard or an incidence.
    """

    time: Floats
    value: Floats
    lower: Floats
    upper: Floats
    at_risk: Floats
    events: Floats
    censored: Floats
    start: float
    level: float
    method: str

    def at(self, times: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return value, lower and upper limit at each time.

        Beyond the last time nothing is known, NaN, unless all who were left then had an event.
        """
        asked = check_times(np.atleast_1d(np.asarray(times, np.float64)), "times")
        found = [
            step_at(self.time, line, asked, self.start, before=False)
            for line in (self.value, self.lower, self.upper)
        ]
        beyond = (asked > self.time[-1]) & (self.censored[-1] > 0)
        value, lower, upper = (np.where(beyond, np.nan, line) for line in found)
        return value, lower, upper

    def at_risk_at(self, times: ArrayLike) -> Floats:
        """Return how many are still under observation at each time."""
        asked = check_times(np.atleast_1d(np.asarray(times, np.float64)), "times")
        left = np.append(self.at_risk, 0.0)
        return left[np.searchsorted(self.time, asked, "left")]


def kaplan_meier(
    time: ArrayLike, event: ArrayLike, *, method: str = "log-log", level: float = 0.95
) -> SurvivalCurve:
    r"""Estimate the survival function by Kaplan and Meier's product limit.

    .. math:: \hat S(t) = \prod_{t_i \le t} \left(1 - \frac{d_i}{n_i}\right), \qquad
       \widehat{\operatorname{var}} \log \hat S(t) = \sum_{t_i \le t} \frac{d_i}{n_i (n_i - d_i)}

    with Greenwood's variance. Limits at 0 are 0 and the last upper limit before it, since the
    variance is not defined there.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        method: limits on the scale of `log-log` (which stays in [0, 1]), `log` or `plain`.
        level: confidence level of each point's limits.

    Returns:
        The curve, a step for each distinct time.

    Raises:
        ValueError: times that are negative or not finite, or events other than 0 and 1.

    References:
        Kaplan and Meier (1958), JASA 53:457. Greenwood (1926). Kalbfleisch and Prentice (1980).

    Examples:
        >>> curve = kaplan_meier([1, 2, 2, 3, 4], [1, 1, 0, 1, 0])
        >>> curve.value.round(2)
        array([0.8, 0.6, 0.3, 0.3])
        >>> [float(x[0].round(2)) for x in curve.at(2.5)]
        [0.6, 0.13, 0.88]
    """
    z = quantile(level)
    chosen = _scale(method)
    cases = followed(time, event, some=False)
    table = risk_table(*cases)
    survival = kaplan_meier_steps(table)
    variance = greenwood(table.at_risk, table.events)
    lower, upper = _limits(survival, np.sqrt(variance), z, chosen)
    return SurvivalCurve(
        table.time, survival, lower, upper, *table[1:], 1.0, level, f"Kaplan-Meier, {chosen}"
    )


def nelson_aalen(
    time: ArrayLike, event: ArrayLike, *, method: str = "log", level: float = 0.95
) -> SurvivalCurve:
    r"""Estimate the cumulative hazard by Nelson and Aalen's sum.

    .. math:: \hat H(t) = \sum_{t_i \le t} \frac{d_i}{n_i}, \qquad
       \widehat{\operatorname{var}} \hat H(t) = \sum_{t_i \le t} \frac{(n_i - d_i) d_i}{n_i^3}

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        method: limits on the scale of `log`, or `plain`.
        level: confidence level of each point's limits.

    Returns:
        The curve, a step for each distinct time.

    Raises:
        ValueError: as in `kaplan_meier`.

    References:
        Nelson (1972), Technometrics 14:945. Aalen (1978), Ann Stat 6:701.

    Examples:
        >>> nelson_aalen([1, 2, 2, 3], [1, 1, 0, 1]).value.round(3)
        array([0.25 , 0.583, 1.583])
    """
    z = quantile(level)
    chosen = spelled(method)
    if chosen not in ("log", "plain"):
        raise unknown("method", method, ("log", "plain"))
    table = risk_table(*followed(time, event, some=False))
    share = table.events / table.at_risk
    hazard = np.cumsum(share)
    half = z * np.sqrt(np.cumsum((1 - share) * share / table.at_risk))
    if chosen == "log":
        factor = np.exp(np.divide(half, hazard, out=np.zeros(len(half)), where=hazard > 0))
        lower, upper = hazard / factor, hazard * factor
    else:
        lower, upper = np.maximum(hazard - half, 0), hazard + half
    return SurvivalCurve(
        table.time, hazard, lower, upper, *table[1:], 0.0, level, f"Nelson-Aalen, {chosen}"
    )


def survival_quantile(
    time: ArrayLike,
    event: ArrayLike,
    share: float = 0.5,
    *,
    method: str = "log-log",
    level: float = 0.95,
) -> Estimate:
    """Estimate the time by which a share of the cases had the event; the median by default.

    The limits are where the curve's limits pass the share (Brookmeyer and Crowley).

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        share: of the cases, in (0, 1).
        method: scale of the curve's limits, as in `kaplan_meier`.
        level: confidence level.

    Returns:
        The estimate; infinite, with a note, where the curve does not fall so far.

    Raises:
        ValueError: as in `kaplan_meier`.

    References:
        Brookmeyer and Crowley (1982), Biometrics 38:29.

    Examples:
        >>> print(survival_quantile([1, 2, 3, 4, 5, 6], [1, 1, 1, 0, 1, 1]))
        median survival 3.000 (95% CI 1.000 to inf; n = 6 cases, Brookmeyer-Crowley, log-log)
    """
    check_rate(share, "share")
    curve = kaplan_meier(time, event, method=method, level=level)
    left = 1 - share

    def passed(line: Floats) -> float:
        below = np.flatnonzero(line <= left + 1e-12)
        return float(curve.time[below[0]]) if below.size else float("inf")

    value = passed(curve.value)
    notes = ("the curve does not fall so far",) if np.isinf(value) else ()
    name = "median survival" if share == 0.5 else f"time of a share of {share:g}"
    return Estimate(
        value, passed(curve.lower), passed(curve.upper), level, int(curve.at_risk[0]), "case",
        f"Brookmeyer-Crowley, {_scale(method)}", notes, name=name,
        details={"events": int(curve.events.sum())},
    )  # fmt: skip


def restricted_mean_survival(
    time: ArrayLike, event: ArrayLike, until: float, *, level: float = 0.95
) -> Estimate:
    r"""Estimate the mean time free of the event within a horizon: the area under the curve.

    .. math:: \int_0^\tau \hat S(t)\,dt, \qquad
       \sum_{t_i \le \tau} \Bigl(\int_{t_i}^\tau \hat S\Bigr)^2 \frac{d_i}{n_i (n_i - d_i)}

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        until: the horizon, at most the last time.
        level: confidence level.

    Returns:
        The estimate, with a normal interval inside [0, until].

    Raises:
        ValueError: as in `kaplan_meier`, or a horizon that nobody reached.

    References:
        Royston and Parmar (2013), BMC Med Res Methodol 13:152.

    Examples:
        >>> restricted_mean_survival([1, 2, 3, 4], [1, 1, 1, 1], until=4).value
        2.5
    """
    z = quantile(level)
    curve = kaplan_meier(time, event, level=level)
    if not 0 < until <= curve.time[-1]:
        raise ValueError(
            f"until must lie in (0, {curve.time[-1]:g}], the last time observed, but is {until}"
        )
    inside = curve.time < until
    edges = np.concatenate(([0.0], curve.time[inside], [until]))
    areas = np.diff(edges) * np.concatenate(([1.0], curve.value[inside]))
    value = float(areas.sum())
    ahead = value - np.cumsum(areas)[:-1]
    dead, risk = curve.events[inside], curve.at_risk[inside]
    term = np.divide(dead, risk * (risk - dead), out=np.zeros(len(dead)), where=risk > dead)
    se = float(np.sqrt(np.sum(ahead**2 * term)))
    return Estimate(
        value, max(value - z * se, 0.0), min(value + z * se, until), level,
        int(curve.at_risk[0]), "case", "normal, Greenwood", se=se,
        name=f"restricted mean survival to {until:g}",
    )  # fmt: skip


def greenwood(at_risk: Floats, events: Floats) -> Floats:
    """Return Greenwood's variance of the log of the product limit; infinite where it is 0."""
    left = at_risk - events
    with np.errstate(divide="ignore"):
        return np.cumsum(np.where(events > 0, events / (at_risk * left), 0.0))


def _scale(method: str) -> str:
    chosen = spelled(method)
    if chosen not in METHODS:
        raise unknown("method", method, METHODS)
    return chosen


def _limits(value: Floats, error: Floats, z: float, scale: str) -> tuple[Floats, Floats]:
    """Return limits from the standard error of log S; 0 and the one before where S is 0."""
    inner = (value > 0) & (value < 1)
    s = np.where(inner, value, 0.5)
    half = z * np.where(inner, error, 0.0)
    if scale == "log-log":
        spread = np.exp(half / -np.log(s))
        lower, upper = s**spread, s ** (1 / spread)
    elif scale == "log":
        lower, upper = s * np.exp(-half), np.minimum(s * np.exp(half), 1.0)
    else:
        lower, upper = np.maximum(s - half * s, 0.0), np.minimum(s + half * s, 1.0)
    lower, upper = np.where(inner, lower, value), np.where(inner, upper, value)
    dead = np.flatnonzero(value <= 0)
    if dead.size:
        upper[dead] = upper[dead[0] - 1] if dead[0] else 1.0
    return lower, upper
