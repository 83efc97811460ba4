"""ROC and precision-recall curves with bands, and the reliability diagram, as figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities, stats
from jaxmed.report.figures._style import GRID, INK, MUTED, colour_of, dash_of, new_figure, style

Floats = NDArray[np.float64]


def roc_figure(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    classes: Sequence[str] = (),
    captions: Sequence[str] = (),
    groups: ArrayLike | None = None,
    level: float = 0.95,
    threshold: float | None = 0.5,
    seed: int = 0,
) -> Figure:
    """Draw one ROC curve with a bootstrap band, or one curve per class (one-vs-rest).

    Args:
        labels: (cases,) 0/1; or (cases, classes) 0/1 for several curves.
        scores: scores of the same shape as `labels`.
        classes: names of the curves.
        captions: text after each name in the legend, e.g. the area with its interval.
        groups: (cases,) patients, to be drawn by the bootstrap.
        level: confidence level of the pointwise band.
        threshold: operating point to mark on a single curve.
        seed: seed of the bootstrap.
    """
    with style():
        figure, (axes,) = new_figure(4.6, 4.4)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        columns = _columns(labels, scores)
        for i, (y, s) in enumerate(columns):
            curve = stats.roc_curve(y, s)
            label = _legend(classes, captions, i)
            axes.plot(
                curve.fpr, curve.tpr, color=colour_of(i), linestyle=dash_of(i), label=label,
                drawstyle="default",
            )  # fmt: skip
            if len(columns) == 1:
                band = stats.roc_band(y, s, groups=groups, level=level, seed=seed)
                axes.fill_between(
                    band.x, band.lower, band.upper, color=colour_of(0), alpha=0.16, linewidth=0,
                    label=f"{100 * level:g}% band (bootstrap, pointwise)",
                )  # fmt: skip
                if threshold is not None:
                    _operating_point(axes, y, s, threshold)
        axes.set(
            xlabel="False-positive rate (1 - specificity)", ylabel="Sensitivity",
            xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal", title="ROC",
        )  # fmt: skip
        if len(columns) > 1 or captions:
            axes.legend(loc="lower right")
    return figure


def precision_recall_figure(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    classes: Sequence[str] = (),
    captions: Sequence[str] = (),
    groups: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Figure:
    """Draw precision against recall, with the prevalence as baseline.

    Args: as in `roc_figure`.
    """
    with style():
        figure, (axes,) = new_figure(4.6, 4.4)
        columns = _columns(labels, scores)
        for i, (y, s) in enumerate(columns):
            curve = stats.pr_curve(y, s)
            colour = colour_of(i)
            label = _legend(classes, captions, i)
            axes.plot(
                np.r_[0, curve.recall], np.r_[curve.precision[0], curve.precision], color=colour,
                linestyle=dash_of(i), label=label, drawstyle="steps-pre",
            )  # fmt: skip
            axes.axhline(
                y.mean(), color=MUTED if len(columns) == 1 else colour, linewidth=1, linestyle=":",
                label=f"prevalence {y.mean():.3f}" if len(columns) == 1 else None,
            )  # fmt: skip
            if len(columns) == 1:
                band = stats.pr_band(
                    y, s, grid=np.linspace(0.01, 1, 100), groups=groups, level=level, seed=seed
                )
                axes.fill_between(
                    band.x, band.lower, band.upper, color=colour, alpha=0.16, linewidth=0,
                    label=f"{100 * level:g}% band (bootstrap, pointwise)",
                )  # fmt: skip
        axes.set(
            xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)",
            xlim=(-0.015, 1.015), ylim=(-0.015, 1.03), aspect="equal", title="Precision and recall",
        )  # fmt: skip
        axes.legend(loc="lower left")
    return figure


def reliability_figure(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    bins: int = 10,
    level: float = 0.95,
    caption: str = "",
) -> Figure:
    """Draw observed frequency against predicted probability, with Wilson intervals.

    Args:
        labels: (cases,) 0/1, or (cases,) classes with (cases, classes) probabilities, when the
            predicted class's probability is compared with its accuracy.
        probabilities: (cases,) or (cases, classes), in [0, 1].
        bins: bins of equal width; empty ones are left out.
        level: confidence level of the intervals.
        caption: text in the figure, e.g. the expected calibration error.
    """
    p = np.asarray(probabilities, float)
    one_class = p.ndim == 1
    found = stats.reliability(labels, p, n_bins=bins, level=level)
    with style():
        figure, (axes, below) = new_figure(
            4.6, 4.4, rows=2, sharex=True, height_ratios=(4, 1), gridspec_kw={"hspace": 0.05}
        )
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect")
        axes.errorbar(
            found.confidence, found.observed,
            yerr=np.maximum([found.observed - found.lower, found.upper - found.observed], 0),
            fmt="o", color=colour_of(0), markersize=5, capsize=2, elinewidth=1.2,
        )  # fmt: skip
        axes.set(
            ylabel="Observed frequency" if one_class else "Accuracy",
            xlim=(-0.015, 1.015), ylim=(-0.03, 1.03), title="Reliability",
        )  # fmt: skip
        if caption:
            axes.text(0.03, 0.94, caption, transform=axes.transAxes, color=INK, va="top")
        below.hist(
            p if one_class else p.max(1), bins=found.edges.tolist(), color=colour_of(0), alpha=0.75,
            edgecolor=GRID, linewidth=0.5,
        )  # fmt: skip
        below.set(
            xlabel="Predicted probability" if one_class else "Confidence of the predicted class",
            ylabel="Cases",
        )
    return figure


def _columns(labels: ArrayLike, scores: ArrayLike) -> list[tuple[Floats, Floats]]:
    """Return pairs of (labels, scores); columns with only one class have no curve."""
    y, s = np.asarray(labels, float), np.asarray(scores, float)
    if y.shape != s.shape:
        raise ValueError(f"labels and scores must have one shape, got {y.shape} and {s.shape}")
    if y.ndim == 1:
        y, s = y[:, None], s[:, None]
    known = [(a[~np.isnan(a)], b[~np.isnan(a)]) for a, b in zip(y.T, s.T)]
    return [(a, b) for a, b in known if 0 < a.sum() < a.size]


def _legend(classes: Sequence[str], captions: Sequence[str], i: int) -> str | None:
    parts = [names[i] for names in (classes, captions) if i < len(names)]
    return " ".join(parts) or None


def _operating_point(axes: Any, y: Floats, s: Floats, threshold: float) -> None:
    table = quantities.tabulate(y, quantities.at_least(s, threshold), 2)
    rates = quantities.ratios(table)
    sensitivity, specificity = float(rates["sensitivity"]), float(rates["specificity"])
    axes.plot(
        1 - specificity, sensitivity, "D", color=colour_of(1), markersize=6,
        label=f"at threshold {threshold:g}: {sensitivity:.2f} / {specificity:.2f} (sens./spec.)",
    )  # fmt: skip
