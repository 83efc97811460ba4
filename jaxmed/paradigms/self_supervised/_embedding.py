"""Embeddings: an endpoint of the network and a head of the objective's own behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree, as_network, stream
from jaxmed.paradigms.base._views import vectors

Head = Network | nn.Module
"""A head: what it gives as ``logits`` is used."""


class Embedding(NamedTuple):
    """Two pure functions around a network and heads in a row.

    Heads are parameters of the objective, by name: ``params["obj"][name]``. The first reads the
    network's endpoint, each other the one before it.

    Attributes:
        init: ``(key, network, params, state, images) -> (own_params, own_state)``.
        apply: ``(network, params, state, images, key) -> (outputs, state)``, in training mode:
            the ``endpoint`` as read, and each head's by its name. BatchNorm in a head takes its
            statistics over all rows given.
    """

    init: Callable[[Key, Network, PyTree, PyTree, Array], tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[dict[str, Array], PyTree]]


def embedding(heads: dict[str, Head], output: str, *, read=vectors) -> Embedding:
    """An embedding of the endpoint ``output``, ``read(endpoints, output)``, behind named heads."""
    networks = {name: as_network(head) for name, head in heads.items()}

    def init(key, network, params, state, images):
        own_params, own_state = {}, {}
        shapes = jax.eval_shape(
            lambda images: read(network.apply(params, state, images)[0], output), images
        )
        for name, head in networks.items():
            x = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            own_params[name], own_state[name] = head.init(stream(key, name), x)
            ends, _ = jax.eval_shape(head.apply, own_params[name], own_state[name], x)
            shapes = ends["logits"]
        return own_params, own_state

    def apply(network, params, state, images, key):
        endpoints, net = network.apply(params["net"], state["net"], images, key=key, train=True)
        x, own = read(endpoints, output), dict(state["obj"])
        outputs = {"endpoint": x}
        for name, head in networks.items():
            ends, own[name] = head.apply(
                params["obj"][name], own[name], x, key=stream(key, "head", name), train=True
            )
            x = outputs[name] = ends["logits"].astype(jnp.float32)
        return outputs, {"net": net, "obj": own}

    return Embedding(init, apply)


def unit(x: Array) -> Array:
    """Vectors on the last axis scaled to length one; a zero vector stays zero."""
    return x / jnp.sqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))
