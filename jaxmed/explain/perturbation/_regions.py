"""Regions of an image as players of a game: which of them are shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.explain._images import each_axis, per_channel


def grid_regions(spatial: Sequence[int], blocks: int | Sequence[int]) -> np.ndarray:
    """Cut an image into blocks of nearly equal size, numbered in their order.

    Args:
        spatial: the image's shape, without channels.
        blocks: how many along each axis, one number or one an axis.

    Returns:
        (*spatial) int32, from 0 on.

    Raises:
        ValueError: if there are more blocks than voxels along an axis.

    Examples:
        >>> grid_regions((2, 4), (1, 2)).tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    spatial = tuple(spatial)
    each = each_axis(blocks, spatial, "blocks")
    at = [np.arange(n) * b // n for n, b in zip(spatial, each, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*at, indexing="ij"), each).astype(np.int32)


def players(regions: Array | np.ndarray, images: Array) -> tuple[Array, int]:
    """Regions of each case ``(batch, *spatial)``, and how many there are.

    Raises:
        ValueError: if the shape is not the images', or regions are not numbered from 0 on.
    """
    found = np.asarray(regions)
    spatial = images.shape[1:-1]
    if found.shape not in (spatial, (len(images), *spatial)):
        raise ValueError(
            f"regions are numbers of the shape {spatial} or {(len(images), *spatial)}, got "
            f"{found.shape}"
        )
    if not np.issubdtype(found.dtype, np.integer) or found.min() < 0:
        raise ValueError(f"regions are numbered from 0 on, got {found.dtype} from {found.min()}")
    return jnp.broadcast_to(jnp.asarray(found), (len(images), *spatial)), int(found.max()) + 1


def coalition_images(shown: Array, regions: Array, images: Array, cover: Array) -> Array:
    """Images ``(coalitions, batch, *spatial, channels)`` of which only some regions are shown.

    Args:
        shown: (coalitions, regions) or (coalitions, batch, regions), whether each is.
        regions: (batch, *spatial).
        images: (batch, *spatial, channels).
        cover: what is seen elsewhere, in the images' shape.
    """
    if shown.ndim == 2:
        shown = jnp.broadcast_to(shown[:, None], (len(shown), len(images), shown.shape[-1]))
    flat = regions.reshape(len(images), -1)
    mask = jnp.take_along_axis(shown, flat[None], axis=2).reshape(-1, *regions.shape)
    return jnp.where(mask[..., None] > 0, images, cover)


def map_of_regions(values: Array, regions: Array, images: Array) -> Array:
    """Values of regions ``(batch, regions)`` as a map whose sum over a region is its value."""
    flat = regions.reshape(len(images), -1)
    sizes = jnp.stack([jnp.bincount(row, length=values.shape[1]) for row in flat])
    each = jnp.take_along_axis(values / jnp.maximum(sizes, 1), flat, axis=1)
    return per_channel(each.reshape(regions.shape), images)


def every_coalition(count: int) -> np.ndarray:
    """All subsets of so many players: (2^count, count) bool."""
    return np.array(list(itertools.product((False, True), repeat=count)), bool).reshape(-1, count)


def shapley_weights(shown: np.ndarray) -> np.ndarray:
    """What each coalition's worth is multiplied by in each player's Shapley value."""
    count = shown.shape[1]
    size = shown.sum(1)
    before = np.array(
        [
            math.factorial(s) * math.factorial(count - s - 1) / math.factorial(count)
            for s in range(count)
        ]
    )
    joined = before[np.maximum(size - 1, 0)][:, None]
    missing = before[np.minimum(size, count - 1)][:, None]
    return np.where(shown, joined, -missing)
