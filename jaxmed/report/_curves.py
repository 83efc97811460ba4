"""ROC and precision-recall curves with bands, and the reliability diagram, as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from jaxmed.report._style import GRID, INK, MUTED, colour_of, dash_of, new_figure, style
from jaxmed.stats import proportion

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """A step curve: threshold by threshold, from the strictest to the laxest."""

    x: Floats
    y: Floats
    thresholds: Floats


def roc_points(labels: ArrayLike, scores: ArrayLike) -> Curve:
    """False- and true-positive rate at every threshold, starting at (0, 0).

    Examples:
        >>> roc_points([0, 1, 1], [0.2, 0.4, 0.9]).y.tolist()
        [0.0, 0.5, 1.0, 1.0]
    """
    true, false, thresholds = _counts(labels, scores)
    return Curve(false / false[-1], true / true[-1], thresholds)


def precision_recall_points(labels: ArrayLike, scores: ArrayLike) -> Curve:
    """Recall and precision at every threshold, from the strictest.

    Examples:
        >>> precision_recall_points([0, 1, 1], [0.2, 0.4, 0.9]).y.tolist()
        [1.0, 1.0, 0.6666666666666666]
    """
    true, false, thresholds = _counts(labels, scores)
    true, false, thresholds = true[1:], false[1:], thresholds[1:]
    return Curve(true / true[-1], true / (true + false), thresholds)


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
    """Draw ROC curves: one with a bootstrap band, or one a class (one against the rest).

    Args:
        labels: (cases,) 0/1; or (cases, classes) 0/1 for several curves.
        scores: of the same shape.
        classes: names of the curves.
        captions: text after each name in the legend, e.g. the area with its interval.
        groups: (cases,) patients, which the bootstrap then draws.
        level: of the pointwise band.
        threshold: operating point to mark on a single curve.
        seed: of the bootstrap.
    """
    with style():
        figure, (axes,) = new_figure(4.6, 4.4)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        columns = _columns(labels, scores)
        for i, (y, s) in enumerate(columns):
            curve = roc_points(y, s)
            label = _legend(classes, captions, i)
            axes.plot(
                curve.x, curve.y, color=colour_of(i), linestyle=dash_of(i), label=label,
                drawstyle="default",
            )  # fmt: skip
            if len(columns) == 1:
                grid = np.linspace(0, 1, 101)
                low, high = _band(y, s, groups, _tpr_at(grid), level, seed)
                axes.fill_between(
                    grid, low, high, color=colour_of(0), alpha=0.16, linewidth=0,
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
    """Draw precision against recall, with the prevalence as the line to beat.

    Args: as in `roc_figure`.
    """
    with style():
        figure, (axes,) = new_figure(4.6, 4.4)
        columns = _columns(labels, scores)
        for i, (y, s) in enumerate(columns):
            curve = precision_recall_points(y, s)
            colour = colour_of(i)
            label = _legend(classes, captions, i)
            axes.plot(
                np.r_[0, curve.x], np.r_[curve.y[0], curve.y], color=colour,
                linestyle=dash_of(i), label=label, drawstyle="steps-pre",
            )  # fmt: skip
            axes.axhline(
                y.mean(), color=MUTED if len(columns) == 1 else colour, linewidth=1, linestyle=":",
                label=f"prevalence {y.mean():.3f}" if len(columns) == 1 else None,
            )  # fmt: skip
            if len(columns) == 1:
                grid = np.linspace(0.01, 1, 100)
                low, high = _band(y, s, groups, _precision_at(grid), level, seed)
                axes.fill_between(
                    grid, low, high, color=colour, alpha=0.16, linewidth=0,
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
            predicted class's probability is set against how often it is right.
        probabilities: (cases,) or (cases, classes), in [0, 1].
        bins: bins of equal width; empty ones are left out.
        level: of the intervals.
        caption: e.g. the expected calibration error, written into the drawing.
    """
    y, p = np.asarray(labels), np.asarray(probabilities, float)
    one_class = p.ndim == 1
    if not one_class:
        y, p = (p.argmax(1) == y), p.max(1)
    y = y.astype(float)
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, bins - 1)
    with style():
        figure, (axes, below) = new_figure(
            4.6, 4.4, rows=2, sharex=True, height_ratios=(4, 1), gridspec_kw={"hspace": 0.05}
        )
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect")
        for b in range(bins):
            inside = which == b
            n = int(inside.sum())
            if n == 0:
                continue
            observed = proportion(int(y[inside].sum()), n, method="wilson", level=level)
            axes.errorbar(
                p[inside].mean(), observed.value,
                yerr=[
                    [max(observed.value - observed.lower, 0)],
                    [max(observed.upper - observed.value, 0)],
                ],
                fmt="o", color=colour_of(0), markersize=5, capsize=2, elinewidth=1.2,
            )  # fmt: skip
        axes.set(
            ylabel="Observed frequency" if one_class else "Accuracy",
            xlim=(-0.015, 1.015), ylim=(-0.03, 1.03), title="Reliability",
        )  # fmt: skip
        if caption:
            axes.text(0.03, 0.94, caption, transform=axes.transAxes, color=INK, va="top")
        below.hist(p, bins=edges, color=colour_of(0), alpha=0.75, edgecolor=GRID, linewidth=0.5)
        below.set(
            xlabel="Predicted probability" if one_class else "Confidence of the predicted class",
            ylabel="Cases",
        )
    return figure


def _counts(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Cumulative true and false positives at each distinct threshold, with a leading zero."""
    y, s = np.asarray(labels, float), np.asarray(scores, float)
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    last = np.r_[s[1:] != s[:-1], True]
    true, false = np.cumsum(y)[last], np.cumsum(1 - y)[last]
    return np.r_[0, true], np.r_[0, false], np.r_[np.inf, s[last]]


def _columns(labels: ArrayLike, scores: ArrayLike) -> list[tuple[Floats, Floats]]:
    """Pairs of (labels, scores); columns that hold one class only have no curve."""
    y, s = np.asarray(labels, float), np.asarray(scores, float)
    if y.shape != s.shape:
        raise ValueError(f"labels and scores must have one shape, got {y.shape} and {s.shape}")
    if y.ndim == 1:
        y, s = y[:, None], s[:, None]
    return [(a, b) for a, b in zip(y.T, s.T) if 0 < a.sum() < a.size]


def _legend(classes: Sequence[str], captions: Sequence[str], i: int) -> str | None:
    parts = [names[i] for names in (classes, captions) if i < len(names)]
    return " ".join(parts) or None


def _operating_point(axes: Any, y: Floats, s: Floats, threshold: float) -> None:
    called = s >= threshold
    x = float(called[y == 0].mean())
    sensitivity = float(called[y == 1].mean())
    axes.plot(
        x, sensitivity, "D", color=colour_of(1), markersize=6,
        label=f"at threshold {threshold:g}: {sensitivity:.2f} / {1 - x:.2f} (sens./spec.)",
    )  # fmt: skip


def _tpr_at(grid: Floats) -> Callable[[Floats, Floats], Floats]:
    def statistic(true: Floats, false: Floats) -> Floats:
        return np.interp(grid, false / false[-1], true / true[-1])

    return statistic


def _precision_at(grid: Floats) -> Callable[[Floats, Floats], Floats]:
    def statistic(true: Floats, false: Floats) -> Floats:
        at = np.searchsorted(true / true[-1], grid - 1e-12)
        at = np.clip(at, 1, true.size - 1)
        return true[at] / np.maximum(true[at] + false[at], 1e-12)

    return statistic


def _band(
    y: Floats,
    s: Floats,
    groups: ArrayLike | None,
    statistic: Callable[[Floats, Floats], Floats],
    level: float,
    seed: int,
) -> tuple[Floats, Floats]:
    """Percentile limits over resampled cases (stratified by class) or patients."""
    rng = np.random.default_rng(seed)
    order = np.argsort(-s, kind="stable")
    y, sorted_s = y[order], s[order]
    last = np.r_[sorted_s[1:] != sorted_s[:-1], True]
    codes = None
    if groups is not None:
        codes = np.unique(np.asarray(groups)[order], return_inverse=True)[1]
    resamples = int(np.clip(2e7 / y.size, 100, 1000))
    rows = []
    for _ in range(resamples):
        if codes is not None:
            k = codes.max() + 1
            weight = np.bincount(rng.integers(0, k, k), minlength=k)[codes].astype(float)
        else:
            weight = np.zeros(y.size)
            for value in (0, 1):
                members = np.flatnonzero(y == value)
                drawn = rng.integers(0, members.size, members.size)
                weight[members] = np.bincount(drawn, minlength=members.size)
        true = np.r_[0, np.cumsum(weight * y)[last]]
        false = np.r_[0, np.cumsum(weight * (1 - y))[last]]
        if true[-1] > 0 and false[-1] > 0:
            rows.append(statistic(true, false))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(rows, [tail, 100 - tail], axis=0)
    return low, high
