"""Networks side by side."""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn

from jaxmed.core import Network, as_network, stream
from jaxmed.core._made import made_by


def towers(networks: Mapping[str, Network | nn.Module]) -> Network:
    """Networks by name on one input, as one network.

    Args:
        networks: by name.

    Returns:
        The network, with parameters and state by name. The ``logits`` of each become the endpoint
        of its name, its other endpoints ``name/endpoint``.

    Raises:
        ValueError: if there is no network.

    >>> import jax, jax.numpy as jnp
    >>> network = towers({"grade": nn.Dense(3), "site": nn.Dense(2)})
    >>> params, state = network.init(jax.random.key(0), jnp.ones((4, 5)))
    >>> endpoints, _ = network.apply(params, state, jnp.ones((4, 5)))
    >>> {name: value.shape for name, value in endpoints.items()}
    {'grade': (4, 3), 'site': (4, 2)}
    """
    if not networks:
        raise ValueError("towers needs at least one network")
    parts = {name: as_network(network) for name, network in networks.items()}

    def init(key, inputs):
        made = {name: part.init(stream(key, name), inputs) for name, part in parts.items()}
        params, state = ({name: pair[i] for name, pair in made.items()} for i in (0, 1))
        return params, state

    def apply(params, state, inputs, *, key=None, train=False):
        endpoints, states = {}, {}
        for name, part in parts.items():
            own = None if key is None else stream(key, name)
            found, states[name] = part.apply(
                params[name], state[name], inputs, key=own, train=train
            )
            endpoints |= {
                name if end == "logits" else f"{name}/{end}": x for end, x in found.items()
            }
        return endpoints, states

    return made_by(Network(init, apply), "towers", networks=parts)
