"""Are predicted probabilities of survival true at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_level, check_whole
from jaxmed.stats.survival._at_times import survival_probabilities
from jaxmed.stats.survival._censoring import Censoring, check_horizon
from jaxmed.stats.survival._cox import cox_model
from jaxmed.stats.survival._curves import kaplan_meier
from jaxmed.stats.survival._followed import Followed, followed

_CLIP = 1e-6


class SurvivalCalibration(NamedTuple):
    """Predicted and observed risk of the event by a time, in groups of rising predicted risk.

    predicted, observed, lower, upper: (bins,) mean predicted and Kaplan-Meier risk with its limits;
    count: (bins,) cases; ratio: observed over expected events of all, 1 if calibrated in the
    large; slope: of the complementary log-log of survival, 1 if neither too extreme nor too timid;
    None where all are predicted alike.
    """

    predicted: Floats
    observed: Floats
    lower: Floats
    upper: Floats
    count: Floats
    ratio: Estimate
    slope: Estimate | None
    at: float
    level: float


def survival_calibration(
    time: ArrayLike,
    event: ArrayLike,
    survival: ArrayLike,
    *,
    at: float,
    bins: int = 5,
    level: float = 0.95,
) -> SurvivalCalibration:
    r"""Compare predicted survival to a time with Kaplan and Meier's estimate.

    The slope is the coefficient of :math:`\log(-\log \hat S_i)` in Cox's model of the outcome.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        survival: (cases,) predicted probability of being free of the event at the time.
        at: the time.
        bins: groups of about equal size; fewer where predictions repeat.
        level: confidence level.

    Returns:
        Groups, ratio and slope with intervals. A group in which nobody is observed until the time
        has NaN for its observed risk.

    Raises:
        ValueError: as in `survival_brier`, or fewer cases than bins.

    References:
        Crowson, Atkinson and Therneau (2016), Stat Methods Med Res 25:1692. van Houwelingen (2000),
        Stat Med 19:3401.

    Examples:
        >>> time, event = [1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 0, 1, 1, 0, 1, 1]
        >>> c = survival_calibration(time, event, [0.1, 0.1, 0.4, 0.4, 0.6, 0.6, 0.9, 0.9], at=4.5,
        ...                          bins=2)
        >>> c.predicted, c.observed.round(3), round(c.ratio.value, 3)
        (array([0.25, 0.75]), array([0., 1.]), 0.8)
    """
    check_level(level)
    cases = followed(time, event)
    predicted = survival_probabilities(survival, cases.time, 1)
    check_horizon(Censoring(cases), at)
    bins = check_whole(bins, "bins", 1)
    if bins > len(predicted):
        raise ValueError(f"bins is {bins}, but there are {len(predicted)} cases")
    risk = 1 - predicted
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, bins + 1)[1:-1]))
    code = np.searchsorted(edges, risk, "right")
    rows = []
    for k in np.unique(code):
        inside = code == k
        curve = kaplan_meier(cases.time[inside], cases.event[inside], level=level)
        value, low, high = (1 - line[0] for line in curve.at(at))
        rows.append((risk[inside].mean(), value, high, low, inside.sum()))
    mean, observed, lower, upper, count = np.array(rows, np.float64).T
    return SurvivalCalibration(
        mean,
        observed,
        lower,
        upper,
        count,
        _ratio(cases, risk, at, level),
        _slope(cases, predicted, level),
        float(at),
        level,
    )


def _ratio(cases: Followed, risk: Floats, at: float, level: float) -> Estimate:
    curve = kaplan_meier(*cases, level=level)
    value, low, high = (1 - line[0] for line in curve.at(at))
    expected = float(risk.mean())
    scale = 1 / expected if expected > 0 else float("nan")
    return Estimate(
        float(value * scale), float(high * scale), float(low * scale), level, len(risk), "case",
        "Kaplan-Meier, log-log, over the mean prediction", name=f"observed / expected at {at:g}",
        details={"observed": float(value), "expected": expected},
    )  # fmt: skip


def _slope(cases: Followed, survival: Floats, level: float) -> Estimate | None:
    kept = np.clip(survival, _CLIP, 1 - _CLIP)
    hazard = np.log(-np.log(kept))
    if np.ptp(hazard) < 1e-9:
        return None
    model = cox_model(*cases, hazard[:, None], level=level)
    ratio = model.hazard_ratios[0]
    notes = model.notes
    with np.errstate(divide="ignore"):  # no limit below, where the likelihood has no maximum
        lower, upper = np.log(ratio.lower), np.log(ratio.upper)
    if clipped := int((kept != survival).sum()):
        notes = (*notes, f"{clipped} probabilities were clipped at {_CLIP:g}")
    return Estimate(
        ratio.details["log"], float(lower), float(upper), level,
        ratio.n, "case", "Wald, Cox on the complementary log-log", notes,
        se=ratio.details["se_log"], name="calibration slope",
    )  # fmt: skip
