"""Figures of predicted survival."""

from __future__ import annotations

from jaxmed.report.figures._survival import survival_calibration_figure, survival_figure
from jaxmed.report.page._exhibit import Exhibits, exhibit, interval_text
from jaxmed.report.results._results import SurvivalResults

_NAMES = {1: ("all",), 2: ("lower risk", "higher risk"), 3: ("low risk", "middle", "high risk")}


def survival_exhibits(results: SurvivalResults) -> Exhibits:
    """Draw the curves of risk groups, and the calibration."""
    held = results.predicted
    bands = int(held.band.max()) + 1
    names = _NAMES.get(bands, tuple(f"group {i + 1}" for i in range(bands)))
    figure = survival_figure(
        held.time, held.event, held.band, names=names, unit=results.unit, level=results.level,
        title="Survival by predicted risk",
    )  # fmt: skip
    told = "" if results.separation is None else f" {_said(results.separation)}"
    found = [
        exhibit(
            figure, "survival",
            "Kaplan-Meier estimates of groups of about equal size by predicted risk, with "
            f"pointwise bands; ticks are censorings, below the numbers at risk.{told}",
            f"Survival of {bands} risk groups. Harrell's C {interval_text(results, 'harrell_c')}.",
        )
    ]  # fmt: skip
    if results.calibration is not None:
        found.append(
            exhibit(
                survival_calibration_figure(results.calibration, unit=results.unit), "calibration",
                "Observed against predicted risk in groups of about equal size; the line is "
                "equality. Observed / expected of all "
                f"{interval_text(results, 'observed_expected')}.",
                f"Calibration, slope {interval_text(results, 'calibration_slope')}.",
            )
        )  # fmt: skip
    return found


def _said(test) -> str:
    p = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    return f"Log-rank test of the groups: {p}."
