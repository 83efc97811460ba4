"""Few-shot segmentation: voxels compared with prototypes of an episode's masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, pick
from jaxmed.core._made import made_by
from jaxmed.paradigms.few_shot._episodic import episode_images, split_episode, unit

MASKED_EPISODE = ("support", "support_mask", "query")
"""The arrays of a batch of episodes that a few-shot segmenter is given."""


def prototype_segmenter(
    trunk: Network, classes: int, *, reads: str = "pyramid", level: int = -1, scale: float = 20.0
) -> Network:
    r"""A segmenter whose structures are what an episode's masks show: PANet.

    The prototype of a class, background included, is the mean of the support's feature vectors
    under its mask; a voxel's logits are :math:`\gamma` times the cosines of its feature vector
    with the prototypes, at the resolution of the features, then interpolated to the image's.

    The endpoint ``support_logits`` is the other way round, the paper's alignment: prototypes of
    the query under its *predicted* mask, by which the support is segmented. To train by both::

        weighted({
            "query": supervised(dice_ce, target="query_mask", inputs=MASKED_EPISODE),
            "align": supervised(dice_ce, output="support_logits", target="support_mask",
                                inputs=MASKED_EPISODE),
        })

    Args:
        trunk: any network on images.
        classes: of an episode's masks, background (0) included.
        reads: the trunk's endpoint with maps: one map, or a pyramid, fine first.
        level: which map of a pyramid.
        scale: :math:`\gamma`.

    Returns:
        The network, with the trunk's parameters and state. Its inputs are ``{"support": (episodes,
        s, *spatial, channels), "support_mask": (episodes, s, *spatial), "query": (episodes, q,
        *spatial, channels)}``; a mask of -1 is unknown. Endpoints: ``logits`` ``(episodes, q,
        *spatial, classes)`` and ``support_logits`` ``(episodes, s, *spatial, classes)``. A class
        without a voxel in the support gets a logit of -1e9.

    Raises:
        ValueError: if ``classes`` is below 2; when traced, if shapes do not fit.
        KeyError: when traced, if an array or the endpoint is missing.

    References:
        Wang et al. (2019), PANet: few-shot image semantic segmentation with prototype alignment,
        ICCV.

    >>> import jaxmed as jm
    >>> trunk = jm.from_linen(jm.networks.cnn(features=(4, 8)))
    >>> network = prototype_segmenter(trunk, classes=2)
    >>> episodes = {
    ...     "support": jnp.ones((1, 2, 8, 8, 1)),
    ...     "support_mask": jnp.ones((1, 2, 8, 8), int),
    ...     "query": jnp.ones((1, 3, 8, 8, 1)),
    ... }
    >>> params, state = network.init(jax.random.key(0), episodes)
    >>> network.apply(params, state, episodes)[0]["logits"].shape
    (1, 3, 8, 8, 2)
    """
    if classes < 2:
        raise ValueError(f"classes are background and at least one structure, got {classes}")

    def init(key, inputs):
        support, _, query = split_episode(inputs, "support_mask")
        return trunk.init(key, episode_images(support, query))

    def apply(params, state, inputs, *, key=None, train=False):
        support, masks, query = split_episode(inputs, "support_mask")
        endpoints, state = trunk.apply(
            params, state, episode_images(support, query), key=key, train=train
        )
        maps = pick(endpoints, reads, "trunk")
        maps = maps[level] if isinstance(maps, tuple | list) else maps
        rank = support.ndim - 3
        if maps.ndim != rank + 2:
            raise ValueError(
                f"episodes compare maps (images, *spatial, f) of {rank} spatial axes, but "
                f"{reads!r} has the shape {maps.shape}"
            )
        maps = maps.astype(jnp.float32).reshape(len(support), -1, *maps.shape[1:])
        shots, small, full = support.shape[1], maps.shape[2:-1], support.shape[2:-1]
        mine, theirs = maps[:, :shots], maps[:, shots:]

        shown = _resized(jax.nn.one_hot(masks, classes), small)
        logits = _compared(theirs, *_prototypes(mine, shown), scale)
        guessed = jax.nn.one_hot(logits.argmax(-1), classes)
        back = _compared(mine, *_prototypes(theirs, guessed), scale)
        return {"logits": _resized(logits, full), "support_logits": _resized(back, full)}, state

    return made_by(
        Network(init, apply), "prototype_segmenter",
        trunk=trunk, classes=classes, reads=reads, level=level, scale=scale,
    )  # fmt: skip


def _prototypes(maps: Array, shares: Array) -> tuple[Array, Array]:
    """Means `(episodes, classes, f)` of maps weighted by each class's shares of a voxel."""
    weights = shares.reshape(len(shares), -1, shares.shape[-1])
    vectors = maps.reshape(len(maps), -1, maps.shape[-1])
    total = weights.sum(1)
    summed = jnp.einsum("enk,enf->ekf", weights, vectors)
    return summed / jnp.maximum(total, 1e-6)[..., None], total > 0


def _compared(maps: Array, prototypes: Array, there: Array, scale: float) -> Array:
    cosines = jnp.einsum("e...f,ekf->e...k", unit(maps), unit(prototypes))
    present = there.reshape(len(there), *[1] * (maps.ndim - 2), -1)
    return jnp.where(present, scale * cosines, -1e9)


def _resized(x: Array, spatial: tuple[int, ...]) -> Array:
    """Maps `(episodes, images, *spatial, c)` at another resolution: means down, linear up."""
    shape = (*x.shape[:2], *spatial, x.shape[-1])
    return x if x.shape == shape else jax.image.resize(x, shape, "linear", antialias=True)
