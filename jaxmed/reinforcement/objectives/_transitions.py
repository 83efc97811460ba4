"""Batches of transitions: what objectives read of them, and refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jaxmed.core import (
    Array,
    Batch,
    Inputs,
    Network,
    PyTree,
    Variables,
    network_inputs,
    pick,
    weighted_mean,
)

Distance = Literal["squared", "huber"]
"""Half the square of an error, or Huber's loss of it, which is straight beyond 1."""


def check_unit(number: float, name: str) -> None:
    """Refuse a number outside [0, 1]."""
    if isinstance(number, str) or not 0 <= number <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {number!r}")


def check_distance(distance: str) -> None:
    """Refuse a distance that there is not."""
    if distance not in ("squared", "huber"):
        raise ValueError(f"distance must be 'squared' or 'huber', got {distance!r}")


def next_of(inputs: Inputs) -> Inputs:
    """The names of what a network is given of the next state, by those for the state itself."""
    if isinstance(inputs, str):
        return f"next_{inputs}"
    names = inputs if isinstance(inputs, Mapping) else {name: name for name in inputs}
    return {known: f"next_{name}" for known, name in names.items()}


def outputs_at(
    network: Network,
    variables: Variables,
    batch: Batch,
    inputs: Inputs,
    output: str,
    *,
    key: Any = None,
    train: bool = False,
) -> tuple[Array, PyTree]:
    """An endpoint of the network at what a batch holds, and the network's state."""
    endpoints, state = network.apply(
        variables.params, variables.state, network_inputs(batch, inputs), key=key, train=train
    )
    return pick(endpoints, output, "network"), state


def of_action(values: Array, action: Array) -> Array:
    """The values of the actions taken.

    Args:
        values: ``(batch, ..., actions)``.
        action: whole numbers, ``(batch, ...)``.

    Raises:
        ValueError: if the shapes do not belong together, an action is no whole number, or there is
            none such; where that is only known as the program runs, its value is NaN.
    """
    if values.ndim < 2 or action.shape != values.shape[:-1]:
        raise ValueError(
            f"values are (batch, ..., actions) and actions (batch, ...), got {values.shape} and "
            f"{action.shape}: does the network see the observation that the actions belong to?"
        )
    if not jnp.issubdtype(action.dtype, jnp.integer):
        raise ValueError(f"actions are whole numbers, got {action.dtype}")
    actions = values.shape[-1]
    there_is = (action >= 0) & (action < actions)
    if not isinstance(there_is, Tracer) and not bool(there_is.all()):
        wrong = int(np.asarray(action)[~np.asarray(there_is)][0])
        raise ValueError(f"there are actions 0 to {actions - 1}, not {wrong}")
    taken = jnp.take_along_axis(values, action[..., None].astype(jnp.int32), axis=-1, mode="clip")
    return jnp.where(there_is, taken[..., 0], jnp.nan)


def discounted(batch: Batch, discount: float, like: Array) -> tuple[Array, Array]:
    """The rewards up to the next state, and the factor on what is expected from there.

    The reward is ``(batch, ...)``; where the batch has ``steps``, how many steps lie between
    its two states, it is ``(batch, most steps, ...)``, of which each example counts its first ones.

    Args:
        batch: ``reward``, ``terminated``, perhaps ``steps``.
        discount: of a step.
        like: what both are to be added to, ``(batch, ...)``.

    Returns:
        Both broadcast against ``like``. The factor is 0 where the episode has terminated, and
        never for being truncated.
    """
    reward = pick(batch, "reward").astype(jnp.float32)
    terminated = pick(batch, "terminated").astype(jnp.float32)
    factor = jnp.float32(discount)
    if "steps" in batch:
        steps = batch["steps"]
        if reward.ndim < 2 or steps.shape != reward.shape[:1]:
            raise ValueError(
                "with 'steps' of the shape (batch,) the reward is (batch, most steps), got "
                f"{steps.shape} and {reward.shape}"
            )
        k = jnp.arange(reward.shape[1])
        weight = jnp.where(k < steps[:, None], factor**k, 0)
        reward = (jnp.where(_as(weight, reward) > 0, reward, 0) * _as(weight, reward)).sum(1)
        factor = factor**steps
    goes_on = _as(1 - _rows(terminated, "terminated", like), like)
    return (
        _as(_rows(reward, "reward", like), like),
        _as(factor * jnp.ones(len(like)), like) * goes_on,
    )


def reduced(values: Array, batch: Batch) -> Array:
    """The mean over the examples that count, of values ``(batch, ...)``.

    Where the batch has an ``importance``, the value of each example is multiplied by it: a
    correction for how examples were drawn, by priority or by another policy. It does not enter the
    count that is divided by, as ``weight`` does.
    """
    each = values.reshape(len(values), -1).mean(1)
    importance = batch.get("importance")
    if importance is not None:
        if importance.shape != each.shape:
            raise ValueError(f"importance is {each.shape}, (batch,), got {importance.shape}")
        each = each * importance
    return weighted_mean(each, batch.get("weight"))


def plain(batch: Batch) -> Batch:
    """What a mean over a batch counts by, without what corrects for how examples were drawn."""
    return {"weight": batch["weight"]} if "weight" in batch else {}


def measured(error: Array, value: Array, batch: Batch) -> dict[str, Array]:
    """The metrics of what learns values: means that no ``importance`` changes."""
    still = jax.lax.stop_gradient((jnp.abs(error), value))
    return {
        name: reduced(x, plain(batch)) for name, x in zip(("td_error", "value"), still, strict=True)
    }


def distance_of(error: Array, distance: Distance) -> Array:
    """Half the square of an error, or Huber's loss of it."""
    return jnp.square(error) / 2 if distance == "squared" else optax.losses.huber_loss(error)


def _rows(values: Array, name: str, like: Array) -> Array:
    if values.shape != like.shape[: values.ndim] or values.ndim == 0:
        raise ValueError(
            f"{name} has the shape {values.shape}, which is no beginning of {like.shape}, "
            "the shape of the values it belongs to"
        )
    return values


def _as(values: Array, like: Array) -> Array:
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))
