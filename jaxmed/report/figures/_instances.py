"""Images with the outlines of objects that were told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._style import INK, colour_of, new_figure, shortened, style

_NAMES = ("found", "missed", "false")


def instances_figure(pictures: Sequence[Any], *, columns: int = 2) -> Figure:
    """Draw images with the outlines of objects that were found, missed, and falsely found.

    Args:
        pictures: :class:`jaxmed.report.InstancePicture`.
        columns: pictures beside each other.
    """
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    ratio = max(np.clip(p.image.shape[0] / p.image.shape[1], 0.4, 1.6) for p in pictures)
    width = 3.6
    colours = ("#37c871", "#ffb000", colour_of(3))
    with style():
        figure, axes = new_figure(
            width * columns, (width * ratio + 0.55) * rows + 0.5, rows=rows, columns=columns
        )
        for ax in axes:
            ax.set_axis_off()
        for ax, picture in zip(axes, pictures):
            shown = to_display(picture.image)
            rgb = np.repeat(shown[..., None], 3, -1) if shown.ndim == 2 else shown[..., :3].copy()
            for value, colour in enumerate(colours, 1):
                rgb[picture.outlines == value] = to_rgb(colour)
            ax.imshow(rgb, interpolation="nearest", vmin=0, vmax=1)
            ax.set_title(
                f"{shortened(picture.case, 34)} ({picture.rank})\n{picture.caption}", fontsize=8,
                loc="left", fontweight="normal", color=INK,
            )  # fmt: skip
        handles = [Line2D([], [], color=c, label=n) for c, n in zip(colours, _NAMES)]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
