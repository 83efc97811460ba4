"""Contractive autoencoders: codes that move little when their image does."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, network_inputs, stateless, stream, weighted_mean
from jaxmed.paradigms.base._views import one_map, row_weights


def contractive(
    *,
    method: Literal["hutchinson", "exact"] = "hutchinson",
    probes: int = 1,
    output: str = "features",
    level: int = -1,
    inputs: str = "image",
) -> Objective:
    r"""Keep the code from moving with the image, in all directions alike.

    .. math:: \ell = \left\|\frac{\partial f(x)}{\partial x}\right\|_F^2
        = \mathbb{E}_\epsilon \left| \epsilon^\top \frac{\partial f(x)}{\partial x} \right|^2

    with random signs :math:`\epsilon`. Beside a reconstruction it makes a contractive autoencoder,
    whose code keeps what the images differ in::

        weighted({"image": autoencoder(output="features"), "code": contractive()}, {"code": 0.1})

    The penalty is that of this code's scale: with a decoder of free weights a code of bounded units
    (a sigmoid) keeps both from shrinking it to nothing.

    Args:
        method: ``"hutchinson"``: an unbiased estimate, at a backward pass for each probe;
            ``"exact"``, at one for each number of the code.
        probes: number of random :math:`\epsilon` for each image.
        output: the endpoint that is the code: vectors, a map, or a tuple of maps.
        level: which of a tuple; the coarsest by default.
        inputs: the batch's images.

    Returns:
        The objective: a squared norm, the sum over code and image.

    Raises:
        ValueError: for another method or no probe.

    References:
        Rifai et al. (2011), Contractive auto-encoders: explicit invariance during feature
        extraction, ICML.
    """
    if method not in ("hutchinson", "exact"):
        raise ValueError(f"method is 'hutchinson' or 'exact', got {method!r}")
    if probes < 1:
        raise ValueError(f"at least one probe is needed, got {probes}")

    def loss(network, params, state, batch, key):
        key, images = stream(key, "contractive"), network_inputs(batch, inputs)

        def code(x):
            ends, net = network.apply(
                params["net"], state["net"], x, key=stream(key, "network"), train=True
            )
            found = one_map(ends, output, level)
            return found.reshape(len(found), -1), net

        found, pull, net = jax.vjp(code, images.astype(jnp.float32), has_aux=True)

        def squared(direction):
            (slope,) = pull(jnp.broadcast_to(direction, found.shape).astype(found.dtype))
            return jnp.square(slope).reshape(len(slope), -1).sum(-1)

        if method == "exact":
            norms = jax.lax.map(squared, jnp.eye(found.shape[1])).sum(0)
        else:
            signs = (probes, *found.shape)
            drawn = jax.random.rademacher(stream(key, "probes"), signs, found.dtype)
            norms = jnp.stack([squared(one) for one in drawn]).mean(0)
        return weighted_mean(norms, row_weights(batch, inputs)), ({**state, "net": net}, {})

    return stateless(loss)
