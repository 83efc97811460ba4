"""From follow-up and predicted risks to results: every measure with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.report.results._results import SurvivalResults

Array = NDArray[Any]


class SurvivalPredictions(NamedTuple):
    """Follow-up and predictions, one row per case.

    Attributes:
        cases: names.
        time: (cases,) of the event or of the end of observation.
        event: (cases,) whether it was the event.
        risk: (cases,) predicted, higher for earlier events.
        survival: (cases, times) predicted probabilities of being free of the event, or None.
        times: (times,) of these.
        groups: patients, or None.
        band: (cases,) risk group, 0 the lowest.
    """

    cases: tuple[str, ...]
    time: Array
    event: Array
    risk: Array
    survival: Array | None
    times: Array
    groups: tuple[Any, ...] | None
    band: Array


def survival(
    time: ArrayLike,
    event: ArrayLike,
    survival: ArrayLike | None = None,
    *,
    times: ArrayLike = (),
    risk: ArrayLike | None = None,
    at: float | None = None,
    bands: int = 3,
    unit: str = "",
    cases: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    title: str = "Survival",
    **about: Any,
) -> SurvivalResults:
    """Evaluate predicted survival of any model.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        survival: (cases, times) predicted probabilities of being free of the event at each of
            `times`. Without, risks are ranked alone: no Brier score, no calibration.
        times: (times,) ascending; those that nobody is observed beyond are left out, with a note.
        risk: (cases,) higher for earlier events; by default minus the mean predicted survival.
        at: the time of the area under the ROC curve, the Brier score and calibration; by default
            the one of `times`, or the time with an event, nearest to the median event.
        bands: risk groups of about equal size whose curves are drawn.
        unit: of time, such as `months`, for figures.
        cases: names; by default their numbers.
        groups: (cases,) patients, where cases of one patient are not independent.
        level: confidence level of all intervals.
        title: title of the report.
        **about: further fields of `Results`.

    Returns:
        Results with `harrell_c`, `uno_c`, `auc`, and with probabilities `brier`,
        `integrated_brier`, `observed_expected` and `calibration_slope`.

    Raises:
        ValueError: neither survival nor risk, or input that the functions of :mod:`jaxmed.stats`
            refuse.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=80)
        >>> r = survival(rng.exponential(np.exp(-x)), np.ones(80), risk=x)
        >>> r
        SurvivalResults 'Survival' (survival, 80 cases, harrell_c 0.728; uno_c 0.739; auc 0.839)
    """
    y, d = np.asarray(time, np.float64), np.asarray(event).astype(bool)
    stats.kaplan_meier(time, event)  # checks both
    grid, dropped = np.asarray(times, np.float64), 0
    known = np.ones(len(grid), bool)
    s = None if survival is None else np.asarray(survival, np.float64)
    if s is None and risk is None:
        raise ValueError("give survival= at times=, or risk=")
    if s is not None:
        if s.shape != (len(y), len(grid)):
            raise ValueError(
                f"survival must be (cases, times) = {(len(y), len(grid))}, but is {s.shape}"
            )
        known = grid < y.max()
        grid, s, dropped = grid[known], s[:, known], int((~known).sum())
        if not len(grid):
            raise ValueError(
                f"times: nobody is observed beyond any, the last case ends {y.max():g}"
            )
    r = -s.mean(1) if risk is None and s is not None else np.asarray(risk, np.float64)
    horizon = _horizon(y, d, grid) if at is None else float(at)
    options: dict[str, Any] = {"level": level, "groups": groups}
    last = float(grid[-1]) if len(grid) else horizon
    metrics = {
        "harrell_c": stats.survival_concordance(y, d, r, **options),
        "uno_c": stats.survival_concordance(y, d, r, method="uno", until=last, **options),
        "auc": stats.survival_auc(y, d, r, at=horizon, **options),
    }
    calibration = None
    if s is not None:
        column = int(np.argmin(np.abs(grid - horizon)))
        if not np.isclose(grid[column], horizon):
            raise ValueError(f"at={horizon:g} is none of the times at which survival is predicted")
        metrics["brier"] = stats.survival_brier(y, d, s[:, column], at=horizon, **options)
        if len(grid) > 1:
            metrics["integrated_brier"] = stats.integrated_brier(y, d, s, times=grid, **options)
        calibration = stats.survival_calibration(
            y, d, s[:, column], at=horizon, bins=min(5, max(1, len(y) // 10)), level=level
        )
        metrics["observed_expected"] = calibration.ratio
        if calibration.slope is not None:
            metrics["calibration_slope"] = calibration.slope
    band = _bands(r, bands)
    several = band.max() > 0 and d.any()
    notes = [f"{int(d.sum())} of {len(y)} cases had the event; the others are censored."]
    if dropped:
        notes.append(f"Left out of {len(known)} times: {dropped}, beyond which nobody is observed.")
    held = SurvivalPredictions(
        tuple(cases) or tuple(map(str, range(len(y)))), y, d, r, s, grid,
        None if groups is None else tuple(groups), band,
    )  # fmt: skip
    results = SurvivalResults(
        title=title, classes=(), metrics=metrics, headline=tuple(metrics)[:3], level=level,
        notes=tuple(notes), predicted=held, calibration=calibration, unit=unit,
        separation=stats.log_rank_test(y, d, band, level=level) if several else None,
    )  # fmt: skip
    more = about.pop("notes", ())
    return results.replace(notes=(*results.notes, *more), **about)


def _horizon(time: Array, event: Array, grid: Array) -> float:
    """A time by which some have had the event and beyond which some are observed."""
    middle = float(np.median(time[event]))
    among = grid if len(grid) else np.unique(time[event & (time < time.max())])
    if not len(among):
        raise ValueError("all events are at the last time: nothing can be told by a time, give at=")
    return float(among[np.argmin(np.abs(among - middle))])


def _bands(risk: Array, bands: int) -> Array:
    """Groups of rising risk; fewer where risks repeat."""
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, bands + 1)[1:-1]))
    code = np.searchsorted(edges, risk, "right")
    return np.unique(code, return_inverse=True)[1]
