"""Heat map of scores over an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._style import INK, MUTED, new_figure, style


def heat_map_figure(
    image: ArrayLike,
    heat: ArrayLike,
    *,
    centres: ArrayLike | None = None,
    positive: ArrayLike | None = None,
    label: str = "attention",
    titles: Sequence[str] = ("image", "map"),
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw an image, and next to it the image overlaid with a map of scores.

    Args:
        image: (height, width) or (height, width, channels); cut a plane out of a volume first.
        heat: (height, width), as returned by :func:`jaxmed.inference.instance_map`; NaN is blank.
        centres: (instances, 2), row and column of each instance, marked on the image.
        positive: (instances,), true for positive instances, which are drawn filled.
        label: label of the colour bar.
        titles: titles of the two panels.
        limits: scores at the ends of the colour scale; by default their range.

    Returns:
        A figure of two panels.

    Raises:
        ValueError: if the image and the map differ in size.

    Examples:
        >>> figure = heat_map_figure(np.zeros((8, 8)), np.eye(8))
        >>> len(figure.axes)  # two panels and a colour bar
        3
    """
    x, h = np.asarray(image), np.asarray(heat, float)
    if x.ndim not in (2, 3) or h.shape != x.shape[:2]:
        raise ValueError(f"the map must have the image's size, got {h.shape} and {x.shape}")
    x = x[..., 0] if x.ndim == 3 and x.shape[-1] not in (3, 4) else x
    seen = h[np.isfinite(h)]
    low, high = limits or ((seen.min(), seen.max()) if seen.size else (0.0, 1.0))
    ratio = float(np.clip(x.shape[0] / x.shape[1], 0.5, 2.0))
    each = 3.0
    with style():
        figure, axes = new_figure(2 * each + 0.6, each * ratio + 0.35, columns=2)
        shown = to_display(x)
        grey = shown if shown.ndim == 2 else shown[..., :3].mean(-1)
        axes[0].imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes[1].imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        # Lighter means higher, also in print and for colour-blind readers; blank without a patch.
        painted = axes[1].imshow(
            np.ma.masked_invalid(h), cmap="inferno", vmin=low, vmax=high, alpha=0.75,
            interpolation="nearest",
        )  # fmt: skip
        bar = figure.colorbar(painted, ax=axes[1], shrink=0.85, pad=0.02)
        bar.set_label(label, color=INK)
        bar.ax.tick_params(colors=MUTED)
        bar.outline.set_visible(False)
        if centres is not None:
            rows, columns = np.asarray(centres, float).T
            kinds = np.zeros(len(rows), bool) if positive is None else np.asarray(positive, bool)
            for which, face in ((~kinds, "none"), (kinds, "#e69f00")):
                axes[0].scatter(
                    columns[which], rows[which], s=9, facecolors=face, edgecolors="#e69f00",
                    linewidths=0.7,
                )  # fmt: skip
        for ax, title in zip(axes, titles):
            ax.set_title(title, loc="center", fontsize=9, fontweight="normal", color=INK)
            ax.set_axis_off()
    return figure
