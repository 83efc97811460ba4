"""Network: a pure function with parameters."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import get_opaque_trace_state

from jaxmed.core._describe import describe
from jaxmed.core._types import Endpoints, Key, NetworkApply, NetworkInit, PyTree


class Network(NamedTuple):
    """A pure function with parameters.

    Attributes:
        init: ``(key, inputs) -> (params, state)``. ``params`` is what an optimizer changes;
            ``state`` is what a forward pass changes (running statistics of BatchNorm, caches).
        apply: ``(params, state, inputs, *, key=None, train=False) -> (endpoints, state)``.
            ``endpoints`` is a dict of named arrays. In training a network with dropout needs a
            ``key``; in evaluation none is drawn from.

    Build one with :func:`from_linen`, :func:`from_nnx` or :func:`from_functions`.
    """

    init: NetworkInit
    apply: NetworkApply

    def __repr__(self) -> str:
        return f"Network: {describe(self.apply)}"


def from_functions(
    init: Callable[[Key, PyTree], PyTree],
    apply: Callable[..., Any],
    *,
    stateful: bool = False,
) -> Network:
    """Make a network of two plain functions.

    Args:
        init: ``(key, inputs) -> params``, or ``-> (params, state)`` if ``stateful``.
        apply: ``(params, inputs) -> outputs``; if ``stateful`` the whole signature of
            :class:`Network`. ``outputs`` that are not a dict become ``{"logits": outputs}``.
        stateful: whether the functions carry a state.

    Returns:
        The network.

    >>> import jax.numpy as jnp
    >>> net = from_functions(
    ...     lambda key, x: {"w": jnp.ones((x.shape[-1], 2))}, lambda params, x: x @ params["w"]
    ... )
    >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> net.apply(params, state, jnp.ones((1, 3)))[0]["logits"].shape
    (1, 2)
    """
    if stateful:

        def apply_stateful(params, state, inputs, *, key=None, train=False):
            outputs, state = apply(params, state, inputs, key=key, train=train)
            return named_endpoints(outputs), state

        return Network(init, apply_stateful)

    def init_stateless(key, inputs):
        return init(key, inputs), {}

    def apply_stateless(params, state, inputs, *, key=None, train=False):
        return named_endpoints(apply(params, inputs)), state

    return Network(init_stateless, apply_stateless)


def check_network(given: Any, name: str = "network") -> None:
    """Refuse what is no network, before its first call goes wrong.

    Raises:
        TypeError: says of what a network is made.
    """
    if not isinstance(given, Network):
        raise TypeError(
            f"{name} is a Network, got a {type(given).__name__}: make one of a Linen module by "
            "jaxmed.from_linen(module), of an NNX module by from_nnx, of functions by "
            "from_functions"
        )


def named_endpoints(outputs: Any) -> Endpoints:
    """Outputs that are not a dict are the ``logits``."""
    return dict(outputs) if isinstance(outputs, dict) else {"logits": outputs}


def share_passes(network: Network) -> Network:
    """A network that makes one forward pass of what is asked for twice.

    Within one trace, the same parameters, inputs, key and mode give the same endpoints; asking
    again returns them, and leaves the state as it is, for the pass has already changed it. Two
    objectives on one trunk thus cost one forward and one backward pass. Meant to live as long as
    one call of a loss: make a new one each time.
    """
    passes: list[tuple[Any, list, Any, Endpoints]] = []

    def apply(params, state, inputs, *, key=None, train=False):
        leaves, structure = jax.tree.flatten((params, inputs, key))
        # Tracers are compared by identity, and only within one trace: a value from inside a
        # scan or a cond must not leak out of it.
        made_in, asked = get_opaque_trace_state(), (structure, train)
        for trace, operands, how, endpoints in passes:
            same = len(operands) == len(leaves) and all(map(operator.is_, operands, leaves))
            if same and how == asked and trace == made_in:
                return endpoints, state
        endpoints, state = network.apply(params, state, inputs, key=key, train=train)
        passes.append((made_in, leaves, asked, endpoints))
        return endpoints, state

    return Network(network.init, apply)
