"""A network's program: traced, and derivatives in the values that it computes on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Network, PyTree
from jaxmed.core._program import Program, run_equation, trace
from jaxmed.explain._target import Target, scorer


def traced(
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: PyTree,
    inside: Callable[[Any], bool] | None = None,
) -> Program:
    """The program of a network's endpoints, of the leaves of parameters, state and inputs."""

    def apply(params, state, inputs):
        return network.apply(params, state, inputs)[0]

    return trace(apply, (params, state, inputs), inside=inside)


def value_gradients(
    program: Program, leaves: list[Any], numbers: Collection[int], target: Target
) -> tuple[dict[int, Array], dict[int, Array]]:
    """Values of a program by their numbers, and the gradient of the score in each."""
    values = program.run(leaves)[1]

    def total(added):
        def change(step, given):
            if not any(number in added for number in step.outputs):
                return None
            results = run_equation(step.home, step.equation, given)
            return [
                result + added[number] if number in added else result
                for number, result in zip(step.outputs, results, strict=True)
            ]

        given = [
            leaf + added[number] if number in added else leaf
            for number, leaf in zip(program.inputs, leaves, strict=True)
        ]
        return scorer(target)(program.run(given, change)[0]).astype(jnp.float32).sum()

    found = {number: values[number] for number in numbers}
    return found, jax.grad(total)({n: jnp.zeros_like(value) for n, value in found.items()})
