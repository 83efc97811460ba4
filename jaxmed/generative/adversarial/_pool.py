"""A pool of images that were made before, from which a critic is shown some again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, stream


def empty_pool(size: int, like: Array) -> dict[str, Array]:
    """A pool with room for ``size`` images of the shape of ``like``'s rows."""
    return {
        "images": jnp.zeros((size, *like.shape[1:]), jnp.float32),
        "filled": jnp.zeros(size, bool),
    }


def through_pool(
    key: Key, pool: dict[str, Array], images: Array, weight: Array | None
) -> tuple[Array, dict[str, Array]]:
    """Hand out images: each itself, or with probability one half an older one in its place.

    While there is room, images are kept and handed out as they are. Then each either passes by, or
    takes the place of an older one, which is handed out.

    Args:
        key: random key.
        pool: as :func:`empty_pool` begins it, with at least as many places as there are images.
        images: ``(batch, ...)``.
        weight: ``(batch,)``, 0 for padding rows, which pass by.

    Returns:
        The images handed out, and the pool.

    Raises:
        ValueError: for more images than places.

    References:
        Shrivastava et al. (2017), Learning from simulated and unsupervised images through
        adversarial training, CVPR.
    """
    rows, size = len(images), len(pool["filled"])
    if rows > size:
        raise ValueError(f"a pool of {size} images is smaller than a batch of {rows}")
    places = jax.random.permutation(stream(key, "places"), size)[:rows]
    filled = pool["filled"][places]
    swaps = filled & jax.random.bernoulli(stream(key, "swaps"), 0.5, (rows,))
    enters = swaps | ~filled
    if weight is not None:
        swaps, enters = swaps & (weight > 0), enters & (weight > 0)
    older = pool["images"][places]
    kept: Any = jnp.where(_rows(enters, images), images, older)
    pool = {
        "images": pool["images"].at[places].set(kept),
        "filled": pool["filled"].at[places].set(filled | enters),
    }
    return jnp.where(_rows(swaps, images), older, images), pool


def _rows(choice: Array, images: Array) -> Array:
    return choice.reshape(-1, *[1] * (images.ndim - 1))
