"""Intensity normalisation of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxmed.data import normalise


def normalised(
    image: np.ndarray,
    method: Literal["zscore", "unit", "percentile", "linear", "fixed"],
    linear: tuple[float, float],
    *,
    where: np.ndarray | None = None,
    intensities: Sequence[Sequence[float]] = (),
) -> np.ndarray:
    """Normalise an image (*spatial, channels) by :func:`jaxmed.data.normalise` or a known map.

    ``"fixed"`` clips each channel to ``(low, high)`` and subtracts and divides by ``(mean, sd)``,
    the four numbers of its ``intensities``.

    >>> normalised(np.array([[0.0], [1.0]]), "linear", (2.0, -1.0)).ravel().tolist()
    [-1.0, 1.0]
    """
    if method == "linear":
        gain, offset = (np.float32(number) for number in linear)
        return np.asarray(image, np.float32) * gain + offset
    if method == "fixed":
        low, high, mean, sd = np.asarray(intensities, np.float32).T
        return (np.clip(np.asarray(image, np.float32), low, high) - mean) / np.maximum(sd, 1e-8)
    return normalise(image, method, where=where)
