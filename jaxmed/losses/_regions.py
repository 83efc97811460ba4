"""Loss of overlapping regions: each is segmented for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._binary import binary_cross_entropy
from jaxmed.losses._overlap import dice


def region_dice_ce(regions: Sequence[Sequence[int]]) -> Callable[..., Array]:
    """Make the loss of regions that overlap, as a tumour's core inside the whole tumour.

    Each output is a logit of its own; the loss is the mean of its Dice and of its sigmoid
    cross-entropy, as in nnU-Net's region-based training.

    Args:
        regions: the classes of the mask that each region holds, in the order of the outputs.

    Returns:
        ``(outputs (batch, *spatial, regions), targets (batch, *spatial), *, where=None) ->
        (batch,)``, targets of classes, 0 for the background.

    References:
        Isensee et al. nnU-Net for brain tumor segmentation. BrainLes 2020.

    Examples:
        >>> loss = region_dice_ce([(1, 2), (2,)])
        >>> mask = jnp.array([[[0, 1], [2, 2]]])
        >>> sure = 50.0 * jnp.stack([jnp.where(mask > 0, 1, -1), jnp.where(mask == 2, 1, -1)], -1)
        >>> loss(sure, mask).round(4)
        Array([0.], dtype=float32)
    """
    if not regions or not all(regions):
        raise ValueError(f"regions are lists of classes, none empty, got {regions}")
    members = [jnp.asarray(region) for region in regions]

    def loss(
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        where: jax.typing.ArrayLike | None = None,
        **options: Any,
    ) -> Array:
        targets = jnp.asarray(targets)
        truth = jnp.stack([jnp.isin(targets, classes) for classes in members], axis=-1)
        truth = truth.astype(jnp.float32)
        known = where
        if where is not None and jnp.ndim(where) == targets.ndim:
            known = jnp.broadcast_to(jnp.asarray(where)[..., None], truth.shape)
        overlap = dice(outputs, truth, where=known, activation="sigmoid", **options)
        return overlap + binary_cross_entropy(outputs, truth, where=known)

    return loss
