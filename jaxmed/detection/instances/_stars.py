"""Star-convex shapes: directions of rays, and how far each voxel's object reaches along them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmed.core import Array


def star_rays(count: int, *, rank: int = 2, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Directions in which a star-convex shape is measured, evenly about the centre.

    Args:
        count: number of rays: 32 and 96 are usual in two and three axes; at least one more than
            there are axes.
        rank: 2, equal angles, or 3, a golden spiral on the sphere.
        spacing: voxel edges. Rays are then as long in voxels as a unit of it, so that distances
            along them have its unit.

    Returns:
        ``(count, rank)`` in voxels, axes as the array's.

    Raises:
        ValueError: if there are too few rays, another rank, or a spacing that does not fit.

    Examples:
        >>> star_rays(4).round(3).tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, -0.0]]

    References:
        Schmidt et al., Cell detection with star-convex polygons, MICCAI 2018; Weigert et al.,
        Star-convex polyhedra for 3D object detection and segmentation in microscopy, WACV 2020.
    """
    if rank not in (2, 3) or count <= rank:
        raise ValueError(
            f"a star of {rank} axes with {count} rays: there are stars of 2 and 3 axes, with more "
            "rays than axes"
        )
    turn = np.arange(count)
    if rank == 2:
        angle = 2 * np.pi * turn / count
        found = np.stack([np.sin(angle), np.cos(angle)], 1)
    else:
        height = np.linspace(-1, 1, count)
        angle = (3 - np.sqrt(5)) * np.pi * turn
        around = np.sqrt(np.maximum(1 - height**2, 0))
        found = np.stack([height, around * np.sin(angle), around * np.cos(angle)], 1)
    if spacing is None:
        return found
    edges = np.asarray(spacing, np.float64)
    if edges.shape != (rank,) or not (edges > 0).all():
        raise ValueError(f"spacing is {rank} positive numbers, got {spacing}")
    return found / edges


def star_distances(labels: jax.typing.ArrayLike, rays: np.ndarray) -> Array:
    """Measure how far each voxel's object reaches along each ray.

    From the voxel's centre on, a voxel of the ray's steepest axis at a time, to halfway between
    the last voxel of the object and the first that is not; the image's border ends an object.

    Args:
        labels: ``(*spatial)`` whole numbers, one for each object, 0 for the background.
        rays: ``(count, rank)`` :func:`star_rays`.

    Returns:
        ``(*spatial, count)`` float32, as multiples of the rays; 0 in the background. Use
        ``jax.vmap`` for batches.

    Raises:
        ValueError: if the rays have another rank, or labels are not whole numbers.

    Examples:
        >>> star_distances(jnp.array([[0, 1, 1, 1, 2]]), star_rays(4))[0, 1, :3].tolist()
        [2.5, 0.5, 0.5]
    """
    at, rays = jnp.asarray(labels), np.asarray(rays, np.float64)
    check_labels(at, rays)
    steepest = np.abs(rays).max(1)
    longest = max(at.shape)
    # Labels that no object has lie around the image.
    around = jnp.pad(at, longest, constant_values=-1)

    def along(ray: Array, steep: Array) -> Array:
        def left(carry: tuple[Array, Array, Array]) -> Array:
            return carry[1].any() & (carry[0] <= longest)

        def further(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            k, inside, steps = carry
            start = longest + jnp.round(k * ray / steep).astype(jnp.int32)
            inside = inside & (lax.dynamic_slice(around, tuple(start), at.shape) == at)
            return k + 1, inside, steps + inside

        begin = (jnp.int32(1), at > 0, jnp.zeros(at.shape, jnp.int32))
        return (lax.while_loop(left, further, begin)[2] + 0.5) / steep

    single = rays.astype(np.float32), steepest.astype(np.float32)
    found = lax.map(lambda one: along(*one), jax.tree.map(jnp.asarray, single))
    return jnp.where(at[..., None] > 0, jnp.moveaxis(found, 0, -1), 0)


def check_labels(labels: Array, rays: np.ndarray) -> None:
    """Refuse labels and rays that do not fit one another."""
    if rays.ndim != 2 or labels.ndim != rays.shape[1]:
        raise ValueError(
            f"labels are (*spatial) and rays (count, rank) of as many axes, got {labels.shape} "
            f"and {rays.shape}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels are whole numbers, one for each object, got {labels.dtype}")
