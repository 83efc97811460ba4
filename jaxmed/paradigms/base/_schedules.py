"""Numbers that may change with the step, which an objective then keeps in its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from jaxmed.core import Array, PyTree

Scheduled = float | Callable[[Array], Array | float]
"""A number, or a function of the step to one, such as an Optax schedule."""


def clock(*numbers: Scheduled) -> dict[str, Array]:
    """What an objective's own state needs for them: the ``step``, if any changes with it."""
    return {"step": jnp.zeros((), jnp.int32)} if any(map(callable, numbers)) else {}


def at(number: Scheduled, own: Mapping[str, PyTree]) -> Array | float:
    """The number now, by the objective's own state."""
    return number(own["step"]) if callable(number) else number


def ticked(own: dict[str, PyTree]) -> dict[str, PyTree]:
    """The own state one step on, where it has a step."""
    return {**own, "step": own["step"] + 1} if "step" in own else own
