"""Reading images of any sizes at points between their voxels."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array


def sampler(arrays: list[np.ndarray], outside: float) -> Callable[[Array, Array], Array]:
    """Make ``(image, coordinates) -> values``, by linear interpolation.

    Args:
        arrays: images of one rank, ``(*spatial, channels)`` float32.
        outside: the value beyond the borders.

    Raises:
        ValueError: for a value beyond the borders that is not finite, or more voxels than 32-bit
            indices reach.

    Returns:
        A function of an image's number and coordinates ``(..., rank)`` in its voxels, whose centres
        are whole numbers; the values are ``(..., channels)``, NaN
        of an image that there is not.
    """
    check_outside(outside)
    # One voxel beyond each border, for all that lies there.
    shape = np.max([x.shape[:-1] for x in arrays], axis=0) + 2
    stack = np.full((len(arrays), *shape, arrays[0].shape[-1]), outside, np.float32)
    for whole, x in zip(stack, arrays):
        whole[tuple(slice(1, n + 1) for n in x.shape[:-1])] = x
    voxels = stack.reshape(-1, stack.shape[-1])
    if len(voxels) >= 2**31:
        raise ValueError(
            f"{len(arrays)} images of up to {(shape - 2).tolist()} voxels are more than 32-bit "
            "indices reach: give fewer images, or smaller ones"
        )
    flat, ends = jnp.asarray(voxels), jnp.asarray(shape - 1, jnp.int32)

    def sample(image: Array, coordinates: Array) -> Array:
        image = jnp.asarray(image, jnp.int32)
        there = (image >= 0) & (image < len(arrays))
        # Whole numbers apart from shares: float32 alone could not tell voxels of a large stack.
        at = jnp.clip(coordinates + 1, 0, ends)
        base = jnp.minimum(at.astype(jnp.int32), ends - 1)
        share = at - base
        total = jnp.zeros(())
        for corner in itertools.product((0, 1), repeat=len(shape)):
            index, weight = image, jnp.where(there, 1.0, jnp.nan)
            for axis, one in enumerate(corner):
                index = index * int(shape[axis]) + base[..., axis] + one
                weight = weight * (share[..., axis] if one else 1 - share[..., axis])
            value = flat.at[index].get(mode="clip")
            total = total + value * weight[..., None]
        return total

    return sample


def check_outside(outside: float) -> None:
    """Refuse a value beyond the borders that is not finite: windows would show NaN."""
    if not np.isfinite(outside):
        raise ValueError(
            f"outside is what is seen beyond the borders, a finite number, got {outside}"
        )
