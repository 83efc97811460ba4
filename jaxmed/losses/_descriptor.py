"""Images compared by how each voxel's surroundings resemble one another: MIND."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.losses._inputs import at_least_float32, known, mean_known, same_shape
from jaxmed.ops import window_sum


def mind(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    radius: int = 1,
    distance: int = 2,
) -> Array:
    """Mean squared difference of two images' descriptors (:func:`mind_descriptor`).

    It compares images of different modalities: the descriptor does not know brightness, but which
    neighbouring patches are alike.

    Args:
        outputs: `(batch, *spatial, channels)`.
        targets: of the same shape.
        where: True where voxels count, or a weight; `(batch,)` or `(batch, *spatial)`. Patches see
            the mean of what counts in place of what does not.
        radius: of a patch, in voxels.
        distance: between a voxel and its neighbours, in voxels.

    Returns:
        `(batch,)`, in [0, 1]; 0 where no voxel counts.

    Raises:
        ValueError: if the shapes do not match.

    Examples:
        >>> x = jnp.sin(jnp.arange(64.0)).reshape(1, 8, 8, 1)
        >>> mind(x, 7 - 3 * x).round(4)
        Array([0.], dtype=float32)

    References:
        Heinrich et al., Towards realtime multimodal fusion for image-guided interventions using
        self-similarities, MICCAI 2013.
    """
    x, y = same_shape(at_least_float32(outputs), at_least_float32(targets), name="mind")
    mask = None if where is None else jnp.asarray(where)
    if mask is not None and mask.ndim == x.ndim:
        mask = mask[..., 0]
    weights = known(mask, x.shape[:-1])
    if weights is not None:
        x, y = (_filled(a, weights[..., None] > 0) for a in (x, y))
    x, y = (mind_descriptor(a, radius=radius, distance=distance) for a in (x, y))
    return mean_known(((x - y) ** 2).mean(-1), weights)


def _filled(image: Array, counts: Array) -> Array:
    """Put the mean of the voxels that count into those that do not."""
    axes = tuple(range(1, image.ndim - 1))
    blank = jnp.where(counts, image, 0)
    number = jnp.maximum(counts.sum(axes, keepdims=True), 1)
    return jnp.where(counts, blank, blank.sum(axes, keepdims=True) / number)


def mind_descriptor(image: jax.typing.ArrayLike, *, radius: int = 1, distance: int = 2) -> Array:
    r"""Describe each voxel by how alike the patches about its neighbours are.

    :math:`\exp(-D_{ab} / V)` for each pair of neighbours a, b along different axes, 12 in 3D and 4
    in 2D (MIND-SSC), where :math:`D` is the mean squared difference of their patches and :math:`V`
    the mean of :math:`D` over pairs. Beyond the border the image goes on as it ends. Sums over
    patches of a constant place are 0 and its descriptor 1.

    Args:
        image: `(batch, *spatial, channels)`; two axes or three.
        radius: of a patch, in voxels.
        distance: between a voxel and its neighbours, in voxels.

    Returns:
        `(batch, *spatial, pairs * channels)`, in [0, 1]; it does not change if brightness is
        multiplied or shifted, nor if it is inverted.

    Raises:
        ValueError: if the image has neither two nor three axes, or a length is below 1.

    Examples:
        >>> mind_descriptor(jnp.ones((1, 4, 4, 4, 1))).shape
        (1, 4, 4, 4, 12)
    """
    x = at_least_float32(image)
    rank = x.ndim - 2
    if rank not in (2, 3):
        raise ValueError(f"image has shape {x.shape}; MIND is of two or three spatial axes")
    if radius < 1 or distance < 1:
        raise ValueError(f"radius={radius}, distance={distance}; both must be 1 or more")
    around = [(0, 0), *[(distance, distance)] * rank, (0, 0)]
    padded = jnp.pad(x, around, mode="edge")
    neighbours = []
    for axis, sign in itertools.product(range(rank), (-1, 1)):
        starts = [distance] * rank
        starts[axis] += sign * distance
        spans = (slice(s, s + n) for s, n in zip(starts, x.shape[1:-1], strict=True))
        neighbours.append((axis, padded[(slice(None), *spans)]))
    squares = [(a - b) ** 2 for (i, a), (j, b) in itertools.combinations(neighbours, 2) if i != j]
    window = 2 * radius + 1
    number = window_sum(np.ones((1, *x.shape[1:-1], 1), np.float32), window)
    apart = window_sum(jnp.concatenate(squares, -1), window) / number
    channels = x.shape[-1]
    apart = jnp.maximum(apart.reshape(*x.shape[:-1], len(squares), channels), 0)
    mean = apart.mean(-2, keepdims=True)
    # As in the paper's code: bounded, so that noise in flat regions is no structure.
    axes = tuple(range(1, rank + 1))
    typical = jax.lax.stop_gradient(mean.mean(axes, keepdims=True))
    scale = jnp.clip(mean, 1e-3 * typical, 1e3 * typical)
    found = jnp.exp(-apart / jnp.where(scale > 0, scale, 1))
    return found.reshape(*x.shape[:-1], len(squares) * channels)
