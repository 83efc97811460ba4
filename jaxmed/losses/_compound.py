"""Compound losses: Dice plus cross-entropy, and deep supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._cross_entropy import cross_entropy
from jaxmed.losses._overlap import dice


def dice_ce(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    class_weights: jax.typing.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    include_background: bool | None = None,
    over: str = "case",
    empty: str = "skip",
    smooth: float = 1e-5,
) -> Array:
    """Weighted sum of soft Dice loss and cross-entropy, as in nnU-Net.

    `dice_weight * dice(...) + ce_weight * cross_entropy(...)`, both on the softmax.

    Args:
        outputs: logits `(batch, *spatial, classes)`.
        targets: integer labels `(batch, *spatial)` or shares of the outputs' shape.
        where: True where the voxel is known, or a weight; `(batch,)` or one per voxel.
        dice_weight: weight of the Dice loss.
        ce_weight: weight of the cross-entropy.
        class_weights: `(classes,)`, for the cross-entropy.
        label_smoothing: label smoothing of the cross-entropy.
        include_background: see `dice`.
        over: see `dice`.
        empty: see `dice`.
        smooth: see `dice`.

    Returns:
        `(batch,)` in float32; 0 for an example without any known voxel.

    Raises:
        ValueError: if the shapes do not match or an option is unknown.

    Examples:
        >>> dice_ce(jnp.zeros((1, 2, 2, 2)), jnp.zeros((1, 2, 2), int)).round(4)  # no foreground
        Array([0.6931], dtype=float32)

    References:
        Isensee et al., nnU-Net, Nature Methods 2021.
    """
    overlap = dice(
        outputs,
        targets,
        where=where,
        include_background=include_background,
        over=over,
        empty=empty,
        smooth=smooth,
    )
    entropy = cross_entropy(
        outputs,
        targets,
        where=where,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )
    return dice_weight * overlap + ce_weight * entropy


def deep_supervision(
    loss: Callable[..., Array],
    *,
    weights: Sequence[float] | None = None,
    skip_coarsest: bool = False,
) -> Callable[..., Array]:
    """Turn a loss on one output into a loss on a list of outputs, fine to coarse.

    The targets (and `where`) are resampled to each scale by taking the voxel nearest to each
    coarse voxel's centre. Weights are 1, 1/2, 1/4, ... scaled to sum to 1.

    Args:
        loss: `loss(outputs, targets, *, where=None, ...) -> (batch,)`.
        weights: one per scale, used unscaled in place of the default ones.
        skip_coarsest: omit the last scale, as nnU-Net does.

    Returns:
        A loss of the same signature whose outputs are a list or tuple of
        `(batch, *spatial, classes)`; a single array is treated as a list of one.

    Raises:
        ValueError: on call, if the number of weights is not that of the outputs, or an output is
            larger than the targets.

    Examples:
        >>> logits = [jnp.zeros((1, 4, 4, 2)), jnp.zeros((1, 2, 2, 2))]
        >>> deep_supervision(cross_entropy)(logits, jnp.zeros((1, 4, 4), int)).round(4)
        Array([0.6931], dtype=float32)

    References:
        Isensee et al., nnU-Net, Nature Methods 2021.
    """

    def wrapped(
        outputs: list[Array] | tuple[Array, ...] | Array,
        targets: Array,
        *,
        where: Array | None = None,
        **options: object,
    ) -> Array:
        scales = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        if not scales:
            raise ValueError("deep_supervision: the list of outputs is empty")
        shares = [2.0**-i for i in range(len(scales))] if weights is None else list(weights)
        if len(shares) != len(scales):
            raise ValueError(
                f"deep_supervision: {len(shares)} weights for {len(scales)} outputs; give one each"
            )
        if skip_coarsest and len(scales) > 1:
            shares[-1] = 0.0
        if weights is None:
            shares = [s / sum(shares) for s in shares]
        total: Array | float = 0.0
        for share, logits in zip(shares, scales, strict=True):
            if share == 0:
                continue
            spatial = logits.shape[1:-1]
            small = nearest(targets, spatial, ndim=logits.ndim)
            mask = None if where is None else nearest(where, spatial, ndim=logits.ndim)
            total = total + share * loss(logits, small, where=mask, **options)
        if isinstance(total, int | float):
            raise ValueError(f"deep_supervision: every weight of {shares} is 0")
        return total

    return wrapped


def nearest(labels: jax.typing.ArrayLike, spatial: Sequence[int], *, ndim: int) -> Array:
    """Sample labels `(batch, *space[, classes])` at the voxels nearest to a coarser grid's centres.

    Along an axis from n to m voxels, coarse voxel i takes fine voxel floor((i + 1/2) n / m). Axes
    of size 1 and axes that a mask does not have are left unchanged.
    """
    labels = jnp.asarray(labels)
    for axis, m in enumerate(spatial, start=1):
        if axis >= min(labels.ndim, ndim - 1):
            break
        n = labels.shape[axis]
        if n in (1, m):
            continue
        if m > n:
            raise ValueError(
                f"deep_supervision: an output of spatial shape {tuple(spatial)} is larger than the "
                f"targets {labels.shape}; the targets must have the finest scale"
            )
        if n % m == 0:
            step = n // m
            labels = jax.lax.slice_in_dim(labels, step // 2, n, step, axis)
        else:
            picked = [(2 * i + 1) * n // (2 * m) for i in range(m)]
            labels = jnp.take(labels, jnp.array(picked), axis=axis)
    return labels
