"""Predicted against true numbers, as figures."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.report.figures._style import INK, MUTED, colour_of, new_figure, style


def observed_figure(labels: ArrayLike, predictions: ArrayLike, *, unit: str = "") -> Figure:
    """Draw predictions against the truth.

    Args:
        labels: (cases,) true values.
        predictions: (cases,) predicted ones.
        unit: written on both axes.
    """
    y, p = np.asarray(labels, float), np.asarray(predictions, float)
    ends = min(y.min(), p.min()), max(y.max(), p.max())
    suffix = f" ({unit})" if unit else ""
    with style():
        figure, (axes,) = new_figure(4.6, 4.2)
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=":")
        axes.plot(y, p, "o", color=colour_of(0), alpha=0.6, markersize=4, markeredgewidth=0)
        axes.set(xlabel=f"True{suffix}", ylabel=f"Predicted{suffix}", title="Predicted and true")
    return figure


def agreement_figure(labels: ArrayLike, predictions: ArrayLike, *, unit: str = "") -> Figure:
    """Draw the differences against the means (Bland and Altman 1986).

    Args: as in `observed_figure`.
    """
    y, p = np.asarray(labels, float), np.asarray(predictions, float)
    difference = p - y
    bias = quantities.bias(y, p)
    spread = difference.std(ddof=1) if difference.size > 1 else 0.0
    suffix = f" ({unit})" if unit else ""
    with style():
        figure, (axes,) = new_figure(4.6, 4.2)
        axes.plot((y + p) / 2, difference, "o", color=colour_of(0), alpha=0.6, markersize=4,
                  markeredgewidth=0)  # fmt: skip
        for value, kind in (
            (bias, "-"),
            (bias - 1.96 * spread, "--"),
            (bias + 1.96 * spread, "--"),
        ):
            axes.axhline(value, color=INK, linewidth=1, linestyle=kind)
            axes.annotate(
                f"{value:.2f}", (1, value), xycoords=("axes fraction", "data"), ha="right",
                xytext=(0, 2), textcoords="offset points", fontsize=8,
            )  # fmt: skip
        axes.set(
            xlabel=f"Mean of both{suffix}", ylabel=f"Predicted - true{suffix}", title="Agreement"
        )
    return figure
