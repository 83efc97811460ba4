"""An agent's way through an image: where it went, how near it came, what it thought of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmed.report.figures._episode_pictures import WAY, pictures
from jaxmed.report.figures._style import INK, MUTED, colour_of, dash_of, legend, new_figure, style
from jaxmed.report.results._episodes import (
    Episode,
    away,
    checked_episode,
    from_target,
    told_distance,
)

_COLUMNS = 6


def episode_figure(
    episode: Episode, *, actions: Sequence[str] | None = None, unit: str = "mm"
) -> Figure:
    """Draw an agent's way through an image, its distance from the target and its values by step.

    Points and boxes are drawn over orthogonal planes of the image, which go through the answer, and
    the whole way is projected onto each. A scan's planes are drawn with their first axis to the
    right and the second upwards, as NIfTI's right-anterior-superior order usually is; an image of
    two axes as it is stored. Of a plane that moved, what it showed at the start and at the end is
    drawn beside what the true one shows.

    Args:
        episode: the way.
        actions: their names; by default back and forth along each axis.
        unit: of distances between points.

    Returns:
        The figure: a row of pictures, and below the distance from the target, where it is known (of
        a box its overlap with it), and the actions' values, where they are given.

    Raises:
        ValueError: for shapes that do not belong together, positions or voxels that are not
            finite, or names that are not one an action.
    """
    e = checked_episode(episode)
    panels = [p for p, shown in (("distance", e.target), ("values", e.values)) if shown is not None]
    with style():
        drawn = pictures(e)
        figure = Figure(figsize=(8.2, 5.6 if panels else 3.2), layout="constrained")
        rows = figure.subfigures(2 if panels else 1, 1, squeeze=False)[:, 0]
        for ax, draw in zip(np.ravel(rows[0].subplots(1, len(drawn), squeeze=False)), drawn):
            draw(ax)
        _legend(rows[0], rows[0].axes)
        title = f"{e.name}: came to no end" if e.failed else e.name
        rows[0].suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
        if panels:
            below = np.ravel(rows[1].subplots(1, len(panels), squeeze=False))
            for ax, panel in zip(below, panels):
                _draw_scales(ax, e)
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
                if panel == "distance":
                    _draw_distance(ax, e, unit)
                else:
                    _draw_values(ax, e, _names(actions, e))
    return figure


def episodes_figure(episodes: Sequence[Episode], *, unit: str = "mm", most: int = 24) -> Figure:
    """Draw many ways side by side: those that failed first, then by how far they end away.

    Each is the plane through its answer across the last axis, with the way projected onto it; of
    planes what the answer shows.

    Args:
        episodes: the ways.
        unit: of distances between points.
        most: ways that are shown. Of more, every so many-th in that order is.

    Returns:
        The figure; each title says the case and the distance from the target, and whether the agent
        came to no end.

    Raises:
        ValueError: without an episode, if ``most`` is less than 1, or as :func:`episode_figure`.
    """
    if not episodes:
        raise ValueError("there are no episodes to draw")
    if most < 1:
        raise ValueError(f"most is at least 1 walk, got {most}")
    checked = [checked_episode(e) for e in episodes]
    order = sorted(range(len(checked)), key=lambda i: (not checked[i].failed, -away(checked[i])))
    if len(order) > most:
        order = [order[i] for i in np.linspace(0, len(order) - 1, most).round().astype(int)]
    columns = min(len(order), _COLUMNS)
    rows = -(-len(order) // columns)
    with style():
        figure, axes = new_figure(1.6 * columns, 1.95 * rows + 0.3, rows=rows, columns=columns)
        for ax in axes[len(order) :]:
            ax.set_axis_off()
        for ax, i in zip(axes, order):
            e = checked[i]
            pictures(e)[-1](ax)
            text = ", ".join(word for word in (told_distance(e, unit), "no end" * e.failed) if word)
            colour = colour_of(1) if e.failed else INK
            ax.set_title(f"{e.name}\n{text}", loc="center", fontsize=7.5, color=colour)
        _legend(figure, axes[: len(order)])
    return figure


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    """The marks of all pictures, each once: a short way has no path between its ends."""
    marks = {}
    for ax in axes:
        for mark, name in zip(*ax.get_legend_handles_labels()):
            marks.setdefault(name, mark)
    if marks:
        figure.legend([*marks.values()], [*marks], loc="outside lower center", ncols=4)


def _draw_distance(ax: Any, e: Episode, unit: str) -> None:
    ax.plot(from_target(e, e.path), color=colour_of(0))
    end, told = float(from_target(e, e.answer)), told_distance(e, unit)
    ax.plot(len(e.path) - 1, end, "x", color=WAY, label=f"answer, {told}")
    label = {
        "point": f"Distance in {unit}",
        "box": "Overlap",
        "plane": "Distance, degrees and mm",
    }[e.moved]
    ax.set(xlabel="Step", ylabel=label)
    ax.set_ylim(bottom=0)
    ax.legend()


def _draw_values(ax: Any, e: Episode, names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        ax.plot(e.values[:, i], color=colour_of(i), linestyle=dash_of(i), label=name, linewidth=1.2)
    ax.set(xlabel="Step", ylabel="Value of each action")
    legend(ax, "best")


def _draw_scales(ax: Any, e: Episode) -> None:
    """Mark where the agent goes on at a finer scale."""
    if e.scale is not None:
        for at in np.flatnonzero(np.diff(e.scale)):
            ax.axvline(at + 1, color=MUTED, linewidth=0.8, linestyle=":")


def _names(actions: Sequence[str] | None, e: Episode) -> Sequence[str]:
    n, rank = e.values.shape[1], e.image.ndim
    if actions is None:
        ways = [f"axis {i // 2}, {'back' if i % 2 == 0 else 'forth'}" for i in range(2 * rank)]
        known = e.moved == "point" and n == 2 * rank
        actions = ways if known else [f"action {i}" for i in range(n)]
    if len(actions) != n:
        raise ValueError(f"{n} actions have values, and {len(actions)} have names")
    return actions
