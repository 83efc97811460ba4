"""Sliding-window prediction of images of any size by a network of one patch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxmed import ops
from jaxmed.inference._window_mean import mean_on_device, mean_on_host


def sliding_window(
    predict: Callable[[Any], Any],
    image: np.ndarray,
    window: Sequence[int],
    *,
    overlap: float = 0.5,
    size: int = 2,
    importance: str = "gaussian",
    value: float | Sequence[float] | np.ndarray = 0.0,
    accumulate: str = "auto",
) -> np.ndarray:
    r"""Predict an image in overlapping windows, averaged with weights at each voxel.

    :math:`p_v = \sum_w g_{w v} f(x_w)_v / \sum_w g_{w v}`, with :math:`g` decreasing from the
    centre of each window to its border, where a network has least context.

    Args:
        predict: ``(size, *window, channels) -> (size, *window, classes)``, compiled or not; it
            always gets this one shape.
        image: (*spatial, channels). Where it is smaller than the window it is padded on both
            sides.
        window: edge lengths in voxels.
        overlap: minimum fraction of a window shared with its neighbour, in [0, 1).
        size: windows predicted at once.
        importance: ``"gaussian"`` or ``"constant"``.
        value: padding value, one number or one per channel: 0 is the mean of a standardised image.
        accumulate: where image and sums are stored: on the ``"host"``, for volumes of any size, or
            on the ``"device"``, which avoids copying each window back and forth. ``"auto"``
            is the device, unless that is a CPU.

    Returns:
        (*spatial, classes) float32.

    Raises:
        ValueError: window and image differ in rank, the prediction has another shape than its
            windows, there are as many values as neither 1 nor the channels, or an option is
            unknown.

    References:
        Isensee et al., nnU-Net, Nature Methods 18, 2021.

    Examples:
        >>> double = lambda x: 2 * x
        >>> sliding_window(double, np.arange(5.0)[:, None], (4,)).ravel().tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    image = np.asarray(image, np.float32)
    window = tuple(int(n) for n in window)
    if image.ndim != len(window) + 1:
        raise ValueError(
            f"a window {window} goes over images (*spatial, channels) of {len(window)} spatial "
            f"axes, got the shape {image.shape}"
        )
    if size < 1:
        raise ValueError(f"size is at least 1 window, got {size}")
    spatial = image.shape[:-1]
    short = [max(w - n, 0) for n, w in zip(spatial, window, strict=True)]
    margin = [(s // 2, s - s // 2) for s in short]
    padded = _padded(image, margin, value)
    starts = ops.sliding_windows(padded.shape[:-1], window, overlap=overlap)
    weight = ops.window_importance(window, kind=importance)[..., None]
    mean = mean_on_host if _stays_on_host(accumulate) else mean_on_device
    found = mean(predict, padded, np.asarray(starts), weight, size)
    inner = tuple(slice(low, low + n) for (low, _), n in zip(margin, spatial, strict=True))
    return found[inner]


def _padded(image: np.ndarray, margin: list[tuple[int, int]], value: Any) -> np.ndarray:
    """Pad an image with one value per channel."""
    fill = np.asarray(value, image.dtype)
    if fill.shape not in ((), (1,), image.shape[-1:]):
        raise ValueError(
            f"value is one number or one per channel, got {fill.size} for the image's "
            f"{image.shape[-1]} channels"
        )
    if not any(map(sum, margin)):
        return image
    shape = [n + low + high for n, (low, high) in zip(image.shape[:-1], margin, strict=True)]
    padded = np.empty((*shape, image.shape[-1]), image.dtype)
    padded[...] = fill
    padded[tuple(slice(a, a + n) for (a, _), n in zip(margin, image.shape[:-1]))] = image
    return padded


def _stays_on_host(accumulate: str) -> bool:
    if accumulate not in ("auto", "host", "device"):
        raise ValueError(f"accumulate must be 'auto', 'host' or 'device', got {accumulate!r}")
    return accumulate == "host" or (accumulate == "auto" and jax.default_backend() == "cpu")
