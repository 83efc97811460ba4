"""An agent's way through an image: where it went, how near it came, what it thought of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._style import INK, MUTED, colour_of, dash_of, legend, new_figure, style
from jaxmed.stats import checks

_WAY, _START, _GOAL = "#e69f00", "#56b4e9", "#009e73"  # All three are seen on grey.
_COLUMNS = 6


class Episode(NamedTuple):
    """One walk of an agent through an image.

    Attributes:
        image: ``(*spatial)``, two or three axes.
        path: positions in voxels, the first that of the start, ``(steps + 1, rank)``.
        target: where the landmark is, ``(rank,)`` voxels; None where nobody knows.
        answer: where the agent points to, ``(rank,)`` voxels; by default the last position.
        values: of each action at each position but the last, ``(steps, actions)``; None for none.
        scale: number of the scale at each position, ``(steps + 1,)``; None for one.
        spacing: mm between voxels along each axis.
        name: of the case.
        failed: whether it came to no end.
    """

    image: Any
    path: Any
    target: Any = None
    answer: Any = None
    values: Any = None
    scale: Any = None
    spacing: Any = None
    name: str = ""
    failed: bool = False


def episode_figure(
    episode: Episode, *, actions: Sequence[str] | None = None, unit: str = "mm"
) -> Figure:
    """Draw a walk over orthogonal planes of its image, its distance and its values by step.

    The planes go through the answer, and the whole path is projected onto each. A scan's planes
    are drawn with their first axis to the right and the second upwards, as NIfTI's
    right-anterior-superior order usually is; an image of two axes as it is stored.

    Args:
        episode: the walk.
        actions: their names; by default back and forth along each axis.
        unit: of distances.

    Returns:
        The figure: a row of planes, and below the distance from the target, where it is known, and
        the actions' values, where they are given.

    Raises:
        ValueError: for shapes that do not belong together, positions or voxels that are not
            finite, or names that are not one an action.
    """
    e = _checked(episode)
    rank = e.image.ndim
    panels = [p for p, shown in (("distance", e.target), ("values", e.values)) if shown is not None]
    with style():
        planes = _planes(rank)
        figure = Figure(figsize=(8.2, 5.6 if panels else 3.2), layout="constrained")
        rows = figure.subfigures(2 if panels else 1, 1, squeeze=False)[:, 0]
        for ax, axes in zip(np.ravel(rows[0].subplots(1, len(planes), squeeze=False)), planes):
            _draw_plane(ax, e, axes)
        marks, names = rows[0].axes[0].get_legend_handles_labels()
        rows[0].legend(marks, names, loc="outside lower center", ncols=4)
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
                    _draw_values(ax, e, _names(actions, e.values.shape[1], rank))
    return figure


def episodes_figure(episodes: Sequence[Episode], *, unit: str = "mm", most: int = 24) -> Figure:
    """Draw many walks side by side: those that failed first, then by how far they end away.

    Each is the plane through its answer across the last axis, with the path projected onto it.

    Args:
        episodes: the walks.
        unit: of distances.
        most: walks that are shown. Of more, every so many-th in that order is.

    Returns:
        The figure; each title says the case and the distance from the target, and whether the walk
        came to no end.

    Raises:
        ValueError: without an episode, if ``most`` is less than 1, or as :func:`episode_figure`.
    """
    if not episodes:
        raise ValueError("there are no episodes to draw")
    if most < 1:
        raise ValueError(f"most is at least 1 walk, got {most}")
    checked = [_checked(e) for e in episodes]
    far = [_distance(e, e.answer) if e.target is not None else 0.0 for e in checked]
    order = sorted(range(len(checked)), key=lambda i: (not checked[i].failed, -float(far[i])))
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
            _draw_plane(ax, e, _planes(e.image.ndim)[-1])
            distance = f"{float(far[i]):.1f} {unit}" if e.target is not None else ""
            text = ", ".join(word for word in (distance, "no end" * e.failed) if word)
            colour = colour_of(1) if e.failed else INK
            ax.set_title(f"{e.name}\n{text}", loc="center", fontsize=7.5, color=colour)
        marks, names = axes[0].get_legend_handles_labels()
        figure.legend(marks, names, loc="outside lower center", ncols=4)
    return figure


def _checked(episode: Episode) -> Episode:
    """The episode as arrays, whose shapes belong together."""
    image = checks.finite(episode.image, "image", ndim=None)
    if image.ndim not in (2, 3):
        raise ValueError(f"an image is (*spatial) of two or three axes, got {image.shape}")
    path = checks.finite(episode.path, "path", ndim=None)
    rank = image.ndim
    if path.ndim != 2 or path.shape[1] != rank or not len(path):
        raise ValueError(f"a path in an image of {rank} axes is (steps + 1, {rank}), {path.shape}")

    def point(value: ArrayLike | None, name: str) -> Any:
        if value is None:
            return None
        found = checks.finite(value, name, ndim=None)
        if found.shape != (rank,):
            raise ValueError(f"{name} is a point of {rank} axes, got the shape {found.shape}")
        return found

    values = None if episode.values is None else np.asarray(episode.values, float)
    if values is not None and (values.ndim != 2 or len(values) != len(path) - 1):
        raise ValueError(
            f"values are (steps, actions), one row for each of {len(path) - 1} steps, got "
            f"{values.shape}"
        )
    scale = None if episode.scale is None else np.asarray(episode.scale)
    if scale is not None and scale.shape != (len(path),):
        raise ValueError(f"scale is one number for each of {len(path)} positions, {scale.shape}")
    answer, spacing = point(episode.answer, "answer"), point(episode.spacing, "spacing")
    if spacing is not None and (spacing <= 0).any():
        raise ValueError(f"spacing is of mm above 0, got {spacing.tolist()}")
    return episode._replace(
        image=image, path=path, target=point(episode.target, "target"), values=values, scale=scale,
        answer=path[-1] if answer is None else answer,
        spacing=np.ones(rank) if spacing is None else spacing,
    )  # fmt: skip


def _planes(rank: int) -> list[tuple[int, int]]:
    """The axes to the right and up of each plane; of an image as it is stored right and down."""
    return [(1, 0)] if rank == 2 else [(1, 2), (0, 2), (0, 1)]


def _draw_plane(ax: Any, e: Episode, axes: tuple[int, int]) -> None:
    across, up = axes
    plane = e.image
    stored = e.image.ndim == 2
    if not stored:
        (through,) = {0, 1, 2} - set(axes)
        at = int(np.clip(np.rint(e.answer[through]), 0, plane.shape[through] - 1))
        plane = np.take(plane, at, through).T
    ax.imshow(
        to_display(plane), cmap="gray", vmin=0, vmax=1, interpolation="nearest",
        origin="upper" if stored else "lower", aspect=e.spacing[up] / e.spacing[across],
    )  # fmt: skip
    ax.plot(e.path[:, across], e.path[:, up], color=_WAY, linewidth=1.2, label="path")
    ax.plot(*e.path[0, list(axes)], "o", color=_START, markersize=4, label="start")
    if e.target is not None:
        ax.plot(
            *e.target[list(axes)], "s", color=_GOAL, markersize=7, fillstyle="none",
            markeredgewidth=1.4, label="target",
        )  # fmt: skip
    ax.plot(*e.answer[list(axes)], "x", color=_WAY, markersize=6, label="answer")
    ax.set_axis_off()


def _distance(e: Episode, positions: Any) -> Any:
    return np.linalg.norm((positions - e.target) * e.spacing, axis=-1)


def _draw_distance(ax: Any, e: Episode, unit: str) -> None:
    ax.plot(_distance(e, e.path), color=colour_of(0))
    end = float(_distance(e, e.answer))
    ax.plot(len(e.path) - 1, end, "x", color=_WAY, label=f"answer, {end:.1f} {unit}")
    ax.set(xlabel="Step", ylabel=f"Distance from the target in {unit}")
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


def _names(actions: Sequence[str] | None, n: int, rank: int) -> Sequence[str]:
    if actions is None:
        ways = [f"axis {i // 2}, {'back' if i % 2 == 0 else 'forth'}" for i in range(2 * rank)]
        actions = ways if n == 2 * rank else [f"action {i}" for i in range(n)]
    if len(actions) != n:
        raise ValueError(f"{n} actions have values, and {len(actions)} have names")
    return actions
