"""The confusion matrix, as counts and as a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.report.figures._matrix import draw_matrix
from jaxmed.report.figures._style import new_figure, style


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
    size = 4.4 if k <= 6 else 5.4
    with style():
        figure, (axes,) = new_figure(4.6 if k <= 6 else 5.6, size)
        draw_matrix(
            axes, share,
            lambda i, j: f"{table[i, j]}" if k > 6 else f"{table[i, j]}\n{share[i, j]:.0%}",
            classes, fontsize=10 if k <= 4 else 8,
        )  # fmt: skip
        axes.set(xlabel="Predicted", ylabel="True", title="Confusion matrix")
    return figure
