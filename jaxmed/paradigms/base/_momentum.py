"""Momentum encoders: a moving average of parameters, with running statistics of its own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Array, PyTree
from jaxmed.paradigms.base._schedules import Scheduled


def follower(params: PyTree, state: PyTree) -> dict[str, PyTree]:
    """A copy of parameters and state that will follow them.

    A copy: one that shared its buffers with what it follows could not be donated.
    """
    return jax.tree.map(jnp.copy, {"params": params, "state": state})


def followed(teacher: dict[str, PyTree], params: PyTree, decay: float | Array) -> dict[str, PyTree]:
    """The follower one step on, ``decay * teacher + (1 - decay) * params``."""
    averaged = optax.incremental_update(params, teacher["params"], 1 - decay)
    return {**teacher, "params": averaged}


def teaching(decay: Scheduled, step: Array) -> Array:
    """The decay of a mean teacher: a function of the step as it is, a number :func:`young`."""
    return decay(step) if callable(decay) else young(decay, step)


def young(decay: float, step: Array) -> Array:
    """``min(decay, (step + 1) / (step + 10))``: a young average forgets its start."""
    step = step.astype(jnp.float32)
    return jnp.minimum(decay, (step + 1) / (step + 10))


def check_decay(decay: float) -> None:
    """Refuse a decay outside [0, 1)."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}")


def check_teaching(decay: Scheduled) -> None:
    """Refuse a number outside [0, 1); what a function of the step gives is its own affair."""
    if not callable(decay):
        check_decay(decay)
