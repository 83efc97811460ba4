"""Flows: at each voxel the way to the middle of its object, along which voxels find together."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy import ndimage

from jaxmed import ops
from jaxmed.core import Array

# How often seeds grow into cells where at least three voxels ended; as in the paper's code.
_GROWTH, _FEW = 5, 3


def label_flows(labels: ArrayLike, *, steps: int = 200, most: int = 1024) -> Array:
    r"""Compute at each voxel the direction to the middle of its object.

    Heat that is given off at the voxel nearest to the object's centre of mass spreads within the
    object, and the flow is the direction in which its logarithm rises fastest. So it leads around
    the corners of an object that is not convex.

    Args:
        labels: ``(*spatial)`` whole numbers, 0 for the background, each at most ``most``.
        steps: of the spreading: about as many voxels as the longest way to a middle, or more.
            Voxels that the heat does not reach have no flow.
        most: the largest label; a program has room for this many.

    Returns:
        ``(*spatial, rank)`` float32, of length 1 in objects but at their middle and where an object
        is one voxel, 0 in the background. Use ``jax.vmap`` for batches.

    Raises:
        ValueError: if labels are not whole numbers.

    Examples:
        >>> label_flows(jnp.array([[0, 1, 1, 1, 0]]))[0, :, 1].tolist()
        [0.0, 1.0, 0.0, -1.0, 0.0]

    References:
        Stringer et al., Cellpose: a generalist algorithm for cellular segmentation, Nature Methods
        18, 2021.
    """
    at = jnp.asarray(labels)
    if not jnp.issubdtype(at.dtype, jnp.integer):
        raise ValueError(f"labels are whole numbers, one for each object, got {at.dtype}")
    source = middles(at, most)

    def spread(_: int, heat: Array) -> Array:
        heat = heat + source
        total = heat
        for axis, to in itertools.product(range(at.ndim), (-1, 1)):
            total = total + jnp.where(_shifted(at, axis, to) == at, _shifted(heat, axis, to), 0)
        return jnp.where(at > 0, total / (2 * at.ndim + 1), 0)

    heat = lax.fori_loop(0, steps, spread, jnp.zeros(at.shape, jnp.float32))
    tiny = jnp.finfo(jnp.float32).tiny
    level = jnp.log(jnp.maximum(heat, tiny))
    slopes = []
    for axis in range(at.ndim):
        # One-sided at an object's border, where the other side is not its own.
        ways = []
        for to in (-1, 1):
            own = (_shifted(at, axis, to) == at) & (_shifted(heat, axis, to) > tiny)
            ways.append((own, jnp.where(own, to * (_shifted(level, axis, to) - level), 0)))
        (low, before), (high, after) = ways
        slopes.append((before + after) / jnp.maximum(low.astype(int) + high, 1))
    slope = jnp.where(((at > 0) & (heat > tiny))[..., None], jnp.stack(slopes, -1), 0)
    length = jnp.sqrt((slope**2).sum(-1, keepdims=True))
    return jnp.where(length > 1e-6, slope / jnp.maximum(length, 1e-6), 0)


def middles(labels: Array, most: int) -> Array:
    """Mark each object's voxel nearest to its centre of mass, (*spatial) bool."""
    flat = labels.ravel()
    points = jnp.stack([g.ravel() for g in jnp.indices(labels.shape)], -1).astype(jnp.float32)
    total = lambda values: jax.ops.segment_sum(values, flat, most + 1)  # noqa: E731
    number = jnp.maximum(total(jnp.ones_like(flat)), 1)
    far = ((points - (total(points) / number[:, None])[flat]) ** 2).sum(-1)
    nearest = jax.ops.segment_min(far, flat, most + 1)
    # Of several the first.
    order = jnp.where(far == nearest[flat], jnp.arange(flat.size), flat.size)
    first = jax.ops.segment_min(order, flat, most + 1)
    return ((first[flat] == jnp.arange(flat.size)) & (flat > 0)).reshape(labels.shape)


def _shifted(values: Array, axis: int, to: int) -> Array:
    """The neighbour of each voxel along an axis; 0 beyond the border."""
    width = [(0, 0)] * values.ndim
    width[axis] = (1, 1)
    return lax.slice_in_dim(jnp.pad(values, width), 1 + to, 1 + to + values.shape[axis], axis=axis)


def follow_flows(
    flows: ArrayLike, inside: ArrayLike, *, steps: int = 200, least: int = 10, smallest: int = 15
) -> NDArray[np.int32]:
    """Let voxels follow their flows, and make an object of those that end together.

    Args:
        flows: (*spatial, rank) directions, of length 1 in objects.
        inside: (*spatial) bool, the voxels of objects.
        steps: of a voxel each.
        least: voxels that end in one for it to be an object's middle.
        smallest: objects of fewer voxels are left out.

    Returns:
        (*spatial) int32, 0 the background; numbers in the order of the middles along the array.

    Raises:
        ValueError: if shapes do not fit, or flows are not finite.

    Examples:
        >>> labels = np.zeros((8, 16), int)
        >>> labels[1:7, 1:8], labels[1:7, 8:15] = 1, 2  # they touch
        >>> found = follow_flows(label_flows(labels), labels > 0)
        >>> bool((found == labels).all())
        True
    """
    where = np.asarray(inside, bool)
    if np.shape(flows) != (*where.shape, where.ndim):
        raise ValueError(
            f"flows are (*spatial, {where.ndim}) for inside {where.shape}, got {np.shape(flows)}"
        )
    if not np.isfinite(flows).all():
        raise ValueError("flows hold values that are not finite")
    places = np.argwhere(where)
    if not len(places):
        return np.zeros(where.shape, np.int32)
    moved = _followed(jnp.asarray(flows, jnp.float32), steps)
    last = np.array(where.shape) - 1
    ends = np.clip(np.rint(np.asarray(moved)[where]), 0, last).astype(int)
    count = np.zeros(where.shape, int)
    np.add.at(count, tuple(ends.T), 1)
    seeds, number = ndimage.label((count >= least) & (count == ndimage.maximum_filter(count, 5)))
    near = np.ones((3,) * where.ndim, bool)
    for _ in range(_GROWTH):
        grown = ndimage.grey_dilation(seeds, footprint=near)
        seeds = np.where((seeds == 0) & (count >= _FEW), grown, seeds)
    found = np.zeros(where.shape, np.int32)
    found[where] = seeds[tuple(ends.T)]
    sizes = np.bincount(found.ravel(), minlength=number + 1)
    kept = np.flatnonzero(sizes[1:] >= smallest) + 1
    numbers = np.zeros(number + 1, np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[found]


@jax.jit
def _followed(flows: Array, steps: Array) -> Array:
    begin = ops.identity_grid(flows.shape[:-1], dtype=flows.dtype)
    further = lambda _, at: at + ops.resample(flows, at, mode="nearest")  # noqa: E731
    return lax.fori_loop(0, steps, further, begin)
