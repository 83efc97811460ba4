"""Networks from Flax NNX modules."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmed.core._network import Network, named_endpoints
from jaxmed.core._random import stream


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Make a :class:`~jaxmed.core.Network` of a Flax NNX module.

    Variables of type ``nnx.Param`` become the parameters, all others (``nnx.BatchStat``, one's
    own) the state. Random streams inside the module are re-keyed at each call by their path, from
    the key of the call, so that the module's own counters play no part and a step can be repeated.

    Args:
        make: builds the module, ``rngs -> module``. It is called once on abstract values to learn
            the structure, and once at each ``init``. The module takes the inputs alone; its mode
            is set by NNX's ``train()`` and ``eval()``.

    Returns:
        The network.

    Raises:
        TypeError: if ``make`` does not return an ``nnx.Module``.

    >>> network = from_nnx(lambda rngs: nnx.Linear(5, 3, rngs=rngs))
    >>> params, state = network.init(jax.random.key(0), jnp.ones((2, 5)))
    >>> network.apply(params, state, jnp.ones((2, 5)))[0]["logits"].shape
    (2, 3)
    """
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    if not isinstance(abstract, nnx.Module):
        raise TypeError(f"make must return an nnx.Module, got {type(abstract).__name__}")
    structure = nnx.graphdef(abstract)

    @jax.jit
    def init(key, inputs):
        del inputs  # an NNX module knows its shapes
        _, params, random, state = nnx.split(
            make(nnx.Rngs(stream(key, "params"))), nnx.Param, nnx.RngState, ...
        )
        return nnx.to_pure_dict(params), {
            "variables": nnx.to_pure_dict(state),
            "random": nnx.to_pure_dict(random),
        }

    def apply(params, state, inputs, *, key=None, train=False):
        random = state["random"] if key is None else _rekeyed(state["random"], key)
        model = nnx.merge(structure, _union(params, state["variables"], random))
        model.train() if train else model.eval()
        endpoints = named_endpoints(model(inputs))
        if not train:
            return endpoints, state
        variables = nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Any(nnx.Param, nnx.RngState))))
        return endpoints, {**state, "variables": variables}

    return Network(init, apply)


def _rekeyed(random, key):
    """Every stream's key named after its path, every counter at zero."""

    def one(path, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return stream(key, jax.tree_util.keystr(path))
        return jnp.zeros_like(leaf)

    return jax.tree.map_with_path(one, random)


def _union(*trees):
    """One nested dict of several whose leaves have different paths."""
    merged = {}
    for tree in trees:
        for name, value in tree.items():
            if isinstance(value, dict) and isinstance(merged.get(name), dict):
                merged[name] = _union(merged[name], value)
            else:
                merged[name] = value
    return merged
