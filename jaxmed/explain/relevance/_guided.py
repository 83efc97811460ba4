"""Guided backpropagation: gradients that only pass what raises the score."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxmed.core import Array, Key, Network, PyTree
from jaxmed.core._program import called, is_call, opened
from jaxmed.explain._target import Target, scorer
from jaxmed.explain.relevance._traced import traced


def guided_backprop(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
) -> Array:
    """Gradient, of which each rectifier passes back only what is positive.

    It fails the test of random parameters: it draws edges of the image whatever the network has
    learned (Adebayo et al. 2018; `tests` hold a network of ours to it). It is here to be compared.

    Args:
        key: not used; part of the common signature.
        network: a network with rectifiers: ``jax.nn.relu``, ``relu6``, those of
            ``flax.linen``, or ``jnp.maximum(x, 0)``; other activations have their own derivative.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.

    Returns:
        A signed map in the inputs' shape.

    Raises:
        ValueError: if the network has no rectifier.

    References:
        Springenberg et al. (2015), Striving for simplicity, ICLR workshop. Adebayo et al. (2018),
        Sanity checks for saliency maps, NeurIPS.
    """
    del key

    program = traced(network, params, state, inputs, _is_relu)
    if not any(map(_rectifies, program.steps)):
        raise ValueError(
            "guided_backprop: the network has no rectifier (jax.nn.relu) outside loops"
        )

    def change(step, given):
        return [_guided(given[0])] if _rectifies(step) else None

    def total(images):
        leaves = jax.tree.leaves((params, state, images))
        return scorer(target)(program.run(leaves, change)[0]).astype(jnp.float32).sum()

    return jax.grad(total)(jnp.asarray(inputs))


def _is_relu(call) -> bool:
    """Whether a call, whatever it is wrapped in, is a maximum with 0, cut off above or not."""
    jaxpr, _ = opened(called(call))
    if not jaxpr.eqns:
        return False
    first, *rest = jaxpr.eqns
    if is_call(first):
        return not rest and _is_relu(first)
    cut_off = all(one.primitive.name == "min" and _is_constant(one.invars[1]) for one in rest)
    return _is_maximum(first) and cut_off and len(rest) < 2


def _is_maximum(equation) -> bool:
    if equation.primitive.name != "max" or isinstance(equation.invars[0], Literal):
        return False
    other = equation.invars[1]
    return _is_constant(other) and bool((other.val == 0).all())


def _is_constant(value) -> bool:
    return isinstance(value, Literal)


def _rectifies(step) -> bool:
    return _is_maximum(step.equation)


@jax.custom_vjp
def _guided(x):
    return jnp.maximum(x, 0)


def _forward(x):
    return jnp.maximum(x, 0), x


def _backward(x, g):
    return (jnp.where(x > 0, jnp.maximum(g, 0), 0),)


_guided.defvjp(_forward, _backward)
