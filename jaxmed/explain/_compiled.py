"""Methods compiled once for a network, whatever its parameters and images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


def compiled(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is compiled at its first call, and again only for other shapes.

    A method's network is a part of the program, and its parameters, state and images are not: so
    one program serves random parameters, other seeds and moved images, as tests of explanations
    ask for. Options are fixed beforehand: ``compiled(partial(lrp, gamma=0.1))``.

    Args:
        method: with the common signature.

    Returns:
        A function with that signature.

    Examples:
        >>> from jaxmed import explain
        >>> from jaxmed.core import from_functions
        >>> net = from_functions(lambda key, x: {}, lambda params, x: (x**2).sum((1, 2)))
        >>> explain.compiled(explain.gradient)(None, net, {}, {}, jnp.ones((1, 2, 1)), 1).ravel()
        Array([2., 2.], dtype=float32)
    """

    @partial(jax.jit, static_argnames=("network", "fixed"))
    def program(key, params, state, inputs, given, *, network, fixed):
        target = given if fixed is None else fixed
        return method(key, network, params, state, inputs, target)

    def call(key, network, params, state, inputs, target):
        fixed, given = split_target(target)
        return program(key, params, state, inputs, given, network=network, fixed=fixed)

    return call


def split_target(target: Any) -> tuple[Any, Any]:
    """A target as what is a part of a program, and what is given to it."""
    if callable(target) or isinstance(target, int):
        return target, None
    return None, jnp.asarray(target)
