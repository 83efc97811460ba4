"""Randomisation: a map that does not change with what was learned explains nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

from jaxmed.core import Key, Network, PyTree, Variables, flatten_paths, stream, unflatten_paths
from jaxmed.core._program import Program
from jaxmed.explain._target import Target
from jaxmed.explain.checks._likeness import rank_correlation
from jaxmed.explain.relevance._traced import traced


class Randomised(NamedTuple):
    """How alike maps stay as layers are made random, from the answer down.

    Attributes:
        layers: their paths; each is random together with those before it.
        likeness: (layers, batch), rank correlation with the map of the network as it is. The last
            row is of a network with no parameter left.
    """

    layers: tuple[str, ...]
    likeness: np.ndarray


def parameter_randomisation(
    key: Key,
    method: Callable,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: PyTree,
    target: Target,
    *,
    layers: str = "cascade",
    absolute: bool = True,
) -> Randomised:
    """Compare maps with those of the network whose parameters are put in a random order.

    A layer's parameters keep their values, each array in a random order of its own, so that scales
    stay and pretrained networks can be tested. Layers follow each other as the image meets them in
    the traced program, the last one first.

    Args:
        key: random key of the orders and of the method.
        method: a method with the common signature; :func:`compiled` makes the cascade quicker.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: what it takes.
        target: a class, one a case, or a function of the endpoints.
        layers: ``"cascade"``, one after the other, a map for each; or ``"all"`` at once.
        absolute: whether signs are left out, as in the paper.

    Returns:
        Rank correlations. A method passes if they fall to 0; what passes is not thereby right.

    Raises:
        ValueError: if ``layers`` is neither.

    References:
        Adebayo et al. (2018), Sanity checks for saliency maps, NeurIPS.
    """
    if layers not in ("cascade", "all"):
        raise ValueError(f'layers is "cascade" or "all", got {layers!r}')
    own = stream(key, "method")

    def explain(params):
        return method(own, network, params, state, inputs, target)

    original = explain(params)
    groups = _layers(network, params, state, inputs)
    if layers == "all":
        groups = {"all": [path for paths in groups.values() for path in paths]}
    flat = flatten_paths(params)
    rows = []
    for paths in groups.values():
        for path in paths:
            order = stream(key, "order", path)
            flat[path] = jax.random.permutation(order, flat[path].ravel()).reshape(flat[path].shape)
        found = explain(unflatten_paths(flat))
        rows.append(rank_correlation(original, found, absolute=absolute))
    return Randomised(tuple(groups), np.stack(rows))


def label_randomisation(
    key: Key,
    method: Callable,
    network: Network,
    trained: Variables,
    permuted: Variables,
    inputs: PyTree,
    target: Target,
    *,
    absolute: bool = True,
) -> np.ndarray:
    """Compare maps with those of the network trained on labels in a random order.

    Args:
        key: random key of the method.
        method: a method with the common signature.
        network: any network.
        trained: its parameters and state.
        permuted: those after the same training on permuted labels.
        inputs: what it takes.
        target: a class, one a case, or a function of the endpoints.
        absolute: whether signs are left out.

    Returns:
        (batch,) rank correlations; NaN where a map is constant.

    References:
        Adebayo et al. (2018), as of :func:`parameter_randomisation`.
    """
    own = stream(key, "method")
    first, second = (
        method(own, network, variables.params, variables.state, inputs, target)
        for variables in (trained, permuted)
    )
    return rank_correlation(first, second, absolute=absolute)


def _layers(network: Network, params: PyTree, state: PyTree, inputs: PyTree) -> dict:
    """Paths of parameters by the layer they stand in, the layer that is met last first."""
    program = traced(network, params, state, inputs)
    paths = [*flatten_paths(params)]
    met = _first_met(program, len(paths), len(jax.tree.leaves((params, state))))
    groups: dict[str, list[str]] = {}
    for place in sorted(range(len(paths)), key=lambda i: -met.get(i, -1)):
        path = paths[place]
        groups.setdefault(path.rpartition("/")[0] or path, []).append(path)
    return groups


def _first_met(program: Program, parameters: int, images: int) -> dict[int, int]:
    """Of each parameter the number of the first step in which it meets the image."""
    of_image = set(program.inputs[images:])
    made_of = {number: {i} for i, number in enumerate(program.inputs[:parameters])}
    met: dict[int, int] = {}
    for place, step in enumerate(program.steps):
        numbers = [i for i in step.inputs if not isinstance(i, Literal)]
        parts = set().union(*(made_of.get(i, set()) for i in numbers if i not in of_image))
        if of_image & set(numbers):
            of_image |= set(step.outputs)
            for part in parts:
                met.setdefault(part, place)
        elif parts:
            made_of |= dict.fromkeys(step.outputs, parts)
    return met
