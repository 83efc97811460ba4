"""Registration guided by what a segmenter sees in both images."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxmed import losses
from jaxmed.core import Array
from jaxmed.data import Scan
from jaxmed.registration.pairs._similarity import Loss, Similarity, loss_of

_overlap = partial(losses.dice, activation=None, include_background=True)


def guided_scan(scan: Scan, shares: ArrayLike) -> Scan:
    """A scan with the probabilities of structures as further channels.

    Args:
        scan: the image, of one channel.
        shares: (*spatial, structures) probabilities on its grid, the background left out: a
            segmenter's softmax, or a mask as one-hot.

    Returns:
        The scan of ``1 + structures`` channels, which :func:`register` takes with
        ``similarity=guided()``.

    Raises:
        ValueError: if the image has more than one channel, the shares have another grid, or a value
            is no probability.
    """
    values = np.asarray(shares, np.float32)
    spatial = scan.array.shape[:-1]
    if scan.array.shape[-1] != 1:
        raise ValueError(f"guided_scan takes an image of one channel, got {scan.array.shape[-1]}")
    if values.shape[:-1] != spatial or not values.size:
        raise ValueError(
            f"shares have the shape {values.shape}; expected {spatial} and an axis of structures"
        )
    if not (values.min() >= -1e-6 and values.max() <= 1 + 1e-6):
        raise ValueError(
            f"shares are probabilities, 0 to 1; these go from {values.min():g} to {values.max():g}"
        )
    return scan._replace(array=np.concatenate([scan.array, values], axis=-1))


def guided(similarity: Similarity | Loss = "lncc", *, weight: float = 6.0) -> Loss:
    """A similarity of images whose channels beyond the first are probabilities of structures.

    The first channel is compared by ``similarity``, the others by their Dice loss, as they are
    moved. What guides is predicted, so no mask of the pair is needed; and as probabilities move
    smoothly, the field bends less than it does for masks with hard borders.

    Args:
        similarity: of the first channel, as in :func:`register`.
        weight: of the Dice loss.

    Returns:
        The loss, ``(moved, fixed, *, where=None) -> (batch,)``.

    Raises:
        ValueError: if the weight is not positive; when called, if there is one channel alone.

    References:
        Siebert, Hansen and Heinrich, Fast 3D registration with accurate optimisation and little
        learning for Learn2Reg 2021.

    Examples:
        >>> at = np.indices((24, 24)) - 11.5
        >>> disc = 1 / (1 + np.exp(np.hypot(*at) - 6))[..., None]
        >>> fixed, moving = (np.concatenate([x, x], -1) for x in (disc, np.roll(disc, 3, 0)))
        >>> from jaxmed.registration import register
        >>> found = register(fixed, moving, similarity=guided("ncc"), levels=2, steps=30)
        >>> bool(found.losses[-1] < 0.7 * found.losses[0])
        True
    """
    if not weight > 0:
        raise ValueError(f"weight={weight}: greater than 0")
    unlike = loss_of(similarity)

    def loss(moved: Array, fixed: Array, *, where: Array | None = None) -> Array:
        if moved.shape[-1] < 2:
            raise ValueError(
                "guided compares an image and probabilities of structures: two channels or more, "
                f"got {moved.shape[-1]}; guided_scan joins them"
            )
        seen = {} if where is None else {"where": where}
        beside = jnp.clip(moved[..., 1:], 0, 1), jnp.clip(fixed[..., 1:], 0, 1)
        return unlike(moved[..., :1], fixed[..., :1], **seen) + weight * _overlap(*beside)

    return loss
