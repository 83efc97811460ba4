"""Networks that begin with weights learned elsewhere, and parts that stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping

import jax

from jaxmed.core import Network, PyTree, flatten_paths, transplant
from jaxmed.core._made import made_by


def pretrained(
    network: Network,
    params: PyTree,
    state: PyTree | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    only: str = "",
    strict: bool = True,
) -> Network:
    """The network, begun with given parameters instead of fresh ones.

    Whatever wraps it sees the given ones as its beginning: a teacher, an ensemble's members,
    :func:`l2_sp`.

    Args:
        network: any network.
        params: a nested dict to copy parameters from.
        state: one to copy state from (running statistics).
        rename: as :func:`~jaxmed.core.transplant` takes it, of both.
        only: copy only to paths in which this regular expression is found; ``"^(?!head)"`` leaves
            the head fresh.
        strict: whether everything selected must find its place.

    Returns:
        The network; ``apply`` is the same.

    Raises:
        ValueError: at ``init``, if something has no place: names all such paths.

    >>> import flax.linen as nn, jax.numpy as jnp, jaxmed as jm
    >>> network = pretrained(jm.from_linen(nn.Dense(2)), {"kernel": jnp.ones((3, 2))})
    >>> params, _ = network.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> params["kernel"].tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """

    def init(key, inputs):
        fresh, fresh_state = network.init(key, inputs)
        options = {"rename": rename, "only": only, "strict": strict}
        begun = transplant(fresh, params, **options)
        if state is not None and jax.tree.leaves(state):
            fresh_state = transplant(fresh_state, state, **options)
        return begun, fresh_state

    return network._replace(init=init)


def frozen(network: Network, only: str = "", *, evaluate: bool = False) -> Network:
    """The network with parameters that do not learn.

    They are state, not parameters: they have no gradient, no decay, and no memory in an optimizer.
    A frozen trunk under heads that learn is ``with_heads(frozen(trunk), {...})``.

    Args:
        network: any network.
        only: a regular expression: the parameters to freeze; all by default.
        evaluate: whether it runs as in evaluation in training too: no dropout, running statistics
            used and not updated. What one wants of a trunk that is frozen whole.

    Returns:
        The network, with the learning parameters, by path, as parameters, and
        ``{"frozen": ..., "network": ...}`` as state.

    Raises:
        ValueError: at ``init``, if no parameter matches.

    >>> import flax.linen as nn, jax.numpy as jnp, jaxmed as jm
    >>> network = frozen(jm.from_linen(nn.Dense(2)), "kernel$")
    >>> params, state = network.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> sorted(params), sorted(state["frozen"])
    (['bias'], ['kernel'])
    """

    def init(key, inputs):
        params, state = network.init(key, inputs)
        learning, kept = divide(params, only)
        return learning, {"frozen": kept, "network": state}

    def apply(params, state, inputs, *, key=None, train=False):
        train = train and not evaluate
        whole = join(params, jax.lax.stop_gradient(state["frozen"]))
        endpoints, after = network.apply(whole, state["network"], inputs, key=key, train=train)
        return endpoints, {**state, "network": after}

    return made_by(Network(init, apply), "frozen", network=network, only=only, evaluate=evaluate)


def divide(tree: PyTree, pattern: str) -> tuple[dict, dict]:
    """Two nested dicts of one: the leaves in whose path the pattern is not found, and is.

    Raises:
        ValueError: if it is found in none.
    """
    expression = re.compile(pattern)

    def walk(node: dict, path: str) -> tuple[dict, dict]:
        without, having = {}, {}
        for name, child in node.items():
            at = f"{path}/{name}" if path else str(name)
            if isinstance(child, dict) and child:
                for side, part in zip((without, having), walk(child, at)):
                    if part:
                        side[name] = part
            else:  # a leaf; or nothing at all, which has its place too
                (having if expression.search(at) else without)[name] = child
        return without, having

    without, having = walk(tree, "")
    if not jax.tree.leaves(having):
        raise ValueError(f"no parameter matches {pattern!r}; there are {_paths(tree)}")
    return without, having


def join(one: dict, other: dict) -> dict:
    """What :func:`divide` took apart."""
    both = one.keys() & other.keys()
    return {**one, **other, **{name: join(one[name], other[name]) for name in both}}


def _paths(tree: PyTree) -> list[str]:
    return list(flatten_paths(tree))[:20]
