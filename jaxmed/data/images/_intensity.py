"""Per-scan intensity normalisation on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def normalise(
    image: np.ndarray,
    method: Literal["zscore", "unit", "percentile", "window"] = "zscore",
    *,
    where: np.ndarray | None = None,
    limits: Sequence[float] = (0.5, 99.5),
) -> np.ndarray:
    r"""Normalise the intensities of each channel.

    ``zscore``: (x - mean) / sd. ``unit``: (x - min) / (max - min). ``percentile``: clip to the
    percentiles ``limits``, then unit. ``window``: clip to the values ``limits`` (Hounsfield units,
    say), then (x - low) / (high - low). A constant channel becomes 0.

    Args:
        image: (*spatial, channels).
        method: one of the four.
        where: (*spatial,) voxels from which the statistics are taken, such as the brain.
        limits: percentiles in 0 to 100, or values, by method.

    Returns:
        float32, of the same shape.

    Examples:
        >>> import numpy as np
        >>> normalise(np.array([[1.0], [3.0]])).ravel().tolist()
        [-1.0, 1.0]
    """
    image = np.asarray(image, np.float32)
    if where is not None and where.shape != image.shape[:-1]:
        raise ValueError(f"where is {where.shape} for an image of shape {image.shape}")
    values = image.reshape(-1, image.shape[-1]) if where is None else image[np.asarray(where, bool)]
    if len(values) == 0:
        return np.zeros_like(image)
    values = values.astype(np.float64)
    if method == "zscore":
        shift, scale = values.mean(axis=0), values.std(axis=0)
        low, high = None, None
    elif method in ("unit", "percentile", "window"):
        low, high = {
            "unit": lambda: (values.min(axis=0), values.max(axis=0)),
            "percentile": lambda: tuple(np.percentile(values, limits, axis=0)),
            "window": lambda: tuple(np.full(image.shape[-1], v, float) for v in limits),
        }[method]()
        shift, scale = low, high - low
    else:
        raise ValueError(f"method is zscore, unit, percentile or window, got {method!r}")
    clipped = image if low is None else np.clip(image, low, high)
    safe = np.where(scale > 1e-8 * np.maximum(np.abs(shift), 1e-30), scale, np.inf)
    return ((clipped - shift) / safe).astype(np.float32)
