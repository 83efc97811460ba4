"""Images as codes, codes as images, and images drawn from a trained autoencoder."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree, as_network, pick, stream
from jaxmed.generative._drawing import Draw, drawing
from jaxmed.generative.autoencoders._likelihood import Likelihood, distribution


def encode(
    network: Network | nn.Module,
    params: PyTree,
    state: PyTree,
    images: Array,
    *,
    label: Array | None = None,
) -> Any:
    """The latents of images: the posterior's mean, or what a codebook's vectors are nearest to.

    Args:
        network: of an autoencoder, such as ``networks.image_vae`` or ``networks.vq_codec``.
        params: its parameters.
        state: its state.
        images: ``(batch, *spatial, channels)``.
        label: ``(batch,)`` classes, for a conditional network.

    Returns:
        ``(batch, ...)``, the endpoint ``latent``; of a hierarchical one a tuple, coarsest first.

    Raises:
        KeyError: if the network has no such endpoint.
    """
    ends, _ = as_network(network).apply(params, state, _with("image", images, label))
    return pick(ends, "latent", "network")


def decode(
    network: Network | nn.Module,
    params: PyTree,
    state: PyTree,
    latents: Any,
    *,
    likelihood: Likelihood = "gaussian",
    label: Array | None = None,
) -> Array:
    """The images of latents: the mean of each voxel.

    Args:
        network: as :func:`encode` takes it.
        params: its parameters.
        state: its state.
        latents: as :func:`encode` gives them; those of a codebook are put to its nearest vectors.
        likelihood: that it was trained with.
        label: ``(batch,)`` classes, for a conditional network.

    Returns:
        ``(batch, *spatial, channels)`` float32.

    Raises:
        ValueError: for another likelihood, or latents of another shape.
        KeyError: if the network decodes nothing.
    """
    ends, _ = as_network(network).apply(params, state, _with("latent", latents, label))
    return distribution(likelihood).mean(pick(ends, "logits", "network").astype(jnp.float32))


def vae_sampler(
    network: Network | nn.Module,
    *,
    classes: int = 0,
    likelihood: Likelihood = "gaussian",
    noise: bool = False,
) -> Draw:
    """Draw images by the decoder of a variational autoencoder, of latents from its prior.

    Args:
        network: that was trained by :func:`vae`.
        classes: of a conditional network, which draws by ``condition["label"]``.
        likelihood: that it was trained with.
        noise: whether each voxel is drawn too, as the model says that images are. Its mean alone
            is what pictures usually show; it is smoother than any image.

    Returns:
        The draw, for :func:`~jaxmed.generative.draw_images`.

    Raises:
        ValueError: for another likelihood.
    """
    network, of_voxels = as_network(network), distribution(likelihood)

    def images(keys, params, state, condition):
        own = jax.vmap(lambda key: stream(key, "vae"))(keys)
        ends, _ = network.apply(params, state, {"key": own, **condition})
        logits = pick(ends, "logits", "network").astype(jnp.float32)
        if not noise:
            return of_voxels.mean(logits)
        scale = jnp.broadcast_to(ends.get("log_scale", jnp.zeros(())), logits.shape)
        voxels = jax.vmap(lambda key: stream(key, "voxels"))(keys)
        return jax.vmap(of_voxels.draw)(voxels, logits, scale)

    return drawing(images, classes=classes)


def _with(name: str, array: Any, label: Array | None) -> dict[str, Any]:
    return {name: array} if label is None else {name: array, "label": label}
