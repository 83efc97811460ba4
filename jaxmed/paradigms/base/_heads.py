"""Named heads on one trunk: hard parameter sharing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from jaxmed.core import Network, as_network, pick, stream
from jaxmed.core._made import made_by


class Head(NamedTuple):
    """A head, and the endpoint of the trunk that it reads."""

    network: Network | nn.Module
    reads: str = "features"


def with_heads(trunk: Network, heads: Mapping[str, Head | Network | nn.Module]) -> Network:
    """A network whose endpoints are the trunk's, and one of each head's name.

    Args:
        trunk: any network, such as ``from_linen(networks.resnet18())`` without classes.
        heads: by name. A bare network or Linen module reads ``features``; a :class:`Head` says
            what it reads. The head's ``logits`` become the endpoint of its name, its other
            endpoints ``name/endpoint``.

    Returns:
        The network, with parameters ``{"trunk": ..., "heads": {name: ...}}``, and a state alike.

    Raises:
        ValueError: if there is no head, or a head has the name of one of the trunk's endpoints.
        KeyError: when traced, if the trunk has no endpoint that a head reads.

    References:
        Caruana (1997), Multitask learning, Machine Learning 28.

    >>> import jax, jax.numpy as jnp
    >>> from jaxmed.core import from_functions
    >>> trunk = from_functions(lambda key, x: {}, lambda params, x: {"features": x})
    >>> network = with_heads(trunk, {"grade": nn.Dense(3), "site": nn.Dense(2)})
    >>> params, state = network.init(jax.random.key(0), jnp.ones((4, 5)))
    >>> endpoints, _ = network.apply(params, state, jnp.ones((4, 5)))
    >>> {name: value.shape for name, value in endpoints.items()}
    {'features': (4, 5), 'grade': (4, 3), 'site': (4, 2)}
    """
    if not heads:
        raise ValueError("with_heads needs at least one head")
    heads = {name: _as_head(head) for name, head in heads.items()}

    def init(key, inputs):
        params, state = trunk.init(stream(key, "trunk"), inputs)
        endpoints, _ = trunk.apply(params, state, inputs)
        made: dict[str, Any] = {
            name: head.network.init(stream(key, "head", name), pick(endpoints, head.reads, "trunk"))
            for name, head in heads.items()
        }
        return (
            {"trunk": params, "heads": {name: pair[0] for name, pair in made.items()}},
            {"trunk": state, "heads": {name: pair[1] for name, pair in made.items()}},
        )

    def apply(params, state, inputs, *, key=None, train=False):
        trunk_key = None if key is None else stream(key, "trunk")
        endpoints, trunk_state = trunk.apply(
            params["trunk"], state["trunk"], inputs, key=trunk_key, train=train
        )
        endpoints = dict(endpoints)
        read = dict(endpoints)
        head_states = {}
        for name, head in heads.items():
            if name in read:
                raise ValueError(f"the trunk has an endpoint {name!r}: give the head another name")
            head_key = None if key is None else stream(key, "head", name)
            outputs, head_states[name] = head.network.apply(
                params["heads"][name],
                state["heads"][name],
                pick(read, head.reads, "trunk"),
                key=head_key,
                train=train,
            )
            for endpoint, value in outputs.items():
                endpoints[name if endpoint == "logits" else f"{name}/{endpoint}"] = value
        return endpoints, {"trunk": trunk_state, "heads": head_states}

    return made_by(Network(init, apply), "with_heads", trunk=trunk, heads=heads)


def _as_head(head: Head | Network | nn.Module) -> Head:
    # Network and Head are both tuples: ask for the more particular first.
    head = head if isinstance(head, Head) else Head(head)
    return head._replace(network=as_network(head.network))
