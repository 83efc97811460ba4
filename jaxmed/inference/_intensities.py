"""What is asked of an image, and its normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxmed.data import normalise

Linear = tuple[float, float] | tuple[tuple[float, float], ...]
"""Gain and offset, of all channels or a pair for each."""


def normalised(
    image: np.ndarray,
    method: Literal["zscore", "unit", "percentile", "linear", "fixed"],
    linear: Linear,
    *,
    where: np.ndarray | None = None,
    intensities: Sequence[Sequence[float]] = (),
) -> np.ndarray:
    """Normalise an image (*spatial, channels) by :func:`jaxmed.data.normalise` or a known map.

    ``"linear"`` is a gain and an offset, of all channels or a pair for each.
    ``"fixed"`` clips each channel to ``(low, high)`` and subtracts and divides by ``(mean, sd)``,
    the four numbers of its ``intensities``.

    >>> normalised(np.array([[0.0], [1.0]]), "linear", (2.0, -1.0)).ravel().tolist()
    [-1.0, 1.0]
    >>> normalised(np.ones((1, 2)), "linear", ((2.0, -1.0), (4.0, 0.0))).tolist()
    [[1.0, 4.0]]
    """
    if method == "linear":
        gain, offset = np.asarray(linear, np.float32).T
        return np.asarray(image, np.float32) * gain + offset
    if method == "fixed":
        low, high, mean, sd = np.asarray(intensities, np.float32).T
        return (np.clip(np.asarray(image, np.float32), low, high) - mean) / np.maximum(sd, 1e-8)
    return normalise(image, method, where=where)


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Refuse a spatial shape that no network can be given.

    >>> check_shape("patch", (0, 16))
    Traceback (most recent call last):
    ValueError: patch is a number of voxels, 1 or more, along each axis, got (0, 16)
    """
    if not shape or any(n != int(n) or n < 1 for n in shape):
        raise ValueError(f"{name} is a number of voxels, 1 or more, along each axis, got {shape}")


def check_linear(linear: Linear, channels: int) -> None:
    """Refuse a linear map that is not one of the channels.

    >>> check_linear(((2.0, -1.0),), 3)
    Traceback (most recent call last):
    ValueError: linear is a gain and an offset, or a pair for each of the 3 channels, got ...
    """
    pairs = np.asarray(linear, object)
    if pairs.shape not in ((2,), (channels, 2)):
        raise ValueError(
            "linear is a gain and an offset, or a pair for each of the "
            f"{channels} channels, got {linear}"
        )


def finite(answer: np.ndarray) -> np.ndarray:
    """What a network says, refused where it is no number: a mask of it would look like none found.

    Raises:
        ValueError: an answer that is not finite.

    >>> finite(np.array([0.5, np.nan]))
    Traceback (most recent call last):
    ValueError: the network's answer is not finite: its weights have diverged, or ...
    """
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(answer.sum())  # as any of them, at no array of their size
    if not whole:
        raise ValueError(
            "the network's answer is not finite: its weights have diverged, or they are of images "
            "with other intensities"
        )
    return answer


def check_image(image: np.ndarray, rank: int, channels: Sequence[str]) -> None:
    """Refuse an image (*spatial, channels) that a network was not made for.

    Raises:
        ValueError: another rank, or other channels than these names say.
    """
    if image.ndim != rank + 1 or image.shape[-1] != len(channels):
        raise ValueError(
            f"the network takes images of {rank} spatial axes and {len(channels)} channel(s) "
            f"({', '.join(channels)}), this one has the shape {image.shape}"
        )
