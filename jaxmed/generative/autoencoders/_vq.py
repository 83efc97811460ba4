"""Learning a codebook, and the codec around it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Inputs,
    Objective,
    network_inputs,
    pick,
    stateless,
    weighted_mean,
)
from jaxmed.losses import mse
from jaxmed.paradigms.base._consistency import per_example
from jaxmed.paradigms.base._supervised import Loss


def vq_vae(
    *,
    commitment: float = 0.25,
    loss: Loss = mse,
    codes: int | None = None,
    inputs: Inputs = "image",
) -> Objective:
    r"""Give images back from vectors of a codebook.

    .. math:: \ell = L(d(e), x) + \gamma\,\overline{(z - \mathrm{sg}[e])^2}
        + \overline{(\mathrm{sg}[z] - e)^2}

    of what the encoder says, z, and the vectors e that are nearest to it. Through the choice
    gradients pass straight from e to z. The last term moves the codebook; where that follows an
    average (``networks.vq_codec`` with a ``decay``) it has no gradient, and is left out.

    A codec draws no images by itself: train a prior over its latents, such as a diffusion by
    ``latent((encode, decode), ...)``.

    Args:
        commitment: gamma, by which the encoder keeps to the vectors that it chooses.
        loss: ``(outputs, targets) -> (batch,)``, as in :mod:`jaxmed.losses`.
        codes: size of the codebook, for the metric ``perplexity``.
        inputs: the batch's images, or ``("image", "label")`` for a conditional network.

    Returns:
        The objective, for a network that gives ``logits``, ``latent`` (z), ``quantised`` (e) and
        ``codes``. Metrics: ``reconstruction``, ``commitment`` (the mean square of z - e), and with
        ``codes`` the ``perplexity`` of their use in the batch: how many vectors would be as many
        if all were used alike.

    Raises:
        ValueError: for a negative commitment, or a codebook of no vector.
        KeyError: when traced, if the network lacks an endpoint.

    References:
        van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning,
        NeurIPS.
    """
    if commitment < 0 or (codes is not None and codes < 1):
        raise ValueError(
            f"a commitment is not negative and a codebook not empty, got {commitment} and {codes}"
        )

    def evaluate(network, params, state, batch, key):
        given = network_inputs(batch, inputs)
        ends, net = network.apply(params["net"], state["net"], given, key=key, train=True)
        needed = pick(ends, ("logits", "latent", "quantised", "codes"), "network")
        images = given["image"] if isinstance(given, dict) else given
        z, e = (needed[name].astype(jnp.float32) for name in ("latent", "quantised"))
        weight = batch.get("weight")
        error = weighted_mean(loss(needed["logits"], images), weight)
        keeps = weighted_mean(per_example(jnp.square(z - jax.lax.stop_gradient(e))), weight)
        moves = weighted_mean(per_example(jnp.square(jax.lax.stop_gradient(z) - e)), weight)
        # Its value is that of the commitment again: what is wanted of it is the gradient, which a
        # codebook that is state has not.
        loss_of_book = moves - jax.lax.stop_gradient(moves)
        metrics = {"reconstruction": error, "commitment": jax.lax.stop_gradient(keeps)}
        if codes is not None:
            metrics["perplexity"] = _perplexity(needed["codes"], codes, weight)
        return error + commitment * keeps + loss_of_book, ({**state, "net": net}, metrics)

    return stateless(evaluate)


def _perplexity(used: Array, codes: int, weight: Array | None) -> Array:
    """The exponential of the entropy of the codes' use, over images that count."""
    shares = jax.nn.one_hot(used.reshape(len(used), -1), codes).mean(1)
    counted = jnp.ones(len(used)) if weight is None else weight
    use = (shares * counted[:, None]).sum(0) / jnp.maximum(counted.sum(), 1e-12)
    return jnp.exp(-(use * jnp.log(jnp.where(use > 0, use, 1.0))).sum())
