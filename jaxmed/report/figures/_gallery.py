"""Example cases: cutting a plane out of a volume, choosing cases, drawing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from jaxmed import quantities
from jaxmed.report.figures._style import INK, PALETTE, new_figure, short_names, style
from jaxmed.report.results._parts import Picture, Scores

_COLUMNS = 5  # Panels of a case beside each other.


def best_median_worst(values: ArrayLike) -> dict[str, int]:
    """Return the positions of the largest, median and smallest value, ignoring NaN.

    Examples:
        >>> best_median_worst([0.2, 0.9, 0.5])
        {'best': 1, 'median': 2, 'worst': 0}
    """
    values = np.asarray(values, float)
    order = [int(i) for i in np.argsort(-values, kind="stable") if np.isfinite(values[i])]
    if not order:
        return {}
    if len(order) < 3:  # each is shown once
        return dict(zip(("best", "worst"), order))
    return {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}


def mask_picture(
    case: str,
    image: ArrayLike,
    truth: ArrayLike | None,
    prediction: ArrayLike | Mapping[str, ArrayLike],
    *,
    rank: str = "",
    caption: str = "",
    spacing: Sequence[float] | None = None,
) -> Picture:
    """Cut the plane with the largest extent of the structures out of a case.

    Of several models it is the plane on most of whose voxels they differ.

    Args:
        case: name of the case.
        image: (*spatial,) or (*spatial, channels), 2D or 3D as the masks are; zeros where there
            is none.
        truth: (*spatial,) whole numbers, or None.
        prediction: (*spatial,) whole numbers; or model to such a mask.
        rank: reason for showing the case.
        caption: caption, e.g. the case's Dice.
        spacing: size of a voxel along each axis.

    Returns:
        A picture with the first of the remaining axes to the right and the second upwards, as
        NIfTI's right-anterior-superior order is usually drawn.
    """
    x, t = np.asarray(image), None if truth is None else np.asarray(truth)
    models = prediction if isinstance(prediction, Mapping) else {"": prediction}
    masks = {model: np.asarray(mask) for model, mask in models.items()}
    p = next(iter(masks.values()))
    if x.ndim == p.ndim:
        x = x[..., None]
    others = [mask for mask in (t, *masks.values()) if mask is not None]
    if any(mask.shape != x.shape[:-1] for mask in others):
        shapes = x.shape, *(mask.shape for mask in others)
        raise ValueError(f"image, truth and prediction of {case} differ in shape: {shapes}")
    spacing = tuple(spacing or (1.0,) * p.ndim)
    if p.ndim == 3:
        seen = (p if t is None or not t.any() else t) > 0
        differ = np.any([mask != p for mask in masks.values()], axis=0)
        seen = differ if differ.any() else seen
        # The plane with the largest cut, across any axis.
        areas = [seen.sum(tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        cut = [area.max() * np.prod(np.delete(spacing, axis)) for axis, area in enumerate(areas)]
        axis = int(np.argmax(cut))
        at = int(np.argmax(areas[axis])) if seen.any() else p.shape[axis] // 2
        x = np.take(x, at, axis).swapaxes(0, 1)[::-1]
        masks = {model: np.take(mask, at, axis).T[::-1] for model, mask in masks.items()}
        t = None if t is None else np.take(t, at, axis).T[::-1]
        spacing = tuple(np.delete(spacing, axis))[::-1]
    x = x if x.shape[-1] == 3 else x[..., 0]
    shown = masks if isinstance(prediction, Mapping) else masks[""]
    return Picture(case, rank, x, t, shown, caption, float(spacing[0] / spacing[1]))


def case_figure(picture: Picture, *, classes: Sequence[str]) -> Figure:
    """Draw a case: the image alone, with the truth, with the prediction of each model.

    An image without any contrast is a plain ground for the masks, and not shown alone.

    Args:
        picture: a picture with masks, or with class names.
        classes: names of the mask's classes 1, 2, ...
    """
    plain = np.ptp(picture.image) == 0
    panels: list[tuple[str, Any]] = [] if plain else [("image", None)]
    predicted = picture.prediction
    models = predicted if isinstance(predicted, Mapping) else {"prediction": predicted}
    for name, mask in {"truth": picture.truth, **models}.items():
        if mask is not None and not isinstance(mask, str):
            panels.append((name, mask))
    height, width = picture.image.shape[:2]
    ratio = np.clip(height / width * picture.aspect, 0.5, 2)
    each = 2.3
    titles = short_names([name for name, _ in panels], 34)
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    with style():
        figure, axes = new_figure(
            each * columns, (each * ratio + 0.25) * rows, rows=rows, columns=columns
        )
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        for ax, (name, mask) in zip(axes, panels):
            ax.imshow(
                to_display(picture.image), cmap="gray", aspect=picture.aspect,
                interpolation="nearest", vmin=0, vmax=1,
            )  # fmt: skip
            if mask is not None:
                ax.imshow(
                    overlay(mask, alpha=0.6 if plain else 0.3),
                    aspect=picture.aspect,
                    interpolation="nearest",
                )
                for i in range(1, len(classes) + 1):
                    if (mask == i).any():
                        ax.contour(
                            mask == i, levels=[0.5], colors=[PALETTE[(i - 1) % len(PALETTE)]],
                            linewidths=1.4,
                        )  # fmt: skip
            ax.set_title(titles[name], loc="center", fontsize=9, fontweight="normal", color=INK)
            ax.set_axis_off()
    return figure


def overlay(mask: NDArray[np.integer], *, alpha: float = 0.4) -> NDArray[np.floating]:
    """Colour a mask as (height, width, 4), transparent where it is 0."""
    colours = np.zeros((*mask.shape, 4))
    for i in np.unique(mask[mask > 0]):
        colours[mask == i] = (*to_rgb(PALETTE[(int(i) - 1) % len(PALETTE)]), alpha)
    return colours


def to_display(image: ArrayLike) -> NDArray[np.floating]:
    """Map grey values or colours to [0, 1], between their 1st and 99.5th percentile."""
    x = np.asarray(image, float)
    low, high = np.percentile(x[np.isfinite(x)], [1, 99.5]) if np.isfinite(x).any() else (0, 1)
    return np.clip((x - low) / max(high - low, 1e-12), 0, 1)


def class_pictures(
    images: Any, scores: Scores, *, classes: Sequence[str], each: int = 4
) -> tuple[Picture, ...]:
    """Choose a classifier's most confident correct, least confident and most confident wrong cases.

    Args:
        images: `images[i]` is the image of row i: (height, width, channels), or a volume, whose
            middle plane is shown.
        scores: the predictions, with (cases, classes) probabilities.
        classes: names of the classes.
        each: number of each kind.
    """
    y, s = np.asarray(scores.labels), np.asarray(scores.scores)
    if y.ndim != 1 or s.ndim != 2:
        return ()
    top, sure = quantities.largest(s), s.max(1)
    right, wrong = np.flatnonzero(top == y), np.flatnonzero(top != y)
    ordered = np.sort(s, 1)
    margin = ordered[:, -1] - ordered[:, -2]
    chosen = [
        ("surest and right", right[np.argsort(-sure[right], kind="stable")][:each]),
        ("least sure", np.argsort(margin, kind="stable")[:each]),
        ("surest and wrong", wrong[np.argsort(-sure[wrong], kind="stable")][:each]),
    ]
    pictures = []
    for rank, rows in chosen:
        for i in rows:
            x = np.asarray(images[int(i)])
            x = x[x.shape[0] // 2] if x.ndim == 4 else x
            x = x if x.ndim == 2 or x.shape[-1] == 3 else x[..., 0]
            truth, called = classes[int(y[i])], classes[int(top[i])]
            caption = f"{called} ({sure[i]:.2f}); truth: {truth}"
            pictures.append(Picture(str(scores.cases[i]), rank, x, truth, called, caption))
    return tuple(pictures)
