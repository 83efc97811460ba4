"""Super-resolution: images whose condition is what a coarser scan of them would show."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, View, pick


def coarse_map(factor: int | Sequence[int], *, inputs: str = "image", name: str = "map") -> View:
    """Show a batch with a coarse version of its images as the map that they are drawn by.

    Each coarse voxel is the mean of ``factor`` voxels along each axis, and the map is linear
    between them. Train ``augmented(denoising(process, map="map"), coarse_map(2))``, and draw by
    ``condition={"map": fine_grid(coarse, 2)}``: the details are drawn, and differ from draw to
    draw; none of them was measured.

    Args:
        factor: an int or one for each axis.
        inputs: the batch's images; each axis is a multiple of its factor.
        name: of the map.

    Returns:
        ``(key, batch) -> batch``. It draws nothing.

    Raises:
        ValueError: when traced, if the factor does not divide an axis.
    """

    def view(key, batch):
        del key
        images = jnp.asarray(pick(batch, inputs), jnp.float32)
        rank = images.ndim - 2
        factors = (factor,) * rank if isinstance(factor, int) else tuple(factor)
        if len(factors) != rank or any(
            n % f for n, f in zip(images.shape[1:-1], factors, strict=False)
        ):
            raise ValueError(
                f"a factor of {factor} does not divide images of the shape {images.shape}"
            )
        return {**batch, name: fine_grid(ops.avg_pool(images, factors), factors)}

    return view


def fine_grid(coarse: Array, factor: int | Sequence[int]) -> Array:
    """Coarse images on the fine grid, linear between voxels: the map that they are drawn by.

    Args:
        coarse: ``(n, *spatial, channels)``.
        factor: an int or one for each axis.

    Returns:
        ``(n, *(spatial * factor), channels)`` float32.
    """
    return ops.upsample(jnp.asarray(coarse, jnp.float32), factor)
