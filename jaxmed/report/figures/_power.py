"""Figure of power, or the width of an interval, against the size of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed.report.figures._style import INK, MUTED, colour_of, dash_of, new_figure, style


def power_figure(
    sizes: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    label: str = "Cases",
    value: str = "Power",
    target: float | None = None,
    chosen: float | None = None,
    limits: Sequence[ArrayLike] | None = None,
    title: str = "Power by size",
) -> Figure:
    """Draw curves over the size of a planned study.

    Args:
        sizes: (sizes,) cases, patients, ...
        curves: name to (sizes,) powers, or half-widths; one curve has no legend.
        label: label of the sizes.
        value: name of the curves' quantity.
        target: target power or half-width, drawn as a horizontal line.
        chosen: the size that reaches it, drawn as a vertical line.
        limits: (lower, upper) of the first curve, if it was simulated.
        title: title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: if curves and sizes differ in length.

    Examples:
        >>> from jaxmed import stats
        >>> sizes, power = stats.power_curve(lambda n: stats.power_t(0.5, n=n), [10, 20, 40, 80])
        >>> figure = power_figure(sizes, {"paired t": power}, target=0.8)
        >>> figure.axes[0].get_ylabel()
        'Power'
    """
    x = np.asarray(sizes, float)
    with style():
        figure, (axes,) = new_figure(5.2, 3.6)
        for i, (name, given) in enumerate(curves.items()):
            y = np.asarray(given, float)
            if y.shape != x.shape:
                raise ValueError(f"curve {name!r} has the shape {y.shape}, the sizes {x.shape}")
            axes.plot(x, y, color=colour_of(i), linestyle=dash_of(i), label=name)
            if i == 0 and limits is not None:
                low, high = (np.asarray(limit, float) for limit in limits)
                axes.fill_between(x, low, high, color=colour_of(0), alpha=0.18, linewidth=0)
        if target is not None:
            axes.axhline(target, color=MUTED, linewidth=1, linestyle=":")
        if chosen is not None:
            axes.axvline(chosen, color=MUTED, linewidth=1, linestyle=":")
            near_right = chosen > x.min() + 0.7 * np.ptp(x)
            axes.annotate(
                f"{chosen:g}", (chosen, 0.02), xycoords=("data", "axes fraction"),
                xytext=(-4 if near_right else 4, 0), textcoords="offset points", color=INK,
                ha="right" if near_right else "left",
            )  # fmt: skip
        axes.set(xlabel=label, ylabel=value, title=title)
        if value == "Power":
            axes.set(ylim=(-0.02, 1.02))
        else:
            axes.set(ylim=(0, None))
        if len(curves) > 1:
            axes.legend(loc="best")
    return figure
