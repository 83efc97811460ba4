"""Accuracy on each task after each task that was learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed.report.figures._matrix import draw_matrix
from jaxmed.report.figures._style import new_figure, style


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
    size = max(3.2, 0.6 * k + 1.6)
    with style():
        figure, (axes,) = new_figure(size, size)
        draw_matrix(
            axes, np.clip(mean, 0, 1), lambda i, j: f"{mean[i, j]:.2f}".removeprefix("0"), tasks,
            fontsize=8 if k > 6 else 10, slant=True,
        )  # fmt: skip
        axes.set(xlabel="Measured on", ylabel="After")
    return figure
