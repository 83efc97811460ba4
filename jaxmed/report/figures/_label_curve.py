"""How good models are by the number of labels, strategy by strategy."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from jaxmed.protocols import LabelCurve
from jaxmed.report.figures._style import (
    colour_of,
    dash_of,
    legend,
    new_figure,
    short_names,
    style,
)


def label_curve_figure(
    curve: LabelCurve, *, metric: str = "AUC", unit: str = "labels", title: str = ""
) -> Figure:
    """Draw a metric by the number of labels, a curve a strategy, each with its interval.

    The intervals are of each strategy alone: that two of them overlap says little of the
    difference, which is paired (``curve.gains``).

    Args:
        curve: made by :func:`jaxmed.protocols.label_curve`.
        metric: its name, for the axis.
        unit: what is counted, for the axis: labels, slices.
        title: of the figure.
    """
    counts = curve.counts
    with style():
        figure, (axes,) = new_figure(5.6, 4.0)
        short = short_names(curve.points, 26)
        # The baseline first, so that it has the first colour whatever the others are.
        order = sorted(curve.points, key=lambda name: name != curve.baseline)
        for i, name in enumerate(order):
            values = np.array([e.value for e in curve.points[name]])
            lower, upper = (
                np.array([getattr(e, side) for e in curve.points[name]])
                for side in ("lower", "upper")
            )
            if np.isfinite(lower).all() and np.isfinite(upper).all():
                axes.fill_between(counts, lower, upper, color=colour_of(i), alpha=0.1, linewidth=0)
            saved = curve.saved.get(name, math.nan)
            text = f", {100 * saved:.0f}% saved" if saved > 0 else ""
            axes.plot(
                counts, values, color=colour_of(i), linestyle=dash_of(i), marker="o",
                markersize=3.5, label=f"{short[name]}{text}",
            )  # fmt: skip
        end = curve.points[curve.baseline][-1].value
        axes.axhline(end, color=colour_of(0), linewidth=0.8, linestyle=":")
        axes.set(xlabel=f"Number of {unit}", ylabel=metric, title=title)
        legend(axes, "lower right")
    return figure
