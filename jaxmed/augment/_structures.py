"""Augmentation of images that carry an earlier network's structures as channels."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from jaxmed.augment._chain import Augmentation, between, check_p
from jaxmed.core import Array, Batch, Key, View, stream

_FIELD = "structures"
_RADIUS = 3  # The most voxels by which a structure grows or shrinks.
_LOST = (0.1, 0.6)  # Sides of the box in which a structure is lost, as shares of the patch's.


def with_structures(
    augmentation: Augmentation, count: int, *, p_rough: float = 0.4, p_lost: float = 0.2
) -> View:
    """Augment images whose last channels are structures, which move as masks and keep no shade.

    The second network of a cascade sees what the first found. On training scans that is better than
    it will be on others, so each structure grows or shrinks by up to 3 voxels at times, or is lost
    within a box, lest the network copy it.

    Args:
        augmentation: of the images without these channels.
        count: the structures, the last channels of ``image``, 0 or 1, of which each voxel has at
            most one.
        p_rough: probability that a structure grows or shrinks, independent for each.
        p_lost: probability that a structure is lost within a box, independent for each.

    Returns:
        ``(key, batch) -> batch``.

    References:
        Isensee et al. nnU-Net. Nature Methods 18:203, 2021: its cascade's augmentation grows,
        shrinks and removes components.

    Examples:
        >>> from jaxmed.augment import chain, flip
        >>> view = with_structures(chain(flip()), 2)
        >>> view(jax.random.key(0), {"image": jnp.zeros((1, 4, 4, 3))})["image"].shape
        (1, 4, 4, 3)
    """
    check_p(p_rough)
    check_p(p_lost)
    if count < 1:
        raise ValueError(f"count is at least 1 structure, got {count}")
    moved = replace(augmentation, masks=(*augmentation.masks, _FIELD))

    def view(key: Key, batch: Batch) -> dict[str, Array]:
        image = batch["image"]
        if image.shape[-1] <= count:
            raise ValueError(
                f"image has {image.shape[-1]} channel(s), of which {count} cannot be structures"
            )
        names = jnp.arange(1, count + 1)
        labels = (image[..., -count:] * names).sum(-1).astype(jnp.int32)
        batch = dict(
            moved(stream(key, "moved"), {**batch, "image": image[..., :-count], _FIELD: labels})
        )
        found = (batch.pop(_FIELD)[..., None] == names).astype(image.dtype)

        def spoiled(row: Array, one: Array) -> Array:
            own = stream(key, "spoiled", row)
            return _lost(stream(own, "lost"), _rough(stream(own, "rough"), one, p_rough), p_lost)

        found = jax.vmap(spoiled)(jnp.arange(len(found)), found)
        return batch | {"image": jnp.concatenate([batch["image"], found], axis=-1)}

    return view


def _rough(key: Key, found: Array, p: float) -> Array:
    """Grow or shrink structures (*spatial, count) by boxes."""
    chosen, direction, size = jax.random.uniform(key, (3, found.shape[-1]))
    grows = direction < 0.5
    radius = jnp.where(chosen < p, jnp.ceil(_RADIUS * size), 0)
    x = jnp.where(grows, found, 1 - found)  # to shrink is to let the rest grow
    for step in range(_RADIUS):
        wider = x
        for axis in range(x.ndim - 1):
            edge = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
            padded, n = jnp.pad(wider, edge, mode="edge"), x.shape[axis]
            shifts = [jax.lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(3)]
            wider = jnp.maximum(jnp.maximum(shifts[0], shifts[1]), shifts[2])
        x = jnp.where(step < radius, wider, x)
    return jnp.where(grows, x, 1 - x)


def _lost(key: Key, found: Array, p: float) -> Array:
    """Lose structures (*spatial, count) within a box each."""
    *spatial, count = found.shape
    chosen, sides, centres = jnp.split(
        jax.random.uniform(key, (1 + 2 * len(spatial), count)), (1, 1 + len(spatial))
    )
    inside = chosen[0] < p
    for axis, n in enumerate(spatial):
        half = n * between(sides[axis], *_LOST) / 2
        at = jnp.arange(n)[:, None] + 0.5
        near = jnp.abs(at - n * centres[axis]) < half
        shape = [n if a == axis else 1 for a in range(len(spatial))]
        inside = inside & near.reshape(*shape, count)
    return jnp.where(inside, 0, found)
