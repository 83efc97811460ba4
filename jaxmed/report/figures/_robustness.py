"""A metric by the strength of each corruption."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._style import MUTED, colour_of, dash_of, new_figure, style
from jaxmed.report.results._robustness import Robustness, check_robustness

_COLUMNS = 3


def robustness_figure(found: Robustness) -> Figure:
    """Draw a metric by strength, a panel a corruption, each with its interval.

    Args:
        found: the metric of the images as they are, which is strength 0, and as they were
            corrupted.

    Raises:
        ValueError: without a corruption, or for corruptions of several numbers of strengths.
    """
    check_robustness(found)
    columns = min(_COLUMNS, len(found.corrupted))
    rows = -(-len(found.corrupted) // columns)
    with style():
        figure, panels = new_figure(
            2.3 * columns, 2.0 * rows + 0.3, rows, columns, sharex=True, sharey=True
        )
        for i, (name, estimates) in enumerate(found.corrupted.items()):
            axes, of_all = panels[i], [found.clean, *estimates]
            strengths = np.arange(len(of_all))
            values, lower, upper = (
                np.array([getattr(e, part) for e in of_all], float)
                for part in ("value", "lower", "upper")
            )
            axes.fill_between(strengths, lower, upper, color=colour_of(i), alpha=0.15, linewidth=0)
            axes.plot(
                strengths, values, color=colour_of(i), linestyle=dash_of(i), marker="o",
                markersize=3.5,
            )  # fmt: skip
            axes.axhline(found.clean.value, color=MUTED, linewidth=0.8, linestyle=":")
            axes.set(title=name.replace("_", " "), xticks=strengths)
            if i % columns == 0:
                axes.set_ylabel(found.metric)
        for axes in panels[len(found.corrupted) :]:
            axes.set_visible(False)
        figure.supxlabel("Strength", fontsize=9)
    return figure
