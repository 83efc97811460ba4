"""Figures of a registration: checkerboards, the moved grid, how much each place grew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from jaxmed.report.figures._style import INK, PALETTE, new_figure, style

_SQUARES = 8
_LINES = 24


def checkerboard(a: np.ndarray, b: np.ndarray, squares: int = _SQUARES) -> np.ndarray:
    """Take squares of two pictures in turn, `squares` along the longer side.

    Examples:
        >>> checkerboard(np.zeros((4, 4)), np.ones((4, 4)), 2).tolist()[0]
        [0.0, 0.0, 1.0, 1.0]
    """
    side = max(max(a.shape) / squares, 1)
    rows, columns = np.indices(a.shape)
    return np.where((rows // side + columns // side) % 2 == 0, a, b)


def planes(shape: Sequence[int]) -> list[tuple[int, tuple[Any, ...]]]:
    """The middle plane across each axis of a volume, and the one plane of a picture."""
    if len(shape) == 2:
        return [(-1, (slice(None), slice(None)))]
    return [
        (axis, tuple(n // 2 if a == axis else slice(None) for a, n in enumerate(shape)))
        for axis in range(3)
    ]


def comparison_figure(
    fixed: np.ndarray, moving: np.ndarray, moved: np.ndarray, spacing: Sequence[float]
) -> Figure:
    """Fixed image and checkerboards of it with the moving image, before and after.

    Args:
        fixed: (*spatial,) brightness in [0, 1].
        moving: the moving image on the same grid, as it lay.
        moved: the moving image, moved.
        spacing: voxel edge lengths.
    """
    cuts = planes(fixed.shape)
    with style():
        figure, axes = new_figure(2.5 * 4, 2.5 * len(cuts), len(cuts), 4)
        for row, (axis, cut) in enumerate(cuts):
            shown = (
                ("fixed", fixed[cut]),
                ("before", checkerboard(fixed[cut], moving[cut])),
                ("after", checkerboard(fixed[cut], moved[cut])),
                ("moved", moved[cut]),
            )
            for ax, (name, picture) in zip(axes[4 * row : 4 * row + 4], shown, strict=True):
                _show(ax, picture, spacing, axis, cmap="gray", vmin=0, vmax=1)
                if row == 0:
                    ax.set_title(name)
    return figure


def difference_figure(
    fixed: np.ndarray, moving: np.ndarray, moved: np.ndarray, spacing: Sequence[float]
) -> Figure:
    """The moving minus the fixed image, before and after, in one scale."""
    cuts = planes(fixed.shape)
    with style():
        figure, axes = new_figure(2.7 * len(cuts), 5.2, 2, len(cuts))
        for row, (name, image) in enumerate((("before", moving), ("after", moved))):
            for column, (axis, cut) in enumerate(cuts):
                ax = axes[row * len(cuts) + column]
                _show(ax, (image - fixed)[cut], spacing, axis, cmap="RdBu_r", vmin=-1, vmax=1)
                if column == 0:
                    ax.set_title(name)
    return figure


def grid_figure(fixed: np.ndarray, field: np.ndarray, spacing: Sequence[float]) -> Figure:
    """Lines of the fixed image's grid where the warp sends them, over the fixed image.

    Args:
        fixed: (*spatial,) brightness in [0, 1].
        field: (*spatial, rank) displacements in voxels of the fixed image.
        spacing: voxel edge lengths.
    """
    cuts = planes(fixed.shape)
    rank = fixed.ndim
    with style():
        figure, axes = new_figure(3.4 * len(cuts), 3.4, 1, len(cuts))
        for ax, (axis, cut) in zip(axes, cuts, strict=True):
            _show(ax, fixed[cut], spacing, axis, cmap="gray", vmin=0, vmax=1, alpha=0.6)
            a, b = (i for i in range(rank) if i != axis)
            at = np.moveaxis(np.indices(fixed[cut].shape), 0, -1) + field[cut][..., [a, b]]
            step = max(max(fixed[cut].shape) // _LINES, 1)
            options = {"color": PALETTE[1], "linewidth": 0.6}
            for i in range(0, at.shape[0], step):
                ax.plot(at[i, :, 0], at[i, :, 1], **options)
            for j in range(0, at.shape[1], step):
                ax.plot(at[:, j, 0], at[:, j, 1], **options)
    return figure


def growth_figure(determinant: np.ndarray, spacing: Sequence[float]) -> Figure:
    """The Jacobian determinant: white where volume is kept; folds are black.

    Args:
        determinant: (*spatial,).
        spacing: voxel edge lengths.
    """
    cuts = planes(determinant.shape)
    low, high = np.quantile(determinant, [0.005, 0.995])
    scale = TwoSlopeNorm(1.0, min(low, 0.9), max(high, 1.1))
    with style():
        figure, axes = new_figure(3.4 * len(cuts) + 0.6, 3.2, 1, len(cuts))
        drawn: Any = None
        for ax, (axis, cut) in zip(axes, cuts, strict=True):
            drawn = _show(ax, determinant[cut], spacing, axis, cmap="PuOr", norm=scale)
            folded = np.argwhere(determinant[cut] <= 0)
            if len(folded):
                ax.plot(folded[:, 0], folded[:, 1], "s", color=INK, markersize=2)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, label="Jacobian determinant")
        bar.outline.set_visible(False)
    return figure


def _show(ax: Any, picture: np.ndarray, spacing: Sequence[float], axis: int, **options: Any) -> Any:
    """Show a plane with its first axis to the right and its second one up."""
    a, b = (i for i in range(len(spacing)) if i != axis)
    drawn = ax.imshow(
        picture.T, origin="lower", aspect=spacing[b] / spacing[a], interpolation="nearest",
        **options,
    )  # fmt: skip
    ax.set_axis_off()
    return drawn
