"""Survival by group with the numbers at risk, and its calibration, as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed.report.figures._style import (
    INK,
    MUTED,
    colour_of,
    dash_of,
    legend,
    new_figure,
    style,
)
from jaxmed.stats import SurvivalCalibration, SurvivalCurve, kaplan_meier


def survival_figure(
    time: ArrayLike,
    event: ArrayLike,
    by: ArrayLike | None = None,
    *,
    names: Sequence[str] = (),
    unit: str = "",
    level: float = 0.95,
    title: str = "Survival",
) -> Figure:
    """Draw Kaplan-Meier curves of groups with bands, censorings as ticks, numbers at risk below.

    Args:
        time: (cases,) of the event or of the end of observation.
        event: (cases,) 1 for the event, 0 for censored.
        by: (cases,) group of each case.
        names: of the groups, in order; by default their values.
        unit: of time.
        level: confidence level of the pointwise bands.
        title: of the figure.
    """
    y, d = np.asarray(time, float), np.asarray(event)
    code = np.zeros(len(y), int) if by is None else np.asarray(by)
    groups = np.unique(code)
    shown = list(names) or ([str(g) for g in groups] if by is not None else ["all"])
    with style():
        figure, (axes, below) = new_figure(
            5.6, 3.6 + 0.2 * len(groups), rows=2,
            gridspec_kw={"height_ratios": [9, 0.9 * len(groups) + 0.6]},
        )  # fmt: skip
        ends = max(float(y.max()), 1e-9)
        axes.set(xlim=(0, 1.02 * ends), ylim=(0, 1.03), ylabel="Free of the event", title=title)
        ticks = [t for t in axes.get_xticks() if 0 <= t <= ends]
        curves = [kaplan_meier(y[code == g], d[code == g], level=level) for g in groups]
        for i, curve in enumerate(curves):
            _draw(axes, curve, i, shown[i])
        axes.set_xticks(ticks)
        axes.set_xlabel(f"Time ({unit})" if unit else "Time")
        legend(axes, "best")
        below.set(xlim=axes.get_xlim(), ylim=(-0.6, len(groups) - 0.2))
        below.set_axis_off()
        below.set_title("At risk", fontsize=8, fontweight="normal", color=MUTED, pad=1)
        for i, curve in enumerate(curves):
            row = len(groups) - 1 - i
            for t, n in zip(ticks, curve.at_risk_at(ticks), strict=True):
                below.text(t, row, f"{n:.0f}", ha="center", va="center", fontsize=8,
                           color=colour_of(i))  # fmt: skip
    return figure


def _draw(axes, curve: SurvivalCurve, i: int, name: str) -> None:
    x = np.concatenate(([0.0], curve.time))
    lines = [np.concatenate(([1.0], line)) for line in (curve.value, curve.lower, curve.upper)]
    value, lower, upper = lines
    axes.fill_between(x, lower, upper, step="post", color=colour_of(i), alpha=0.13, linewidth=0)
    axes.step(x, value, where="post", color=colour_of(i), linestyle=dash_of(i), label=name)
    gone = curve.censored > 0
    axes.plot(curve.time[gone], curve.value[gone], "|", color=colour_of(i), markersize=5,
              markeredgewidth=0.9)  # fmt: skip


def survival_calibration_figure(found: SurvivalCalibration, *, unit: str = "") -> Figure:
    """Draw the observed against the predicted risk by a time, group by group.

    Args:
        found: made by :func:`jaxmed.stats.survival_calibration`.
        unit: of time.
    """
    with style():
        figure, (axes,) = new_figure(4.4, 4.0)
        axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=":")
        known = np.isfinite(found.observed)
        below = np.where(np.isfinite(found.lower), found.observed - found.lower, 0.0)
        above = np.where(np.isfinite(found.upper), found.upper - found.observed, 0.0)
        axes.errorbar(
            found.predicted[known], found.observed[known],
            yerr=np.maximum(np.stack([below, above])[:, known], 0), fmt="o", color=colour_of(0),
            ecolor=INK, elinewidth=1, capsize=2.5, markersize=5,
        )  # fmt: skip
        by = f"{found.at:g} {unit}".strip()
        axes.set(
            xlim=(0, 1), ylim=(0, 1), xlabel=f"Predicted risk by {by}",
            ylabel="Observed (Kaplan-Meier)", title="Calibration",
        )  # fmt: skip
    return figure
