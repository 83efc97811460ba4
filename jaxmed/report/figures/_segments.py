"""Figure of the distribution of a per-case measure, class by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed.report.figures._style import INK, MUTED, colour_of, new_figure, style


def distribution_figure(
    values: ArrayLike,
    *,
    classes: Sequence[str],
    name: str = "Dice",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw every case as a point and the quartiles as a box, one row per class.

    Args:
        values: (cases, classes); NaN if undefined, which is omitted.
        classes: names of the columns.
        name: name of the measure.
        limits: limits of its axis.
    """
    values = np.asarray(values, float)
    k = values.shape[1]
    rng = np.random.default_rng(0)
    with style():
        figure, (axes,) = new_figure(6.4, 0.9 + 0.75 * k)
        for i in range(k):
            column = values[:, i]
            column = column[np.isfinite(column)]
            if column.size == 0:
                continue
            shift = 0.26 * rng.uniform(-1, 1, column.size)
            axes.plot(
                column, i + shift, "o", color=colour_of(i), alpha=0.55, markersize=3.6,
                markeredgewidth=0,
            )  # fmt: skip
            low, middle, high = np.percentile(column, [25, 50, 75])
            axes.plot([low, high], [i, i], color=INK, linewidth=6, alpha=0.25)
            axes.plot([middle, middle], [i - 0.3, i + 0.3], color=INK, linewidth=2)
            axes.text(
                1.01, i, f"{middle:.3f}", transform=axes.get_yaxis_transform(), va="center",
                fontsize=8.5, color=INK,
            )  # fmt: skip
        axes.text(
            1.01, -0.62, "median", transform=axes.get_yaxis_transform(), va="center",
            fontsize=8, color=MUTED,
        )  # fmt: skip
        axes.set(
            xlabel=name, yticks=range(k), ylim=(k - 0.4, -0.6), title=f"{name} of every case",
        )  # fmt: skip
        axes.set_yticklabels(list(classes))
        axes.grid(visible=False, axis="y")
        if limits is not None:
            axes.set_xlim(*limits)
    return figure
