"""Images with the outlines of objects that were told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._picture_grid import picture_grid
from jaxmed.report.figures._style import colour_of, style

_NAMES = ("found", "missed", "false")


def instances_figure(pictures: Sequence[Any], *, columns: int = 2) -> Figure:
    """Draw images with the outlines of objects that were found, missed, and falsely found.

    Args:
        pictures: :class:`jaxmed.report.InstancePicture`.
        columns: pictures beside each other.
    """
    colours = ("#37c871", "#ffb000", colour_of(3))
    with style():
        figure, shown = picture_grid(pictures, columns)
        for ax, picture in shown:
            image = to_display(picture.image)
            rgb = np.repeat(image[..., None], 3, -1) if image.ndim == 2 else image[..., :3].copy()
            for value, colour in enumerate(colours, 1):
                rgb[picture.outlines == value] = to_rgb(colour)
            ax.imshow(rgb, interpolation="nearest", vmin=0, vmax=1)
        handles = [Line2D([], [], color=c, label=n) for c, n in zip(colours, _NAMES)]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
