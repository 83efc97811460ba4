"""Masked autoencoding: guess hidden patches, with a transformer or any other network."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.networks import TokenDecoder
from jaxmed.paradigms.base._views import one_map, row_weights
from jaxmed.paradigms.self_supervised._autoencoder import decoding, like
from jaxmed.paradigms.self_supervised._embedding import Head, embedding
from jaxmed.paradigms.self_supervised._masks import paint, patch_grid, patchify, shuffled_patches


def masked_autoencoder(
    patch: int | tuple[int, ...],
    *,
    ratio: float = 0.75,
    drop: bool = False,
    normalise: bool = True,
    decoder: Head | None = None,
    output: str | None = None,
    level: int = -1,
    inputs: str = "image",
) -> Objective:
    """Hide most patches of an image and give back what was hidden.

    The loss is the mean squared error over hidden patches, each patch normalised by its own mean
    and deviation. A convolutional network sees the image with hidden patches in a learned
    colour, and is decoded from a map. A transformer (``networks.vit``) may ``drop`` them: it sees
    the visible tokens alone, which costs a fraction of a pass, and a small transformer decodes.

    Args:
        patch: its edge in voxels, an int or one for each axis; it divides the images. With
            ``drop`` it is the network's own.
        ratio: share of patches hidden, in (0, 1).
        drop: whether the network is given ``{"image": ..., "visible": ...}``, as ``networks.vit``
            takes it.
        normalise: whether patches are compared normalised.
        decoder: a parameter of the objective. By default ``networks.Decoder`` from the map; with
            ``drop`` ``networks.TokenDecoder`` from ``{"tokens": ..., "restore": ...}`` to
            ``(batch, patches, voxels * channels)``.
        output: the endpoint decoded; ``"pyramid"``, or with ``drop`` ``"tokens"``, by default.
        level: which of a tuple of maps, finest first.
        inputs: the batch's images, ``(batch, *spatial, channels)``.

    Returns:
        The objective, with the metric ``reconstruction``.

    Raises:
        ValueError: if ``ratio`` is outside (0, 1); when traced, if the patch does not divide the
            images or is not the network's, or the decoder gives another shape.

    References:
        He et al. (2022), Masked autoencoders are scalable vision learners, CVPR. Xie et al. (2022),
        SimMIM: a simple framework for masked image modeling, CVPR.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must be in (0, 1), got {ratio}")
    output = output or ("tokens" if drop else "pyramid")

    def shapes(images: Array):
        edges, grid = patch_grid(images.shape[1:-1], patch)
        patches = patchify(images, edges)
        shown = max(1, patches.shape[1] - round(ratio * patches.shape[1]))
        return edges, grid, patches, shown

    def decode(images: Array, restore: Array):
        _, grid, patches, _ = shapes(images)
        if not drop:
            return decoding(decoder, images, output, level)
        head = TokenDecoder(grid, patches.shape[-1]) if decoder is None else decoder

        def read(endpoints, output):
            tokens = one_map(endpoints, output, level)
            return {"tokens": tokens, "restore": restore}

        return embedding({"decoder": head}, output, read=read)

    def view(token: Array, images: Array, visible: Array, restore: Array) -> Any:
        edges, grid, _, shown = shapes(images)
        if drop:
            return {"image": images, "visible": visible}
        return jnp.where(paint(restore >= shown, grid, edges), token, images)

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        edges, _, patches, shown = shapes(images)
        if drop:
            whole = jax.eval_shape(lambda: network.apply(params, state, images)[0])
            tokens = pick(whole, output, "network").shape
            if tokens[:2] != patches.shape[:2]:
                raise ValueError(
                    f"patches of {edges} voxels are {patches.shape[1]}, the network's {output!r} "
                    f"have the shape {tokens}: give the patch that the network has"
                )
        order = shuffled_patches(stream(key, "order"), patches.shape[0], patches.shape[1], shown)
        token = jnp.zeros(images.shape[-1])
        own_params, own_state = decode(images, order[1]).init(
            key, network, params, state, view(token, images, *order)
        )
        return {**own_params, **({} if drop else {"token": token})}, own_state

    def loss(network, params, state, batch, key):
        key, images = stream(key, "masked_autoencoder"), network_inputs(batch, inputs)
        edges, _, patches, shown = shapes(images)
        order = shuffled_patches(stream(key, "order"), patches.shape[0], patches.shape[1], shown)
        seen = view(params["obj"].get("token"), images, *order)
        outputs, state = decode(images, order[1]).apply(
            network, params, state, seen, stream(key, "network")
        )
        guess = outputs["decoder"] if drop else patchify(like(outputs["decoder"], images), edges)
        target = patches.astype(jnp.float32)
        if guess.shape != target.shape:
            raise ValueError(f"the decoder gives {guess.shape} for patches {target.shape}")
        if normalise:
            target = nn.standardize(target, axis=-1, epsilon=1e-6)
        error = jnp.square(guess - target).mean(-1)
        values = jnp.where(order[1] >= shown, error, 0).sum(1) / (patches.shape[1] - shown)
        value = weighted_mean(values, row_weights(batch, inputs))
        return value, (state, {"reconstruction": value})

    return Objective(init, loss)
