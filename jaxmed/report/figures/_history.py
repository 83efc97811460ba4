"""Learning curves: logged measures against the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._style import INK, MUTED, colour_of, new_figure, style

# Logged with the measures, but not measures themselves.
_BESIDE = {"step", "epoch", "time", "seconds", "rate", "wall", "split", "steps_per_second"}


def measures(history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Sort a training log into panels: `{measure: {part: (steps, values)}}`.

    `val/auc`, `val_auc` and `auc` of a row with `"split": "val"` are the measure `auc` of the part
    `val`; a bare `auc` is of the part `train`.

    Examples:
        >>> panels = measures([{"step": 1, "loss": 0.7, "val/loss": 0.8}])
        >>> {measure: sorted(parts) for measure, parts in panels.items()}
        {'loss': ['train', 'val']}
        >>> sorted(measures([{"step": 1, "held out/ap50": 0.7}])["ap50"])
        ['held out']
    """
    panels: dict[str, dict[str, tuple[list, list]]] = {}
    for position, row in enumerate(history):
        step = row.get("step", position)
        for key, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if key in _BESIDE or not number or not math.isfinite(value):
                continue
            part, measure = _part(key, str(row.get("split", "train")))
            steps, values = panels.setdefault(measure, {}).setdefault(part, ([], []))
            steps.append(step)
            values.append(value)
    return panels


def learning_curves(
    history: Sequence[Mapping[str, Any]],
    *,
    show: Sequence[str] | None = None,
    best: int | None = None,
) -> Figure:
    """Draw one panel per measure, with training and validation in each.

    Args:
        history: rows of the training log, each with `step` and measures.
        show: measures to draw, in order; by default the loss and those that were validated.
        best: step of the selected model, marked by a line.

    Raises:
        ValueError: if the history contains none of the measures.
    """
    panels = measures(history)
    if show is None:
        validated = [m for m, parts in panels.items() if set(parts) - {"train"} and m != "loss"]
        show = [m for m in ("loss", *validated) if m in panels][:3]
    show = [measure for measure in show if measure in panels]
    if not show:
        raise ValueError(f"the history holds none of the measures; it has {sorted(panels)}")
    with style():
        figure, axes = new_figure(4.6, 0.4 + 2.1 * len(show), rows=len(show), sharex=True)
        for ax, measure in zip(axes, show):
            for i, (part, (steps, values)) in enumerate(sorted(panels[measure].items())):
                i = {"train": 0, "val": 1, "validation": 1, "held out": 1}.get(part, i)
                colour = colour_of(i)
                if len(values) > 60:
                    ax.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                    steps, values = _smooth(steps, values)
                marker = "o" if len(values) <= 25 else None
                ax.plot(
                    steps, values, color=colour, linestyle="-" if i == 0 else "--", label=part,
                    marker=marker, markersize=3,
                )  # fmt: skip
            if best is not None:
                ax.axvline(best, color=INK, linewidth=1, linestyle=":")
            ax.set(title=measure.replace("_", " "))
            ax.legend(loc="best", ncols=2)
        if best is not None:
            axes[0].annotate(
                "kept", (best, 1), xycoords=("data", "axes fraction"), xytext=(3, -9),
                textcoords="offset points", color=MUTED, fontsize=8,
            )  # fmt: skip
        axes[-1].set_xlabel("Step")
    return figure


def _part(key: str, default: str) -> tuple[str, str]:
    for mark in ("/", "_"):
        head, _, tail = key.partition(mark)
        if tail and head in ("train", "val", "validation", "test", "valid", "held out"):
            return {"valid": "val", "validation": "val"}.get(head, head), tail
    return default, key


def _smooth(steps: Sequence[float], values: Sequence[float]) -> tuple[Any, Any]:
    """Smooth by a running median over about a fortieth of the curve."""
    width = max(len(values) // 40, 1)
    middles = range(width, len(values) - width)
    y = np.asarray(values, float)
    medians = [float(np.median(y[m - width : m + width + 1])) for m in middles]
    return [steps[m] for m in middles], medians
