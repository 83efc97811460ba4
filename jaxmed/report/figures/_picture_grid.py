"""A grid of pictures, each with its case, the reason for showing it, and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._style import INK, new_figure, shortened

_WIDTH, _TITLE = 3.6, 0.55


def picture_grid(pictures: Sequence[Any], columns: int) -> tuple[Figure, list[tuple[Any, Any]]]:
    """Make the axes of pictures, titled and without ticks.

    Args:
        pictures: with ``image`` (height, width, ...), ``case``, ``rank`` and ``caption``.
        columns: pictures beside each other, at most.

    Returns:
        The figure, and of each picture its axes and itself.
    """
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    ratio = max(np.clip(p.image.shape[0] / p.image.shape[1], 0.4, 1.6) for p in pictures)
    figure, axes = new_figure(
        _WIDTH * columns, (_WIDTH * ratio + _TITLE) * rows + 0.5, rows=rows, columns=columns
    )
    for ax in axes:
        ax.set_axis_off()
    for ax, picture in zip(axes, pictures):
        ax.set_title(
            f"{shortened(picture.case, 34)} ({picture.rank})\n{picture.caption}", fontsize=8,
            loc="left", fontweight="normal", color=INK,
        )  # fmt: skip
    return figure, [*zip(axes, pictures)]
