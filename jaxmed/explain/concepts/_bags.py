"""Attention of a bag as a map over the image that its instances were cut from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.core import Array


def bag_map(
    attention: Array | np.ndarray,
    corners: np.ndarray,
    *,
    size: int | Sequence[int],
    shape: Sequence[int],
) -> np.ndarray:
    """Paint the weights of instances where these lay, as shares of the whole.

    Attention says what the network weighed, not in which direction: negative instances are
    attended to as well.

    Args:
        attention: (instances,), the endpoint of attention pooling of one bag.
        corners: (instances, rank), first voxel of each instance.
        size: edge of an instance in voxels, one number or one an axis.
        shape: of the image, without channels.

    Returns:
        (*shape) float64: where instances overlap the mean of theirs; NaN where there is none.

    Raises:
        ValueError: if there is not one corner an instance, or an instance lies outside.

    Examples:
        >>> bag_map(np.array([0.25, 0.75]), np.array([[0], [2]]), size=2, shape=(5,)).tolist()
        [0.25, 0.25, 0.75, 0.75, nan]
    """
    weights, at = np.asarray(attention, np.float64), np.asarray(corners)
    rank = len(tuple(shape))
    edges = (size,) * rank if isinstance(size, int) else tuple(size)
    if weights.ndim != 1 or at.shape != (len(weights), rank) or len(edges) != rank:
        raise ValueError(
            f"attention is (instances,) and corners (instances, {rank}), got {weights.shape} and "
            f"{at.shape}"
        )
    if (at < 0).any() or (at + np.array(edges) > np.array(shape)).any():
        raise ValueError(f"an instance of {edges} voxels lies outside the image {tuple(shape)}")
    total, often = np.zeros(shape), np.zeros(shape)
    for weight, corner in zip(weights, at, strict=True):
        box = tuple(slice(c, c + n) for c, n in zip(corner, edges, strict=True))
        total[box] += weight
        often[box] += 1
    return np.where(often == 0, np.nan, total / np.where(often == 0, 1, often))
