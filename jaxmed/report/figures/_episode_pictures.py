"""The pictures of an agent's way: planes of its image, with what moved drawn into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from jaxmed.reinforcement import plane_image
from jaxmed.report.figures._gallery import to_display
from jaxmed.report.results._episodes import Episode

WAY, START, GOAL = "#e69f00", "#56b4e9", "#009e73"  # All three are seen on grey.

Draw = Callable[[Any], None]


def pictures(e: Episode) -> list[Draw]:
    """Functions that draw on axes: of a checked episode, the most telling picture last."""
    if e.moved == "plane":
        return [_plane(e, name) for name in ("start", "target", "answer")]
    way = _points if e.moved == "point" else _boxes

    def drawn(axes: tuple[int, int]) -> Draw:
        def draw(ax: Any) -> None:
            _background(ax, e, axes)
            way(ax, e, axes)

        return draw

    # The axes to the right and up; of an image of two axes as it is stored, right and down.
    flat = e.image.ndim == 2
    return [drawn(axes) for axes in ([(1, 0)] if flat else [(1, 2), (0, 2), (0, 1)])]


def _background(ax: Any, e: Episode, axes: tuple[int, int]) -> None:
    """The plane of the image through the answer."""
    across, up = axes
    stored = e.image.ndim == 2
    plane = e.image
    if not stored:
        (through,) = {0, 1, 2} - set(axes)
        at = e.answer[through]
        if e.moved == "box":
            at = (at + e.answer[3 + through] - 1) / 2
        plane = np.take(plane, int(np.clip(np.rint(at), 0, plane.shape[through] - 1)), through).T
    _show(ax, plane, "upper" if stored else "lower", e.spacing[up] / e.spacing[across])


def _show(ax: Any, plane: Any, origin: Any, aspect: float) -> None:
    ax.imshow(
        to_display(plane), cmap="gray", vmin=0, vmax=1, interpolation="nearest",
        origin=origin, aspect=aspect,
    )  # fmt: skip
    ax.set_axis_off()


def _points(ax: Any, e: Episode, axes: tuple[int, int]) -> None:
    across, up = axes
    ax.plot(e.path[:, across], e.path[:, up], color=WAY, linewidth=1.2, label="path")
    ax.plot(*e.path[0, list(axes)], "o", color=START, markersize=4, label="start")
    if e.target is not None:
        ax.plot(
            *e.target[list(axes)], "s", color=GOAL, markersize=7, fillstyle="none",
            markeredgewidth=1.4, label="target",
        )  # fmt: skip
    ax.plot(*e.answer[list(axes)], "x", color=WAY, markersize=6, label="answer")


def _boxes(ax: Any, e: Episode, axes: tuple[int, int]) -> None:
    rank = e.image.ndim

    def outlined(box: Any, label: str | None = None, **look: Any) -> None:
        # Voxel i covers i to i + 1, and is drawn about i.
        low, high = box[list(axes)] - 0.5, box[[rank + axis for axis in axes]] - 0.5
        ax.add_patch(Rectangle(low, *(high - low), fill=False, label=label, **look))

    for i, box in enumerate(e.path[1:-1]):
        outlined(box, None if i else "path", edgecolor=WAY, linewidth=0.5, alpha=0.6)
    outlined(e.path[0], "start", edgecolor=START, linewidth=1.2, linestyle="--")
    if e.target is not None:
        for i, box in enumerate(np.atleast_2d(e.target)):
            outlined(box, None if i else "target", edgecolor=GOAL, linewidth=1.4)
    outlined(e.answer, "answer", edgecolor=WAY, linewidth=1.6)
    # The whole image is a box too, and its outline is not to be cut in half.
    for limits in (ax.set_xlim, ax.set_ylim):
        low, high = limits()
        margin = 0.02 * (high - low)
        limits(low - margin, high + margin)


def _plane(e: Episode, name: str) -> Draw:
    """What the plane of the start, the target or the answer shows."""
    shown = {"start": e.path[0], "target": e.target, "answer": e.answer}[name]

    def draw(ax: Any) -> None:
        ax.set_axis_off()
        if shown is None:
            return
        seen = plane_image(e.image, shown, spacing=e.spacing, size=96)
        _show(ax, np.asarray(seen).T, "lower", 1.0)
        ax.set_title(name, loc="center", fontsize=9)

    return draw
