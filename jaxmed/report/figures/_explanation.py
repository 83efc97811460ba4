"""A case and its maps: signed colours over the image, each in its own scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._style import INK, new_figure, style

_WIDTH, _CLIPPED = 2.5, 0.995


def explanation_figure(
    image: np.ndarray, maps: Mapping[str, np.ndarray], mask: np.ndarray | None = None
) -> Figure:
    """Draw an image, and over it in grey each map: red speaks for the target, blue against it.

    A volume is shown by its plane, across the last axis, in which the maps are strongest.

    Args:
        image: (*spatial, channels), two axes or three.
        maps: (*spatial,) signed values of each method.
        mask: (*spatial,), outlined where it is given.

    Examples:
        >>> figure = explanation_figure(np.zeros((8, 8, 1)), {"gradient": np.eye(8)})
    """
    if image.ndim == 4:
        strength = sum(_relative(values) for values in maps.values())
        at = int(np.asarray(strength).sum((0, 1)).argmax())
        image, maps = image[:, :, at], {name: values[:, :, at] for name, values in maps.items()}
        mask = None if mask is None else mask[:, :, at]
    shown = to_display(image)
    grey = shown if shown.ndim == 2 else shown.mean(-1)
    ratio = float(np.clip(grey.shape[0] / grey.shape[1], 0.5, 1.6))
    with style():
        figure, axes = new_figure(_WIDTH * (len(maps) + 1), _WIDTH * ratio + 0.45, 1, len(maps) + 1)
        axes[0].imshow(shown, cmap="gray", interpolation="nearest")
        axes[0].set_title("image", color=INK)
        for ax, (name, values) in zip(axes[1:], maps.items(), strict=True):
            ax.imshow(grey, cmap="gray", alpha=0.5, interpolation="nearest")
            largest = float(np.quantile(np.abs(values), _CLIPPED)) or float(np.abs(values).max())
            seen = ax.imshow(
                values, cmap="RdBu_r", vmin=-largest or -1, vmax=largest or 1,
                alpha=np.clip(np.abs(values) / (largest or 1), 0, 1) ** 0.5,
                interpolation="nearest",
            )  # fmt: skip
            bar = figure.colorbar(seen, ax=ax, shrink=0.7, pad=0.02, format="%.1e")
            bar.set_ticks([-largest, 0, largest] if largest else [0])
            bar.ax.tick_params(labelsize=6)
            ax.set_title(name, color=INK)
        for ax in axes:
            ax.set_axis_off()
            if mask is not None and mask.any() and not mask.all():
                ax.contour(np.asarray(mask, float), [0.5], colors=["#e69f00"], linewidths=0.9)
    return figure


def _relative(values: np.ndarray) -> np.ndarray:
    return np.abs(values) / (np.abs(values).max() or 1)
