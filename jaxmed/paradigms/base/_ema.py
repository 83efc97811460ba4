"""Exponential moving averages: of a network's parameters, and of what batches show."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Array, PyTree
from jaxmed.paradigms.base._schedules import Scheduled


def ema_copy(params: PyTree, state: PyTree) -> dict[str, PyTree]:
    """The start of an average: a copy of parameters, with running statistics of its own.

    A copy: one that shared its buffers with what it averages could not be donated.
    """
    return jax.tree.map(jnp.copy, {"params": params, "state": state})


def ema_update(
    teacher: dict[str, PyTree], params: PyTree, decay: float | Array
) -> dict[str, PyTree]:
    """The average one step on, ``decay * teacher + (1 - decay) * params``."""
    averaged = optax.incremental_update(params, teacher["params"], 1 - decay)
    return {**teacher, "params": averaged}


def ema_decay(decay: Scheduled, step: Array) -> Array:
    """The decay at a step: a function of the step as it is, a number by :func:`warmup_decay`."""
    return jnp.asarray(decay(step)) if callable(decay) else warmup_decay(decay, step)


def warmup_decay(decay: float, step: Array) -> Array:
    """``min(decay, (step + 1) / (step + 10))``: a short average forgets its start."""
    step = step.astype(jnp.float32)
    return jnp.minimum(decay, (step + 1) / (step + 10))


def batch_average(old: Array, values: Array, weight: Array | None, decay: float | Array) -> Array:
    """The moving average of the batch's mean; as it was if no example counts.

    Args:
        old: ``(features,)``.
        values: ``(batch, ..., features)``, averaged over all axes but the last.
        weight: ``(batch,)``, 0 for a padding row; ``None`` for all ones.
        decay: of the average.
    """
    values = values.reshape(values.shape[0], -1, values.shape[-1]).mean(1)
    counted = jnp.ones(values.shape[0]) if weight is None else weight
    total = counted.sum()
    # A padding row may hold anything: select, for 0 * nan is nan.
    summed = jnp.where(counted[:, None] > 0, values * counted[:, None], 0).sum(0)
    mean = summed / jnp.maximum(total, 1)
    return jnp.where(total > 0, decay * old + (1 - decay) * mean, old)


def check_decay(decay: float) -> None:
    """Refuse a decay outside [0, 1)."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}")


def check_ema_decay(decay: Scheduled) -> None:
    """Refuse a number outside [0, 1); what a function of the step gives is its own affair."""
    if not callable(decay):
        check_decay(decay)
