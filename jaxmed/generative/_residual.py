"""Networks that make of an image what it lacks to be another."""

from __future__ import annotations

import flax.linen as nn

from jaxmed.core import Network, as_network, pick
from jaxmed.core._made import made_by


def residual_translator(network: Network | nn.Module, *, output: str = "logits") -> Network:
    """Add what a network makes to the mean of its input's channels.

    Instance normalisation, which U-Nets have, forgets how bright an image is as a whole, and a
    target is about as bright as its source: without this the network has to guess it. A network of
    which little is left begins with the source itself.

    Args:
        network: from source images to images of any number of channels in its ``output``.
        output: that endpoint.

    Returns:
        The network, of the same parameters, for a regression, :func:`pix2pix`, :func:`cycle` and
        :class:`jaxmed.inference.TranslationRecipe`.

    Raises:
        KeyError: when traced, if the network has no such endpoint.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jaxmed.core import Network
        >>> nothing = Network(
        ...     lambda key, x: ({}, {}), lambda p, s, x, **_: ({"logits": jnp.zeros((1, 2, 1))}, s)
        ... )
        >>> source = jnp.array([[[1.0, 3.0], [5.0, 5.0]]])
        >>> residual_translator(nothing).apply({}, {}, source)[0]["logits"].ravel().tolist()
        [2.0, 5.0]
    """
    network = as_network(network)

    def apply(params, state, images, *, key=None, train=False):
        endpoints, state = network.apply(params, state, images, key=key, train=train)
        lacking = pick(endpoints, output, "network")
        return {**endpoints, output: lacking + images.mean(-1, keepdims=True)}, state

    made = Network(network.init, apply)
    return made_by(made, "residual_translator", network=network, output=output)
