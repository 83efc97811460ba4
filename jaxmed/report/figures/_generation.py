"""Numbers of drawn images beside those of real ones, and how near they come to training images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._style import INK, MUTED, colour_of, new_figure, style

_BINS = 30
_COLUMNS = 2


def beside_figure(measures: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw each measure of drawn images with that of others beside it, a panel a measure.

    Args:
        measures: by the measure's name, by whose images (`synthetic`, `real`, ...): estimates.

    Returns:
        A figure of two panels a row. An interval that is not finite is left out.

    Raises:
        ValueError: without a measure, or for one of no images.

    Examples:
        >>> from jaxmed.stats import Estimate
        >>> e = Estimate(0.5, 0.4, 0.6, 0.95, 10, "image", "t")
        >>> len(beside_figure({"recall": {"synthetic": e, "real": e}}).axes)
        1
    """
    if not measures or not all(measures.values()):
        raise ValueError("there are no measures to draw, or one of no images")
    names = [*dict.fromkeys(name for found in measures.values() for name in found)]
    rows = -(-len(measures) // _COLUMNS)
    most = max(map(len, measures.values()))
    columns = min(_COLUMNS, len(measures))
    with style():
        figure, axes = new_figure(
            3.9 * columns, rows * (0.75 + 0.27 * most), rows=rows, columns=columns
        )
        for ax, (measure, found) in zip(axes, measures.items(), strict=False):
            for i, (name, e) in enumerate(found.items()):
                colour = colour_of(names.index(name))
                if math.isfinite(e.lower) and math.isfinite(e.upper):
                    ax.plot([e.lower, e.upper], [i, i], color=colour, linewidth=2)
                ax.plot(e.value, i, "o", color=colour, markersize=5)
                ax.text(
                    1.02, i, f"{e.value:.3g}", transform=ax.get_yaxis_transform(), va="center",
                    fontsize=8.5, color=INK,
                )  # fmt: skip
            ax.set(yticks=range(len(found)), ylim=(len(found) - 0.5, -0.5), title=measure)
            ax.set_yticklabels([*found])
            ax.grid(visible=False, axis="y")
        for ax in axes[len(measures) :]:
            ax.set_axis_off()
    return figure


def copies_figure(memorised: Any) -> Figure:
    """Draw how far drawn images and held-out images are from their nearest training image.

    Args:
        memorised: :class:`jaxmed.stats.Memorised`.

    Returns:
        A figure of two histograms, each of area 1, and the distance below which a drawn image
        counts as a copy.

    Examples:
        >>> from jaxmed.stats import memorised
        >>> x, y, z = np.random.default_rng(0).normal(size=(3, 40, 2))
        >>> len(copies_figure(memorised(x, y, z, extractor="two numbers")).axes)
        1
    """
    sides = {"held out": memorised.held_out_distance, "synthetic": memorised.distance}
    edges = np.linspace(0, max(map(np.max, sides.values())) * 1.02 + 1e-12, _BINS + 1)
    with style():
        figure, (ax,) = new_figure(5.4, 3.0)
        for i, (name, distance) in enumerate(sides.items()):
            ax.hist(
                distance, edges, density=True, histtype="stepfilled", alpha=0.35,
                color=colour_of(i), edgecolor=colour_of(i), linestyle=("-", "--")[i], label=name,
            )  # fmt: skip
        ax.axvline(memorised.threshold, color=MUTED, linewidth=1, linestyle=":")
        ax.text(
            memorised.threshold, 1.0, f" {memorised.quantile:.0%} of held out", fontsize=8,
            color=MUTED, transform=ax.get_xaxis_transform(), va="top",
        )  # fmt: skip
        ax.set(xlabel="Distance of features to the nearest training image", ylabel="Density")
        ax.legend(loc="upper right")
    return figure
