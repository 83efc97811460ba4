"""Patches and boxes: what is hidden from a network that is to guess it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, stream


def patch_grid(spatial: tuple[int, ...], patch: int | tuple[int, ...]) -> tuple[tuple, tuple]:
    """A patch's edges, and how many patches there are along each axis.

    Raises:
        ValueError: if the patch has another rank than the images, or does not divide them.
    """
    edges = (patch,) * len(spatial) if isinstance(patch, int) else tuple(patch)
    if len(edges) != len(spatial) or any(n % p for n, p in zip(spatial, edges, strict=True)):
        raise ValueError(f"patches of {patch} voxels do not divide the spatial shape {spatial}")
    return edges, tuple(n // p for n, p in zip(spatial, edges, strict=True))


def patchify(images: Array, edges: tuple[int, ...]) -> Array:
    """``(batch, *spatial, channels)`` as ``(batch, patches, voxels * channels)``, row-major."""
    rank, (size, *spatial, channels) = len(edges), images.shape
    split = [m for n, p in zip(spatial, edges, strict=True) for m in (n // p, p)]
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    split = images.reshape(size, *split, channels).transpose(order)
    return split.reshape(size, -1, math.prod(edges) * channels)


def paint(hidden: Array, grid: tuple[int, ...], edges: tuple[int, ...]) -> Array:
    """``(batch, patches)`` as a map of voxels, ``(batch, *spatial, 1)``."""
    voxels = hidden.reshape(-1, *grid, 1)
    for axis, edge in enumerate(edges, start=1):
        voxels = jnp.repeat(voxels, edge, axis=axis)
    return voxels


def shuffled_patches(key: Key, batch: int, patches: int, shown: int) -> tuple[Array, Array]:
    """Which patches each example shows, and where all of them went.

    Returns:
        ``visible (batch, shown)``, and ``restore (batch, patches)``: of each patch the place in the
        list of the visible and then the hidden ones; it is hidden where ``restore >= shown``.
    """
    order = jnp.argsort(jax.random.uniform(key, (batch, patches)), axis=1)
    return order[:, :shown], jnp.argsort(order, axis=1)


def boxes(
    key: Key, batch: int, spatial: tuple[int, ...], size: tuple[float, float], count: int
) -> Array:
    """Boxes at random places: True inside any, ``(batch, *spatial, 1)``.

    Each edge is uniform within ``size``, shares of the axis, and at least one voxel; boxes lie
    inside the image.
    """
    holes = jnp.zeros((batch, *spatial, 1), bool)
    for i in range(count):
        inside = jnp.ones((batch, *spatial, 1), bool)
        for axis, n in enumerate(spatial):
            draw = jax.random.uniform(stream(key, "box", i, axis), (2, batch))
            edge = jnp.maximum(jnp.round((size[0] + (size[1] - size[0]) * draw[0]) * n), 1)
            start = jnp.floor(draw[1] * (n - edge + 1))
            at = jnp.arange(n)
            near = (at >= start[:, None]) & (at < (start + edge)[:, None])
            inside &= near.reshape(batch, *[1] * axis, n, *[1] * (len(spatial) - axis))
        holes |= inside
    return holes
