"""Intensity normalisation of a recipe."""

from __future__ import annotations

from typing import Literal

import numpy as np

from jaxmed.data import normalise


def normalised(
    image: np.ndarray,
    method: Literal["zscore", "unit", "percentile", "linear"],
    linear: tuple[float, float],
    *,
    where: np.ndarray | None = None,
) -> np.ndarray:
    """Normalise an image (*spatial, channels) by :func:`jaxmed.data.normalise` or a linear map.

    >>> normalised(np.array([[0.0], [1.0]]), "linear", (2.0, -1.0)).ravel().tolist()
    [-1.0, 1.0]
    """
    if method == "linear":
        gain, offset = (np.float32(number) for number in linear)
        return np.asarray(image, np.float32) * gain + offset
    return normalise(image, method, where=where)
