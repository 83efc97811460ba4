"""Predictions by a time: area under the ROC curve, Brier score, its integral."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxmed.quantities import placements
from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import Floats, check_level, finite
from jaxmed.stats.survival._censoring import Censoring, check_horizon
from jaxmed.stats.survival._followed import check_times, followed, per_case
from jaxmed.stats.survival._influence import estimate


def survival_auc(
    time: ArrayLike,
    event: ArrayLike,
    risk: ArrayLike,
    *,
    at: float,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    r"""Estimate the area under the ROC curve of who has the event by a time against who has not.

    .. math:: \frac{\sum_{i,j} \delta_i [t_i \le t] [t_j > t] \left([r_i > r_j] +
       \tfrac12 [r_i = r_j]\right) / \hat G(t_i-)}
       {\sum_{i,j} \delta_i [t_i \le t] [t_j > t] / \hat G(t_i-)}

    the cumulative-dynamic area, weighted by the inverse of the probability of being uncensored.
    Who is censored before the time is no case of either kind, and speaks through the weights.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        risk: (cases,) any numbers, higher for earlier events.
        at: the time.
        level: confidence level.
        groups: (cases,) patient of each case.
        unit: name of the counted unit.

    Returns:
        The estimate, with a logit interval from the infinitesimal jackknife.

    Raises:
        ValueError: no event by the time, nobody observed beyond it, or input as in `kaplan_meier`.

    References:
        Uno et al. (2007), JASA 102:527. Hung and Chiang (2010), Can J Stat 38:8.

    Examples:
        >>> e = survival_auc([2, 4, 6, 8, 9], [1, 1, 0, 1, 1], [5, 2, 3, 4, 1], at=5)
        >>> round(e.value, 3)
        0.667
    """
    check_level(level)
    cases = followed(time, event)
    x = per_case(risk, "risk", cases.time)
    censoring = Censoring(cases)
    check_horizon(censoring, at)
    early, late = cases.event & (cases.time <= at), cases.time > at
    if not early.any():
        raise ValueError(f"there is no event until at={at:g}")
    if not late.any():
        raise ValueError(f"nobody is observed beyond at={at:g}: there is none to compare with")
    reached = censoring.reached(cases.time, before=True)
    weight = np.zeros(len(x))
    weight[early] = 1 / censoring.steps[reached[early]]
    both = early | late
    parts = placements(early[both], x[both])  # of each early case, the share of later ones below
    beats = np.zeros(len(x))
    beats[early] = parts.positives
    value = float(weight @ beats / weight.sum())
    lost = np.zeros(len(x))
    order = np.argsort(x[early], kind="stable")
    risks, above = x[early][order], weight[early][order][::-1].cumsum()[::-1]
    tail = np.append(above, 0.0)
    higher = tail[np.searchsorted(risks, x[late], "right")]
    same = tail[np.searchsorted(risks, x[late], "left")] - higher
    lost[late] = (higher + 0.5 * same) / weight.sum() - value
    excess = weight * (beats - value) / weight.sum()
    influence = excess + lost / late.sum() + censoring.influence(reached, -excess)
    return estimate(
        value, influence, name=f"AUC at {at:g}", level=level, groups=groups, unit=unit, logit=True,
        details={"events": int(early.sum()), "beyond": int(late.sum())},
    )  # fmt: skip


def survival_brier(
    time: ArrayLike,
    event: ArrayLike,
    survival: ArrayLike,
    *,
    at: float,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    r"""Estimate the Brier score of predicted survival to a time, weighted for censoring.

    .. math:: \frac1n \sum_i \frac{\delta_i [t_i \le t] S_i^2}{\hat G(t_i-)} +
       \frac{[t_i > t] (1 - S_i)^2}{\hat G(t)}

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        survival: (cases,) predicted probability of being free of the event at the time.
        at: the time.
        level: confidence level.
        groups: (cases,) patient of each case.
        unit: name of the counted unit.

    Returns:
        The estimate, with a normal interval from the infinitesimal jackknife. In `details`, the
        `reference` that predicts the Kaplan-Meier estimate for all, and the `skill` against it.

    Raises:
        ValueError: probabilities outside [0, 1], or times as in `survival_auc`.

    References:
        Graf et al. (1999), Stat Med 18:2529. Gerds and Schumacher (2006), Biom J 48:1029.

    Examples:
        >>> round(survival_brier([2, 4, 6, 8], [1, 1, 0, 1], [0.1, 0.4, 0.8, 0.9], at=5).value, 3)
        0.055
    """
    check_level(level)
    cases = followed(time, event)
    predicted = survival_probabilities(survival, cases.time, 1)
    censoring = Censoring(cases)
    check_horizon(censoring, at)
    values, influence = _brier(censoring, predicted, at)
    free = _kaplan_meier(censoring, at)
    reference = float(_brier(censoring, np.full(len(predicted), free), at)[0])
    return estimate(
        values, influence, name=f"Brier score at {at:g}", level=level, groups=groups, unit=unit,
        logit=False, details=_skill(values, reference),
    )  # fmt: skip


def integrated_brier(
    time: ArrayLike,
    event: ArrayLike,
    survival: ArrayLike,
    *,
    times: ArrayLike,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    unit: str | None = None,
) -> Estimate:
    r"""Estimate the Brier score's mean over an interval of time, by the trapezoidal rule.

    .. math:: \frac{1}{t_m - t_1} \int_{t_1}^{t_m} \operatorname{BS}(t)\,dt

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        survival: (cases, times) predicted probabilities of being free of the event at each time.
        times: (times,) ascending, two or more.
        level: confidence level.
        groups: (cases,) patient of each case.
        unit: name of the counted unit.

    Returns:
        The estimate, with the score at each time, `reference` and `skill` in `details`.

    Raises:
        ValueError: as in `survival_brier`.

    References:
        Graf et al. (1999), Stat Med 18:2529.

    Examples:
        >>> predicted = [[0.2, 0.1], [0.8, 0.4], [0.9, 0.8], [0.9, 0.9]]
        >>> round(integrated_brier([2, 4, 6, 8], [1, 1, 0, 1], predicted, times=[3, 5]).value, 4)
        0.04
    """
    check_level(level)
    cases = followed(time, event)
    predicted = survival_probabilities(survival, cases.time, 2)
    grid = check_times(finite(times, "times", minimum=2), "times")
    if (np.diff(grid) <= 0).any():
        raise ValueError("times must ascend, each once")
    if predicted.shape[1] != len(grid):
        raise ValueError(
            f"survival must be (cases, times) with {len(grid)} times, but is {predicted.shape}"
        )
    censoring = Censoring(cases)
    for at in grid[[0, -1]]:
        check_horizon(censoring, float(at), "times")
    gaps = np.diff(grid)
    weights = np.zeros(len(grid))
    weights[:-1] += gaps / 2
    weights[1:] += gaps / 2
    weights /= grid[-1] - grid[0]
    scores = [_brier(censoring, predicted[:, k], float(at)) for k, at in enumerate(grid)]
    free = [np.full(len(predicted), _kaplan_meier(censoring, float(at))) for at in grid]
    known = [float(_brier(censoring, s, float(at))[0]) for s, at in zip(free, grid, strict=True)]
    each = np.array([value for value, _ in scores])
    value = float(weights @ each)
    return estimate(
        value, weights @ np.array([moved for _, moved in scores]), level=level, groups=groups,
        name=f"integrated Brier score, {grid[0]:g} to {grid[-1]:g}", unit=unit, logit=False,
        details={"scores": each.tolist(), **_skill(value, float(weights @ known))},
    )  # fmt: skip


def _skill(value: float, reference: float) -> dict[str, float | None]:
    return {"reference": reference, "skill": 1 - value / reference if reference > 0 else None}


def _brier(censoring: Censoring, survival: Floats, at: float) -> tuple[float, Floats]:
    """Return the score at a time, and each case's influence on it."""
    cases = censoring.cases
    early, late = cases.event & (cases.time <= at), cases.time > at
    before = censoring.reached(cases.time, before=True)
    reached = np.where(late, censoring.reached(np.array(at), before=False), before)
    terms = np.zeros(len(survival))
    terms[early] = survival[early] ** 2 / censoring.steps[reached[early]]
    terms[late] = (1 - survival[late]) ** 2 / censoring.steps[reached[late]]
    value = float(terms.mean())
    influence = (terms - value + censoring.influence(reached, -terms)) / len(terms)
    return value, influence


def _kaplan_meier(censoring: Censoring, at: float) -> float:
    table = censoring.table
    return float(np.prod(1 - (table.events / table.at_risk)[table.time <= at]))


def survival_probabilities(survival: ArrayLike, cases: Floats, ndim: int) -> Floats:
    """Return predicted probabilities of survival, one row a case."""
    array = per_case(survival, "survival", cases, ndim=ndim)
    if array.min() < 0 or array.max() > 1:
        raise ValueError(
            f"survival must hold probabilities in [0, 1], but ranges from {array.min():g} to "
            f"{array.max():g}"
        )
    return array
