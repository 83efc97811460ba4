"""Images translated by a trained generator."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, pick
from jaxmed.generative._drawing import Draw, drawing


def translate_images(
    network: Network | nn.Module,
    params: PyTree,
    state: PyTree,
    images: Any,
    *,
    chunk: int = 64,
    output: str = "logits",
) -> np.ndarray:
    """Translate images by a trained generator, in compiled chunks of bounded memory.

    Args:
        network: from images to images in its ``output``: the generator of :func:`pix2pix`, one
            direction of :func:`cycle`, a U-Net trained by a regression.
        params: its parameters; of a direction of :func:`cycle` those under its name.
        state: its state.
        images: ``(count, *spatial, channels)``.
        chunk: images at a time; it changes no image.
        output: the endpoint of images.

    Returns:
        ``(count, *spatial, channels)`` float32, on the host.

    Raises:
        ValueError: for no image, a chunk below 1, or if what is made is not finite.
        KeyError: if the network has no such endpoint.
    """
    rows = np.asarray(images)
    if chunk < 1 or rows.ndim < 3 or len(rows) < 1:
        raise ValueError(
            f"images are (count, *spatial, channels) and a chunk is at least 1, got {rows.shape} "
            f"and {chunk}"
        )
    apply = jax.jit(_translated(as_network(network), output))
    size = min(chunk, len(rows))
    parts = []
    for start in range(0, len(rows), size):
        # The last chunk is filled up with its last image, so that there is one program.
        which = np.minimum(np.arange(start, start + size), len(rows) - 1)
        made = np.asarray(apply(params, state, rows[which]), np.float32)
        parts.append(made[: len(rows) - start])
    whole = np.concatenate(parts)
    if bad := int((~np.isfinite(whole.reshape(len(whole), -1)).all(1)).sum()):
        raise ValueError(f"{bad} of {len(whole)} translated images are not finite")
    return whole


def _translated(network: Network, output: str):
    def apply(params: PyTree, state: PyTree, images: Array) -> Array:
        return pick(network.apply(params, state, images)[0], output, "generator")

    return apply


def translation_sampler(
    network: Network | nn.Module, channels: int, *, dropout: bool = False, output: str = "logits"
) -> Draw:
    """Draw translations of source images, which are the condition ``map``.

    Args:
        network: as :func:`translate_images` takes it.
        channels: of the sources.
        dropout: whether the generator's dropout is left on, as in training: translations then
            differ from key to key, as far as the generator has learned to let them. Such a network
            has no batch normalisation: each image is translated by itself.
        output: the endpoint of images.

    Returns:
        The draw, for :func:`draw_images` with ``condition={"map": sources}``.

    Raises:
        ValueError: for sources without channels.
    """
    if channels < 1:
        raise ValueError(f"sources have at least one channel, got {channels}")
    network = as_network(network)

    def images(keys, params, state, condition):
        if not dropout:
            return _translated(network, output)(params, state, condition["map"])

        def one(key, source):
            made = network.apply(params, state, source[None], key=key, train=True)[0]
            return pick(made, output, "generator")[0]

        return jax.vmap(one)(keys, condition["map"])

    return drawing(images, map_channels=channels)
