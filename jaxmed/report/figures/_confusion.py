"""The confusion matrix, as counts and as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.report.figures._style import INK, new_figure, style

# Not from the palette, so that cells keep their colour on a dark page and white stays legible.
_CELL, _LIGHT = "#1f6fb4", "#ffffff"


def confusion_matrix(
    labels: ArrayLike, predictions: ArrayLike, classes: int
) -> NDArray[np.integer]:
    """Count true classes (rows) against predicted ones (columns).

    Examples:
        >>> confusion_matrix([0, 1, 1], [0, 1, 0], 2).tolist()
        [[1, 0], [1, 1]]
    """
    y, p = np.asarray(labels, int), np.asarray(predictions, int)
    return quantities.tabulate(y, p, classes)


def confusion_figure(
    labels: ArrayLike, predictions: ArrayLike, *, classes: Sequence[str]
) -> Figure:
    """Draw the confusion matrix: counts, and shares of each true class by shade.

    Args:
        labels: (cases,) true classes.
        predictions: (cases,) predicted classes.
        classes: names of the classes.
    """
    k = len(classes)
    table = confusion_matrix(labels, predictions, k)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    names = [name if len(name) <= 22 else name[:20] + "…" for name in classes]
    size = 4.4 if k <= 6 else 5.4
    with style():
        figure, (axes,) = new_figure(4.6 if k <= 6 else 5.6, size)
        for i in range(k):
            for j in range(k):
                axes.add_patch(
                    Rectangle((j, i), 1, 1, facecolor=_CELL, alpha=share[i, j], linewidth=0)
                )
                text = f"{table[i, j]}" if k > 6 else f"{table[i, j]}\n{share[i, j]:.0%}"
                axes.text(
                    j + 0.5, i + 0.5, text, ha="center", va="center",
                    color=_LIGHT if share[i, j] > 0.55 else INK, fontsize=10 if k <= 4 else 8,
                )  # fmt: skip
        ticks = np.arange(k) + 0.5
        axes.set(
            xlim=(0, k), ylim=(k, 0), aspect="equal", xticks=ticks, yticks=ticks,
            xlabel="Predicted", ylabel="True", title="Confusion matrix",
        )  # fmt: skip
        slant = max(map(len, names)) * k > 36
        axes.set_xticklabels(names, rotation=35 * slant, ha="right" if slant else "center")
        axes.set_yticklabels(names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure
