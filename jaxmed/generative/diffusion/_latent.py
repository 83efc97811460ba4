"""Diffusion among the latents of an autoencoder, whose scale is measured and kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    LearnerState,
    Network,
    Objective,
    PyTree,
    Variables,
    network_inputs,
    within,
)
from jaxmed.generative._drawing import Draw, image_keys
from jaxmed.generative.autoencoders._codec import decode, encode
from jaxmed.generative.autoencoders._likelihood import Likelihood

_NAME = "latent"


class Codec(NamedTuple):
    """A trained autoencoder, for :func:`latent`.

    Attributes:
        network: such as ``networks.image_vae`` with a ``spatial`` latent, or ``networks.vq_codec``:
            from images to the endpoint ``latent``, and from ``{"latent": ...}`` to ``logits``.
        params: its parameters.
        state: its state.
    """

    network: Network
    params: PyTree
    state: PyTree


def latent_network(codec: Codec, network: Network) -> Network:
    """A network that is initialised by images and applied to their latents.

    Args:
        codec: the autoencoder.
        network: that is to learn on latents, such as :func:`jaxmed.networks.denoiser_unet` of as
            many channels as they have.

    Returns:
        The network. Only its ``init`` differs, so that ``learner`` can be given batches of images.
    """

    def init(key, inputs):
        given = dict(inputs) if isinstance(inputs, dict) else {"image": inputs}
        like = jax.eval_shape(lambda images: encoded(codec, *codec[1:], images), given["image"])
        return network.init(key, {**given, "image": jnp.zeros(like.shape, like.dtype)})

    return Network(init, network.apply)


def latent(
    codec: Codec,
    objective: Objective,
    *,
    statistics: tuple[Array, Array] | None = None,
    inputs: str = "image",
) -> Objective:
    r"""Learn on the latents of a trained autoencoder, shifted and divided to unit variance.

    The objective sees :math:`(E(x) - m) / s` in place of the images x, with mean m and standard
    deviation s of each latent channel. Drawn latents are multiplied and shifted back before they
    are decoded (:func:`latent_sampler`). Both numbers, and the autoencoder, which does not learn,
    are state: a checkpoint has them.

    Args:
        codec: the autoencoder.
        objective: that learns, such as :func:`denoising`.
        statistics: mean and standard deviation of the latents, ``(channels,)`` each, as
            :func:`latent_statistics` measures them; by default those of the first batch, which
            should not be small.
        inputs: the batch's images.

    Returns:
        The objective, for a :func:`latent_network`.

    Raises:
        ValueError: when traced, for latents that are no map. A channel that does not vary makes the
            loss NaN, at which training stops.

    References:
        Rombach et al. (2022), High-resolution image synthesis with latent diffusion models, CVPR.
    """
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        found = latent_statistics(codec, images) if statistics is None else statistics
        mean, deviation = (jnp.asarray(x, jnp.float32) for x in found)
        own = {
            "params": codec.params, "state": codec.state, "mean": mean, "deviation": deviation,
        }  # fmt: skip
        # A copy: a buffer that the caller holds too could not be donated.
        own = jax.tree.map(jnp.copy, own)
        seen = {**batch, inputs: normalised(codec, own, images)}
        own_params, own_state = objective.init(key, network, params, state, seen)
        return {"objective": own_params}, {"objective": own_state, _NAME: own}

    def loss(network, params, state, batch, key):
        own = state["obj"][_NAME]
        latents = normalised(codec, own, network_inputs(batch, inputs))
        return inner.loss(network, params, state, {**batch, inputs: latents}, key)

    return Objective(init, loss, inner.post_step, inner.predictors)


def latent_statistics(codec: Codec, images: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of the latents of images.

    Args:
        codec: the autoencoder.
        images: ``(n, *spatial, channels)``: of the training part.

    Returns:
        Two arrays ``(channels,)``.
    """
    latents = encoded(codec, codec.params, codec.state, images)
    axes = tuple(range(latents.ndim - 1))
    return latents.mean(axes), latents.std(axes)


def latent_variables(state: LearnerState, predicting: Variables | None = None) -> Variables:
    """What a :func:`latent_sampler` draws by, of a learner's state.

    Args:
        state: of a learner whose objective is :func:`latent`.
        predicting: the network's own, such as their average: ``learner.predicting.get(state)``; by
            default those of the last step.

    Returns:
        Parameters and state.

    Raises:
        ValueError: if the learner's objective was not a :func:`latent` one.
    """
    own = state.state["obj"].get(_NAME) if isinstance(state.state["obj"], dict) else None
    if own is None:
        raise ValueError("this learner's objective is not latent(...): its state has no latents")
    net = Variables(state.params["net"], state.state["net"]) if predicting is None else predicting
    statistics = {"mean": own["mean"], "deviation": own["deviation"]}
    return Variables(
        {"net": net.params, "codec": own["params"], **statistics},
        {"net": net.state, "codec": own["state"]},
    )


def latent_sampler(draw: Draw, codec: Network, *, likelihood: Likelihood = "gaussian") -> Draw:
    """Draw images by drawing latents and decoding them.

    Args:
        draw: of latents, such as a :func:`diffusion_sampler` of their shape.
        codec: the autoencoder's network.
        likelihood: that the autoencoder was trained with, see :func:`decode`.

    Returns:
        The draw. It takes what :func:`latent_variables` gives.
    """

    def images(key, params, state, count, condition=None, /):
        keys = image_keys(key, count)
        latents = draw(keys, params["net"], state["net"], count, condition)
        latents = latents * params["deviation"] + params["mean"]
        return decode(codec, params["codec"], state["codec"], latents, likelihood=likelihood)

    if (check := getattr(draw, "check", None)) is not None:
        images.__dict__["check"] = check
    return images


def encoded(codec: Codec, params: PyTree, state: PyTree, images: Array) -> Array:
    """The latents of images, float32.

    Raises:
        ValueError: for latents that are no array ``(n, ..., channels)``.
    """
    found: Any = encode(codec.network, params, state, images)
    if not hasattr(found, "ndim") or found.ndim < 3:
        raise ValueError(
            "diffusion needs latents that are a map, (n, *spatial, channels): of image_vae with "
            f"spatial=True, or of vq_codec; these are {jax.tree.map(jnp.shape, found)}"
        )
    return jax.lax.stop_gradient(found.astype(jnp.float32))


def normalised(codec: Codec, own: dict[str, Any], images: Array) -> Array:
    """Latents of unit variance."""
    latents = encoded(codec, own["params"], own["state"], images)
    return (latents - own["mean"]) / own["deviation"]
