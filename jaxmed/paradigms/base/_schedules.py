"""Numbers that may change with the step, and the objective's own count of steps for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer

from jaxmed.core import Array, PyTree

Scheduled = float | Callable[[Array], Array | float]
"""A number, or a function of the step to one, such as an Optax schedule."""


def check_weight(weight: Scheduled, name: str = "weight") -> None:
    """Refuse a weight of a loss that would reward what it is to keep small.

    A function of the step, and a number that is traced, can only be known at each step.

    Raises:
        ValueError: for a weight that is negative, infinite or NaN.
    """
    if callable(weight) or isinstance(weight, Tracer):
        return
    if not 0 <= weight < float("inf"):
        raise ValueError(f"{name} must be finite and not negative, got {weight}")


def counter() -> dict[str, Array]:
    """The own state of an objective that counts its steps: ``{"step": 0}``."""
    return {"step": jnp.zeros((), jnp.int32)}


def counter_for(*numbers: Scheduled) -> dict[str, Array]:
    """A counter where any of the numbers changes with the step, else nothing."""
    return counter() if any(map(callable, numbers)) else {}


def value_at(number: Scheduled, own: Mapping[str, PyTree]) -> Array | float:
    """The number at the step that the objective's own state counts."""
    return number(own["step"]) if callable(number) else number


def advance(state: PyTree, **changes: Any) -> PyTree:
    """The whole state with changes to the objective's own, and its step counted if it counts."""
    own = {**state["obj"], **changes}
    return {**state, "obj": {**own, "step": own["step"] + 1} if "step" in own else own}
