"""Images that a model draws, beside those that it learned from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed.report.figures._style import INK, new_figure, style

_COLUMNS = 10  # Images of a row.
_EACH = 0.62  # Inches.


def drawings_figure(drawings: Mapping[str, ArrayLike]) -> Figure:
    """Draw sets of images one under the other, each with its name.

    Args:
        drawings: by name, (n, height, width) or (n, height, width, 3), in [0, 1]: black is 0. Cut
            planes out of volumes first.

    Returns:
        A figure of one panel a set, ten images a row.

    Raises:
        ValueError: without a set, or for one that has no image, another shape, or values that are
            not in [0, 1].

    Examples:
        >>> figure = drawings_figure({"digits": np.zeros((12, 8, 8)), "drawn": np.ones((3, 8, 8))})
        >>> len(figure.axes)
        2
    """
    if not drawings:
        raise ValueError("there are no images to draw")
    sheets = {name: _sheet(name, np.asarray(images, float)) for name, images in drawings.items()}
    heights = [sheet.shape[0] / sheet.shape[1] for sheet in sheets.values()]
    width = _COLUMNS * _EACH
    with style():
        figure, _ = new_figure(width, sum(heights) * width + 0.3 * len(sheets))
        figure.clear()
        axes = figure.subplots(len(sheets), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, (name, sheet) in zip(axes, sheets.items(), strict=True):
            ax.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(name, loc="left", fontsize=9, fontweight="normal", color=INK)
            ax.set_axis_off()
    return figure


def _sheet(name: str, images: np.ndarray) -> np.ndarray:
    """The images of a set as one, with a line of white between them."""
    if images.ndim not in (3, 4) or not len(images) or images.shape[3:] not in ((), (3,)):
        raise ValueError(
            f"{name!r} holds (n, height, width) or (n, height, width, 3), got {images.shape}"
        )
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        raise ValueError(f"the images of {name!r} are not all in [0, 1]")
    n, height, width = images.shape[:3]
    rows = -(-n // _COLUMNS)
    sheet = np.ones((rows * (height + 1) - 1, _COLUMNS * (width + 1) - 1, *images.shape[3:]))
    for i, image in enumerate(images):
        top, left = i // _COLUMNS * (height + 1), i % _COLUMNS * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet
