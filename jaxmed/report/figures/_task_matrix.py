"""Accuracy on each task after each task that was learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from jaxmed.report.figures._style import INK, new_figure, style

# Not from the palette, so that cells keep their colour on a dark page and white stays legible.
_CELL, _LIGHT = "#1f6fb4", "#ffffff"


def task_matrix_figure(scores: ArrayLike, *, tasks: Sequence[str]) -> Figure:
    """Draw the matrix of scores of tasks that were learned one after the other.

    Args:
        scores: (seeds, tasks, tasks) or (tasks, tasks) in [0, 1], row i after task i; the mean over
            seeds is drawn.
        tasks: their names.

    Returns:
        A figure of one panel. Tasks to the right of the diagonal had not come yet.

    Raises:
        ValueError: for a matrix that is not square, or of other tasks than are named.

    Examples:
        >>> figure = task_matrix_figure([[0.9, 0.1], [0.6, 0.8]], tasks=["CT", "MRI"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['.90', '.10', '.60', '.80']
    """
    r = np.asarray(scores, float)
    mean = r if r.ndim == 2 else r.mean(0)
    k = len(tasks)
    if mean.shape != (k, k):
        raise ValueError(f"scores of {k} tasks are (seeds, {k}, {k}) or ({k}, {k}), got {r.shape}")
    names = [name if len(name) <= 22 else name[:20] + "…" for name in tasks]
    size = max(3.2, 0.6 * k + 1.6)
    with style():
        figure, (axes,) = new_figure(size, size)
        for i, j in np.ndindex(k, k):
            share = float(np.clip(mean[i, j], 0, 1))
            axes.add_patch(Rectangle((j, i), 1, 1, facecolor=_CELL, alpha=share, linewidth=0))
            axes.text(
                j + 0.5, i + 0.5, f"{mean[i, j]:.2f}".removeprefix("0"), ha="center", va="center",
                color=_LIGHT if share > 0.55 else INK, fontsize=8 if k > 6 else 10,
            )  # fmt: skip
        ticks = np.arange(k) + 0.5
        axes.set(
            xlim=(0, k), ylim=(k, 0), aspect="equal", xticks=ticks, yticks=ticks,
            xlabel="Measured on", ylabel="After",
        )  # fmt: skip
        axes.set_xticklabels(names, rotation=35, ha="right")
        axes.set_yticklabels(names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure
