"""How unlike two images are at several resolutions at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp

from jaxmed import losses
from jaxmed.core import Array
from jaxmed.registration.learning._fields import coarsened, halved
from jaxmed.registration.pairs._similarity import Loss, Similarity, loss_of


def multiscale(
    similarity: Similarity | Loss | Sequence[Similarity | Loss] = "lncc",
    *,
    scales: Sequence[int] = (0, 1, 2),
) -> Loss:
    """Compare images at several resolutions, each half as fine as the next: a pyramid similarity.

    What is far apart is seen at a coarse resolution, where a window spans more of the image. The
    finest scale weighs most, each coarser one half as much; weights add up to 1.

    Args:
        similarity: as in :func:`register`, one for all scales or one a scale. ``"lncc"`` has
            windows of 7, 5 and 3 voxels, finest first, and of 3 at all coarser ones, as published.
        scales: how often images are made half as fine, 0 for as they are; no axis gets shorter
            than 8 voxels.

    Returns:
        A loss ``(moved, fixed, *, where=None) -> (batch,)`` of images ``(batch, *spatial,
        channels)``, for :func:`pair_objective` and :func:`register`. Of ``where``
        ``(batch, *spatial)`` a coarse voxel counts if half of it does.

    Raises:
        ValueError: an unknown similarity, no scale, one given twice or below 0.

    Examples:
        >>> image = jnp.sin(jnp.arange(32.0)).reshape(1, 32, 1)
        >>> multiscale("mse", scales=(0, 1))(image, image + 2.0)
        Array([4.], dtype=float32)

    References:
        Mok and Chung, Large deformation diffeomorphic image registration with Laplacian pyramid
        networks, MICCAI 2020.
    """
    order = sorted(scales)
    if not order or order[0] < 0 or len({*order}) < len(order):
        raise ValueError(f"scales={tuple(scales)}: one or more, from 0 on, each once")
    if similarity == "lncc":
        losses_of = [partial(losses.lncc, window=max(7 - 2 * i, 3)) for i in range(len(order))]
    elif isinstance(similarity, str) or callable(similarity):
        losses_of = [loss_of(similarity)] * len(order)
    else:
        if len(similarity) != len(order):
            raise ValueError(f"{len(similarity)} similarities for {len(order)} scales")
        by_scale = dict(zip(scales, similarity, strict=True))
        losses_of = [loss_of(by_scale[s]) for s in order]
    shares = [2.0 ** (order[0] - s) for s in order]

    def unlike(moved: Array, fixed: Array, *, where: Array | None = None) -> Array:
        total = jnp.zeros(moved.shape[0])
        for scale, share, loss in zip(order, shares, losses_of, strict=True):
            size = halved(moved.shape[1:-1], scale)
            seen = {}
            if where is not None:
                counted = coarsened(jnp.asarray(where, moved.dtype)[..., None], size)[..., 0]
                seen["where"] = counted >= 0.5
            one, other = coarsened(moved, size), coarsened(fixed, size)
            total = total + share / sum(shares) * loss(one, other, **seen)
        return total

    return unlike
