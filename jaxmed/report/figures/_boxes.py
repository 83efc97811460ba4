"""Free-response ROC curves, and images with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._picture_grid import picture_grid
from jaxmed.report.figures._style import (
    INK,
    MUTED,
    colour_of,
    new_figure,
    style,
)
from jaxmed.stats import Froc

_HALO = (1.0, 1.0, 1.0, 0.7)  # Behind each line: boxes stand out from tissue of any colour.


def froc_figure(curve: Froc) -> Figure:
    """Draw sensitivity against false boxes an image, with intervals at the rates of the CPM.

    Args:
        curve: of :func:`jaxmed.stats.froc`.
    """
    rates = np.array([*curve.at])
    low, high = rates.min() / 2, rates.max() * 2
    inside = curve.false_rate <= high
    x = np.clip(np.concatenate([[low], curve.false_rate[inside]]), low, None)
    reached = curve.sensitivity[curve.false_rate <= low]
    y = np.concatenate([[reached[-1] if reached.size else 0.0], curve.sensitivity[inside]])
    with style():
        figure, (axes,) = new_figure(5.4, 3.8)
        axes.plot([*x, high], [*y, y[-1]], drawstyle="steps-post", color=colour_of(0))
        values = np.array([[e.value, e.lower, e.upper] for e in curve.at.values()])
        axes.errorbar(
            rates, values[:, 0],
            yerr=np.maximum([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0),
            fmt="o", color=colour_of(0), markersize=4, capsize=3, linewidth=1,
            label=f"{100 * curve.cpm.level:g}% interval",
        )  # fmt: skip
        axes.axhline(
            curve.cpm.value, color=MUTED, linewidth=1, linestyle=":",
            label=f"their mean (CPM) {curve.cpm.value:.3f}",
        )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(rates, [f"{r:g}" if r >= 1 else f"1/{1 / r:g}" for r in rates])
        axes.minorticks_off()
        axes.set(
            xlabel="False boxes an image", ylabel="Sensitivity", xlim=(low, high),
            ylim=(-0.015, 1.015), title="Free-response ROC",
        )  # fmt: skip
        # Where the curve is not: it rises to the right.
        high_up = np.interp(np.sqrt(rates.max()), rates, values[:, 0]) > 0.5
        axes.legend(loc="lower right" if high_up else "upper left")
    return figure


def boxes_figure(pictures: Sequence[Any], *, classes: Sequence[str], columns: int = 2) -> Figure:
    """Draw images with their boxes, a colour for each class.

    Boxes found are solid where they hit and dashed where they are false; of true boxes those that
    were missed are drawn, dotted.

    Args:
        pictures: :class:`jaxmed.report.BoxPicture`.
        classes: names of the classes.
        columns: pictures beside each other.
    """
    kinds = {int(k) for p in pictures for k in (*p.kinds, *p.true_kinds)}
    with style():
        figure, shown = picture_grid(pictures, columns)
        for ax, picture in shown:
            height, wide = picture.image.shape[:2]
            ax.imshow(
                to_display(picture.image), cmap="gray", interpolation="nearest", vmin=0, vmax=1,
                extent=(0, wide, height, 0),
            )  # fmt: skip
            for box, kind in zip(picture.true[~picture.found], picture.true_kinds[~picture.found]):
                _rectangle(ax, box, colour_of(int(kind)), ":", 1.3)
            for box, kind, hit in zip(picture.boxes, picture.kinds, picture.hit):
                _rectangle(ax, box, colour_of(int(kind)), "-" if hit else "--", 1.3)
            ax.set(xlim=(0, wide), ylim=(height, 0))
        handles = [
            Line2D([], [], color=colour_of(k), label=classes[k] if k < len(classes) else str(k))
            for k in sorted(kinds)
        ]
        handles += [
            Line2D([], [], color=INK, linestyle="-", label="found"),
            Line2D([], [], color=INK, linestyle="--", label="false"),
            Line2D([], [], color=INK, linestyle=":", label="missed"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    return figure


def _rectangle(axes: Any, box: Any, colour: str, line: str, width: float) -> None:
    low, high = box[:2], box[2:]
    axes.add_patch(
        Rectangle(
            (low[1], low[0]), high[1] - low[1], high[0] - low[0], fill=False, edgecolor=colour,
            linestyle=line, linewidth=width,
            path_effects=[withStroke(linewidth=width + 1.4, foreground=_HALO)],
        )
    )  # fmt: skip
