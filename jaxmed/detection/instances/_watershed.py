"""Touching objects parted by watershed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from jaxmed.data._optional import optional


def part_touching(
    inside: ArrayLike, depth: ArrayLike, *, seed: float, smallest: int = 1
) -> NDArray[np.int32]:
    """Part a mask into objects, each around a deep place, by watershed.

    Pieces in which the depth is above ``seed`` are seeds; from them the mask is flooded, the
    deepest places first, until floods meet. A piece of the mask without a seed is an object.

    Args:
        inside: (*spatial) bool, voxels of objects.
        depth: (*spatial), larger the deeper a voxel lies in its object: a distance to the border,
            or one minus the probability of a border.
        seed: the least depth of a seed.
        smallest: objects of fewer voxels are left out.

    Returns:
        (*spatial) int32, 0 the background.

    Raises:
        MissingPackage: scikit-image is not installed (the extra ``instances``).
        ValueError: if shapes differ, or depths are not finite.

    Examples:
        >>> inside = np.array([[1, 1, 1, 1, 1, 0, 1]])
        >>> part_touching(inside, [[3, 2, 1, 2, 3, 0, 1]], seed=3).tolist()
        [[1, 1, 1, 2, 2, 0, 3]]
    """
    where, deep = np.asarray(inside, bool), np.asarray(depth, np.float64)
    if where.shape != deep.shape:
        raise ValueError(f"inside {where.shape} and depth {deep.shape} must have one shape")
    if not np.isfinite(deep).all():
        raise ValueError("depth holds values that are not finite")
    if not where.any():
        return np.zeros(where.shape, np.int32)
    near = ndimage.generate_binary_structure(where.ndim, 1)
    seeds, number = ndimage.label(where & (deep >= seed), near)
    pieces, count = ndimage.label(where, near)
    seeded = np.zeros(count + 1, bool)
    seeded[pieces[seeds > 0]] = True
    alone = where & ~seeded[pieces]
    seeds[alone] = number + pieces[alone]
    segmentation = optional("skimage.segmentation", "the watershed", extra="instances")
    return renumbered(segmentation.watershed(-deep, seeds, near, mask=where), smallest)


def renumbered(labels: NDArray, smallest: int = 1) -> NDArray[np.int32]:
    """Number the objects of at least this many voxels from 1 on, in their numbers' order."""
    names, at, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = (names > 0) & (sizes >= smallest)
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return numbers[at].reshape(labels.shape)
