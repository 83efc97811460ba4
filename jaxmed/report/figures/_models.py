"""Figures that compare models, differences and subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed import stats
from jaxmed.report.figures._style import (
    INK,
    MUTED,
    colour_of,
    dash_of,
    legend,
    new_figure,
    short_names,
    style,
)

_MINUS = " \N{MINUS SIGN} "  # Between the two models of a difference.


class Row(NamedTuple):
    """A line of a forest plot: name, value, limits, index of the colour."""

    name: str
    value: float
    lower: float
    upper: float
    colour: int = 0


def forest_figure(
    rows: Sequence[Row], *, title: str, label: str, zero: float | None = None
) -> Figure:
    """Draw a forest plot of values with their intervals.

    Args:
        rows: the lines, from the top.
        title: title of the figure.
        label: label of the axis.
        zero: position of the line of no difference.
    """
    short = short_names([part for row in rows for part in row.name.split(_MINUS)], 26)
    names = [_MINUS.join(short[part] for part in row.name.split(_MINUS)) for row in rows]
    widest = max(map(len, names))
    with style():
        figure, (axes,) = new_figure(4.2 + 0.055 * widest, 0.9 + 0.3 * len(rows))
        if zero is not None:
            axes.axvline(zero, color=MUTED, linewidth=1, linestyle=":")
        for i, row in enumerate(rows):
            if all(map(math.isfinite, (row.lower, row.upper))):
                axes.plot([row.lower, row.upper], [i, i], color=colour_of(row.colour), linewidth=2)
            axes.plot(row.value, i, "o", color=colour_of(row.colour), markersize=5.5)
            axes.text(
                1.02, i, f"{row.value:.3f}", transform=axes.get_yaxis_transform(), va="center",
                fontsize=8.5, color=INK,
            )  # fmt: skip
        axes.set(yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5), xlabel=label, title=title)
        axes.set_yticklabels(names)
        axes.grid(visible=False, axis="y")
    return figure


def models_roc_figure(
    labels: ArrayLike, scores: Mapping[str, ArrayLike], *, captions: Sequence[str] = ()
) -> Figure:
    """Draw the ROC curves of several models on the same cases.

    Args:
        labels: (cases,) 0/1.
        scores: model to (cases,) scores.
        captions: text after each model's name.
    """
    with style():
        figure, (axes,) = new_figure(4.8, 4.6)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        short = short_names(scores, 26)
        for i, (name, values) in enumerate(scores.items()):
            curve = stats.roc_curve(labels, values)
            text = f"{short[name]} {captions[i]}" if i < len(captions) else short[name]
            axes.plot(curve.fpr, curve.tpr, color=colour_of(i), linestyle=dash_of(i), label=text)
        axes.set(
            xlabel="False-positive rate (1 - specificity)", ylabel="Sensitivity",
            xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal", title="ROC of each model",
        )  # fmt: skip
        legend(axes, "lower right")
    return figure


def models_reliability_figure(
    labels: ArrayLike, scores: Mapping[str, ArrayLike], *, bins: int = 10, level: float = 0.95
) -> Figure:
    """Draw reliability curves of several models, each in bins of equal counts.

    Args:
        labels: (cases,) 0/1.
        scores: model to (cases,) probabilities.
        bins: number of bins of equal counts; fewer if a model gives few distinct probabilities.
        level: confidence level of the Wilson limits.
    """
    with style():
        figure, (axes,) = new_figure(4.8, 4.6)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect")
        short = short_names(scores, 26)
        for i, (name, p) in enumerate(scores.items()):
            found = stats.reliability(labels, p, n_bins=bins, binning="mass", level=level)
            axes.errorbar(
                found.confidence, found.observed,
                yerr=np.maximum([found.observed - found.lower, found.upper - found.observed], 0),
                color=colour_of(i), linestyle=dash_of(i), marker="o", markersize=4, capsize=2,
                elinewidth=0.8, label=short[name],
            )  # fmt: skip
        axes.set(
            xlabel="Predicted probability", ylabel="Observed frequency", xlim=(-0.015, 1.015),
            ylim=(-0.03, 1.03), aspect="equal", title="Calibration of each model",
        )  # fmt: skip
        legend(axes, "upper left")
    return figure


def decision_figure(
    labels: ArrayLike,
    scores: ArrayLike | Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Figure:
    """Draw decision curves: net benefit of treating by a model, all, and none.

    Args:
        labels: (cases,) 0/1.
        scores: (cases,) probabilities of one model, drawn with limits; or a dict from model to
            probabilities.
        groups: (cases,) patients.
        level: confidence level of the pointwise limits.
        seed: seed of the bootstrap.
    """
    models = dict(scores) if isinstance(scores, Mapping) else {"model": scores}
    alone = len(models) == 1
    share = float(np.mean(np.asarray(labels)))
    with style():
        figure, (axes,) = new_figure(4.8, 3.6)
        curve = None
        short = short_names(models, 26)
        for i, (name, p) in enumerate(models.items()):
            curve = stats.decision_curve(
                labels, p, groups=groups, level=level, n_resamples=300 if alone else 0, seed=seed
            )
            axes.plot(
                curve.thresholds, curve.net_benefit, color=colour_of(i), linestyle=dash_of(i),
                label=short[name],
            )  # fmt: skip
            if alone:
                axes.fill_between(
                    curve.thresholds, curve.lower, curve.upper, color=colour_of(0), alpha=0.16,
                    linewidth=0, label=f"{100 * level:g}% limits (bootstrap, pointwise)",
                )  # fmt: skip
        assert curve is not None, "no models"
        axes.plot(curve.thresholds, curve.treat_all, color=INK, linewidth=1, linestyle="--",
                  label="act on all")  # fmt: skip
        axes.axhline(0, color=MUTED, linewidth=1, label="act on none")
        top = 1.15 * max(share, 0.05)
        axes.set(
            xlabel="Threshold probability", ylabel="Net benefit", xlim=(0, 1),
            ylim=(-0.35 * top, top), title="Decision curve",
        )  # fmt: skip
        legend(axes, "lower left")
    return figure
