"""Derivatives in what a network computes on the way to its answer."""

from __future__ import annotations

import jax
from jax.extend.core import Literal

from jaxmed.core import Array, Network, PyTree, pick
from jaxmed.core._program import Program
from jaxmed.explain._target import Target
from jaxmed.explain.relevance._traced import traced, value_gradients


def endpoint_gradient(
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: PyTree,
    target: Target,
    *,
    endpoint: str = "features",
    level: int = -1,
) -> tuple[Array, Array]:
    """An endpoint and the gradient of the score in it.

    The network's program is traced and run again from there, so nothing has to be known of how the
    network is written, but the endpoint must lie on the way to the answer.

    Args:
        network: any network.
        params: its parameters.
        state: its state.
        inputs: what it takes.
        target: a class, one a case, or a function of the endpoints.
        endpoint: the name of the endpoint.
        level: which of a tuple of maps, as of ``pyramid``.

    Returns:
        Its values, and the gradient, both in the endpoint's shape.

    Raises:
        ValueError: if there is no such endpoint or level, or the answer does not depend on it.
    """
    program = traced(network, params, state, inputs)
    place = _place(program, endpoint, level)
    number = program.outputs[place]
    if isinstance(number, Literal) or not _matters(program, number, place):
        raise ValueError(
            f"the answer does not depend on the endpoint {endpoint!r}"
            f"{'' if _single(program, endpoint) else f', level {level}'}: it lies beside the way "
            f"from the image to the answer. Choose another, such as "
            f"{_others(program, place) or 'one that the network computes it from'}"
        )
    leaves = jax.tree.leaves((params, state, inputs))
    values, slopes = value_gradients(program, leaves, [number], target)
    return values[number], slopes[number]


def _tree(program: Program):
    return jax.tree.unflatten(program.structure, range(len(program.outputs)))


def _single(program: Program, endpoint: str) -> bool:
    return not isinstance(_tree(program)[endpoint], tuple | list)


def _place(program: Program, endpoint: str, level: int) -> int:
    found = pick(_tree(program), endpoint, "network")
    if not isinstance(found, tuple | list):
        return found
    if not -len(found) <= level < len(found):
        raise ValueError(f"{endpoint!r} has {len(found)} levels, there is no level {level}")
    return found[level]


def _matters(program: Program, number: int, place: int) -> bool:
    """Whether what the network answers (or else any other endpoint) depends on a value."""
    tree = _tree(program)
    answers = jax.tree.leaves(tree["logits"]) if "logits" in tree else range(len(program.outputs))
    wanted = {program.outputs[i] for i in answers if not isinstance(program.outputs[i], Literal)}
    if place in answers and "logits" in tree:
        return True
    if "logits" not in tree:
        wanted -= {number}
    for step in reversed(program.steps):
        if wanted & set(step.outputs):
            wanted |= {i for i in step.inputs if not isinstance(i, Literal)}
    return number in wanted


def _others(program: Program, place: int) -> str:
    named = []
    for name, found in _tree(program).items():
        if name == "logits" or isinstance(found, tuple | list | dict) or found == place:
            continue
        number = program.outputs[found]
        if not isinstance(number, Literal) and _matters(program, number, found):
            named.append(repr(name))
    return ", ".join(named)
