"""An image brought to a fixed shape without changing its proportions, and its boxes with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.data._source import Example
from jaxmed.data.images._geometry import resample_spacing
from jaxmed.data.images._space import Scan, Space


def fit_image(image: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image until it just fits into a shape, and pad it with zeros behind.

    Args:
        image: (*spatial, channels).
        shape: spatial shape.

    Returns:
        The image (*shape, channels), and the factors (rank,) by which it was scaled: boxes times
        them are those of the new image. They differ by rounding to whole voxels alone.

    Raises:
        ValueError: an image of another rank.

    Examples:
        >>> image, scale = fit_image(np.ones((10, 20, 1), np.float32), (8, 8))
        >>> image.shape, scale.tolist(), image[:, :, 0].sum(1).tolist()[:5]
        ((8, 8, 1), [0.4, 0.4], [8.0, 8.0, 8.0, 8.0, 0.0])
    """
    old, new = np.asarray(image.shape[:-1]), np.asarray(shape)
    if old.shape != new.shape:
        raise ValueError(f"an image of spatial shape {tuple(old)} is not fitted into {tuple(new)}")
    size = np.clip(np.round(old * (new / old).min()).astype(int), 1, new)
    if (size != old).any():
        unit = np.eye(len(old) + 1)
        scan = Scan(image, unit, Space(tuple(old.tolist()), unit))
        image = resample_spacing(scan, (old / size).tolist()).array
    padding = [(0, int(n - m)) for n, m in zip(new, size, strict=True)]
    return np.pad(image, [*padding, (0, 0)]), size / old


def fit_example(example: Example, shape: Sequence[int]) -> Example:
    """Fit the image of an example into a shape, and its boxes with it.

    Args:
        example: with ``image`` (*spatial, channels) and ``box`` (n, 2 * rank), lows then highs.
        shape: spatial shape.

    Returns:
        The example, ``image`` and ``box`` changed, and ``scale`` (rank,) float32.

    Raises:
        ValueError: an image of another rank.
    """
    image, scale = fit_image(example["image"], shape)
    box = example["box"] * np.tile(scale, 2)
    return {
        **example,
        "image": image,
        "box": box.astype(np.float32),
        "scale": scale.astype(np.float32),
    }
