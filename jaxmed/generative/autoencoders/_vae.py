"""The evidence lower bound as an objective."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Inputs,
    Objective,
    network_inputs,
    stream,
    weighted_mean,
)
from jaxmed.core._types import Batch, Key
from jaxmed.generative._drawing import image_keys
from jaxmed.generative.autoencoders._levels import divergence, levels_of
from jaxmed.generative.autoencoders._likelihood import (
    Likelihood,
    distribution,
    log_likelihoods,
    per_image,
)
from jaxmed.paradigms.base._schedules import (
    Scheduled,
    advance,
    check_weight,
    counter_for,
    value_at,
)


def vae(
    *,
    likelihood: Likelihood = "gaussian",
    beta: Scheduled = 1.0,
    free_bits: float = 0.0,
    inputs: Inputs = "image",
) -> Objective:
    r"""Maximise the evidence lower bound of images, in nats an image.

    .. math:: \ell = -\mathbb{E}_{q(z \mid x)}[\log p(x \mid z)]
        + \beta \sum_l \mathrm{KL}(q(z_l \mid z_{<l}, x) \,\Vert\, p(z_l \mid z_{<l}))

    Both terms are sums over an image's voxels and latent numbers, never means: at a beta of 1 the
    loss bounds :math:`-\log p(x)`, whatever the image's size.

    Args:
        likelihood: of a voxel given the decoder's answer: ``"gaussian"`` or ``"laplace"``, of the
            standard deviation or scale in the network's ``log_scale`` (1 where it has none);
            ``"bernoulli"``, of images in [0, 1]; ``"discretised"``, a logistic distribution on the
            256 grey values of images in [-1, 1].
        beta: weight of the divergence, or a function of the step to it, such as
            ``optax.linear_schedule(0, 1, 1000)`` to warm up. Beyond 1 latents are simpler, and what
            they decode to blurrier.
        free_bits: nats that each channel of the latents may carry, on average over the batch,
            before it costs anything: against channels that carry nothing.
        inputs: the batch's images, or ``("image", "label")`` for a conditional network.

    Returns:
        The objective, for a network such as ``networks.image_vae`` or ``networks.ladder_vae``: it
        is given ``{"image", "key"}``, a key an image, and returns ``logits``, ``mean`` and
        ``log_variance``, or ``levels`` of them. Metrics: ``reconstruction``
        (:math:`-\log p(x \mid z)`) and ``kl``, in nats an image; ``elbo``, minus their sum; with a
        likelihood of discrete values ``bits_per_dimension``.

    Raises:
        ValueError: for another likelihood, or negative numbers; when traced, if the network decodes
            images of another shape.
        KeyError: when traced, if the network tells nothing of a posterior.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, ICLR. Higgins et al. (2017),
        beta-VAE, ICLR. Kingma et al. (2016), Improved variational inference with inverse
        autoregressive flow, NeurIPS. Salimans et al. (2017), PixelCNN++, ICLR.
    """
    found = distribution(likelihood)
    check_weight(beta, "beta")
    if free_bits < 0:
        raise ValueError(f"free_bits must not be negative, got {free_bits}")

    def init(key, network, params, state, batch):
        return {}, counter_for(beta)

    def evaluate(network, params, state, batch, key):
        given, images = with_keys(batch, inputs, stream(key, "latent"))
        ends, net = network.apply(
            params["net"], state["net"], given, key=stream(key, "network"), train=True
        )
        reconstruction = -log_likelihoods(likelihood, ends, images)
        divergences = [divergence(level) for level in levels_of(ends)]
        kl = sum((per_image(part) for part in divergences), jnp.zeros(len(images)))
        weight = batch.get("weight")
        cost = weighted_mean(kl, weight)
        if free_bits:
            cost = sum((_beyond(part, free_bits, weight) for part in divergences), jnp.zeros(()))
        error = weighted_mean(reconstruction, weight)
        bound = error + weighted_mean(kl, weight)
        metrics = {"reconstruction": error, "kl": weighted_mean(kl, weight), "elbo": -bound}
        if found.discrete:
            voxels = images.size / len(images)
            metrics["bits_per_dimension"] = bound / (voxels * math.log(2))
        loss = error + value_at(beta, state["obj"]) * cost
        return loss, (advance({**state, "net": net}), metrics)

    return Objective(init, evaluate)


def with_keys(batch: Batch, inputs: Inputs, key: Key) -> tuple[dict[str, Array], Array]:
    """What a network is given of a batch, with a key an image; and the images."""
    given = network_inputs(batch, inputs)
    given = dict(given) if isinstance(given, dict) else {"image": given}
    images = given["image"]
    return {**given, "key": image_keys(key, len(images))}, images


def _beyond(divergence: Array, free: float, weight: Array | None) -> Array:
    """The divergence, of which each channel has some for nothing."""
    summed = divergence.reshape(len(divergence), -1, divergence.shape[-1]).sum(1)
    channels = [weighted_mean(summed[:, i], weight) for i in range(summed.shape[-1])]
    return jnp.maximum(jnp.stack(channels), free).sum()
