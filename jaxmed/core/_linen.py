"""Networks from Flax Linen modules."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import flax.linen as nn
import jax

from jaxmed.core._made import made_by
from jaxmed.core._network import Network, named_endpoints
from jaxmed.core._random import streams

Mode = Literal["train", "deterministic"] | None


def from_linen(
    module: nn.Module,
    *,
    mode: Mode | Literal["auto"] = "auto",
    rngs: tuple[str, ...] = ("dropout", "stochastic"),
) -> Network:
    """Make a :class:`~jaxmed.core.Network` of a Flax Linen module.

    The collection ``params`` becomes the parameters, every other variable collection
    (``batch_stats``, caches, one's own) the state. In training all of them are mutable, in
    evaluation none.

    Args:
        module: the module. Its ``__call__`` takes the inputs, and returns an array (which becomes
            the endpoint ``logits``) or a dict of endpoints.
        mode: the keyword by which the module is told its mode: ``"train"``, ``"deterministic"``
            (its negation), ``None`` for a module that has but one. ``"auto"`` looks at the
            signature of ``module.__call__``.
        rngs: the random streams that the module may draw from in training. Each is derived by
            name from the key of the call. Evaluation gets none, so that a module which draws
            in evaluation fails loudly.

    Returns:
        The network.

    Raises:
        ValueError: if ``mode`` names an unknown keyword.

    >>> import jax.numpy as jnp
    >>> network = from_linen(nn.Dense(3))
    >>> params, state = network.init(jax.random.key(0), jnp.ones((2, 5)))
    >>> endpoints, state = network.apply(params, state, jnp.ones((2, 5)))
    >>> endpoints["logits"].shape
    (2, 3)
    """
    if mode == "auto":
        accepted = inspect.signature(type(module).__call__).parameters
        mode = next((name for name in ("train", "deterministic") if name in accepted), None)
    if mode not in ("train", "deterministic", None):
        raise ValueError(f'mode must be "auto", "train", "deterministic" or None, got {mode!r}')

    def mode_keyword(train: bool) -> dict[str, Any]:
        if mode is None:
            return {}
        return {mode: train if mode == "train" else not train}

    @jax.jit  # operation by operation, a network with many shapes takes many times as long
    def init(key, inputs):
        keys = streams(key, ("params", *rngs))
        variables = dict(module.init(keys, inputs, **mode_keyword(False)))
        params = variables.pop("params", {})
        return params, variables

    def apply(params, state, inputs, *, key=None, train=False):
        variables = {"params": params, **state}
        if not train:
            return named_endpoints(module.apply(variables, inputs, **mode_keyword(False))), state
        # A network without randomness trains without a key; one with it then names the stream
        # it misses.
        keys = {} if key is None else streams(key, rngs)
        outputs, updated = module.apply(
            variables, inputs, **mode_keyword(True), rngs=keys, mutable=list(state)
        )
        return named_endpoints(outputs), {**state, **updated}

    network = Network(init, jax.named_call(apply, name=type(module).__name__))
    return made_by(network, "from_linen", module=module, mode=mode, rngs=rngs)


def as_network(network: Network | nn.Module) -> Network:
    """A network, of a Linen module too."""
    return from_linen(network) if isinstance(network, nn.Module) else network
