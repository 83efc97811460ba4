"""Behaviours: from the values of actions to the probabilities with which they are taken."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.paradigms.base._schedules import Scheduled

Behaviour = Callable[[Array, Array], Array]
"""``(values, step) -> probabilities``, both ``(..., actions)``; ``step`` counts the iterations."""


def epsilon_greedy(epsilon: Scheduled = 0.0) -> Behaviour:
    """Take the best action, and any of all with the probability epsilon.

    Args:
        epsilon: in [0, 1], or a function of the step to it, such as
            ``optax.linear_schedule(1.0, 0.05, 10_000)`` or ``optax.exponential_decay``; 0 is
            greedy. What a function gives beyond [0, 1] counts as 0 or 1.

    Returns:
        The behaviour. Actions that are equally good are equally probable.

    Raises:
        ValueError: for a number outside [0, 1].

    >>> values = jnp.array([1.0, 2.0, 2.0, 0.0])
    >>> epsilon_greedy(0.2)(values, jnp.array(0)).round(3).tolist()
    [0.05..., 0.45..., 0.45..., 0.05...]
    """
    if isinstance(epsilon, str) or (not callable(epsilon) and not 0 <= epsilon <= 1):
        raise ValueError(f"epsilon must be in [0, 1], got {epsilon!r}")

    def probabilities(values: Array, step: Array) -> Array:
        share = jnp.clip(epsilon(step), 0, 1) if callable(epsilon) else epsilon
        best = (values == values.max(-1, keepdims=True)).astype(values.dtype)
        best = best / best.sum(-1, keepdims=True)
        return share / values.shape[-1] + (1 - share) * best

    return probabilities


def boltzmann(temperature: Scheduled = 1.0) -> Behaviour:
    """Take actions with probabilities that grow with their values: ``softmax(values / T)``.

    At a temperature of 1 it is the policy whose logits the values are, as :func:`actor_critic` and
    :func:`ppo` learn it.

    Args:
        temperature: T, positive, or a function of the step to it; where that falls to 0 or below
            the best action is taken.

    Returns:
        The behaviour.

    Raises:
        ValueError: for a number that is not positive.
    """
    if isinstance(temperature, str) or (not callable(temperature) and not temperature > 0):
        raise ValueError(f"temperature must be positive, got {temperature!r}")

    def probabilities(values: Array, step: Array) -> Array:
        t = temperature(step) if callable(temperature) else temperature
        # Below the best first, so that a temperature of next to nothing leaves no infinities.
        below = values - values.max(-1, keepdims=True)
        return jax.nn.softmax(below / jnp.maximum(t, jnp.finfo(jnp.float32).tiny))

    return probabilities


def drawn(key: Array, probabilities: Array) -> Array:
    """Actions of these probabilities, ``(..., actions)``; NaN draws the first."""
    u = jax.random.uniform(key, probabilities.shape[:-1])
    cumulated = jnp.cumsum(probabilities, axis=-1)
    # Below the last sum, whatever it was rounded to: an action of probability 0 is never drawn.
    u = jnp.minimum(u * cumulated[..., -1], jnp.nextafter(cumulated[..., -1], jnp.float32(0)))
    return (u[..., None] >= cumulated).sum(-1).astype(jnp.int32)
