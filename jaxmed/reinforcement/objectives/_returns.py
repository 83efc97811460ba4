"""Returns along episodes: lambda-returns, and generalised advantages."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.reinforcement.objectives._transitions import check_unit


def lambda_returns(
    reward: Array,
    terminated: Array,
    next_value: Array,
    *,
    discount: float,
    trace: float,
    truncated: Array | None = None,
) -> Array:
    r"""Returns between one step and all of them.

    .. math:: G_t = r_t + \gamma \left[ (1 - \lambda) v'_t + \lambda G_{t+1} \right]

    with :math:`v'_t` the value of the state that step t has reached. Where the episode has
    terminated the bracket is 0; where it was truncated, and at the end of the sequence, it is
    :math:`v'_t`. A trace of 0 gives the target of TD(0), a trace of 1 the sum of all rewards.

    Args:
        reward: of each step, ``(..., time)``.
        terminated: whether each step ended its episode, of the same shape.
        next_value: value of the state that each step has reached, of the same shape; not of the one
            from which a new episode begins.
        discount: of a step.
        trace: lambda.
        truncated: whether each step was the last before its episode was broken off; never by
            default.

    Returns:
        The returns, ``(..., time)``.

    Raises:
        ValueError: if shapes differ, or ``discount`` or ``trace`` is outside [0, 1].

    References:
        Sutton and Barto (2018), Reinforcement learning: an introduction, chapter 12.

    >>> ends = jnp.array([False, False, True])
    >>> reward, value = jnp.array([0.0, 0.0, 1.0]), jnp.array([5.0, 7.0, 9.0])
    >>> lambda_returns(reward, ends, value, discount=0.5, trace=1.0).tolist()
    [0.25, 0.5, 1.0]
    >>> lambda_returns(reward, ends, value, discount=0.5, trace=0.0).tolist()
    [2.5, 3.5, 1.0]
    """
    check_unit(discount, "discount")
    check_unit(trace, "trace")
    if truncated is None:
        truncated = jnp.zeros(jnp.shape(terminated), bool)
    shapes = [jnp.shape(x) for x in (reward, terminated, truncated, next_value)]
    if len(set(shapes)) != 1 or not shapes[0]:
        raise ValueError(
            "reward, terminated, truncated and next_value have one shape, (..., time), got "
            f"{', '.join(map(str, shapes))}"
        )
    onward = discount * (1 - terminated.astype(jnp.float32))
    share = jnp.where(truncated, 0.0, trace)
    last = next_value[..., -1]

    def back(later: Array, at: tuple[Array, ...]) -> tuple[Array, Array]:
        r, factor, kept, value = at
        now = r + factor * ((1 - kept) * value + kept * later)
        return now, now

    steps = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), (reward, onward, share, next_value))
    _, found = jax.lax.scan(back, last, steps, reverse=True)
    return jnp.moveaxis(found, 0, -1)


def advantages(
    reward: Array,
    terminated: Array,
    value: Array,
    next_value: Array,
    *,
    discount: float,
    trace: float,
    truncated: Array | None = None,
) -> Array:
    """Generalised advantages: by how much the :func:`lambda_returns` exceed the values.

    Args:
        reward: of each step, ``(..., time)``.
        terminated: whether each step ended its episode, of the same shape.
        value: value of the state that each step began in, of the same shape.
        next_value: value of the state that it has reached, of the same shape.
        discount: of a step.
        trace: lambda.
        truncated: whether each step was the last before its episode was broken off; never by
            default.

    Returns:
        The advantages, ``(..., time)``.

    Raises:
        ValueError: if shapes differ, or ``discount`` or ``trace`` is outside [0, 1].

    References:
        Schulman et al. (2016), High-dimensional continuous control using generalized advantage
        estimation, ICLR.
    """
    if jnp.shape(value) != jnp.shape(reward):
        raise ValueError(
            f"value and reward have one shape, got {jnp.shape(value)} and {jnp.shape(reward)}"
        )
    returns = lambda_returns(
        reward, terminated, next_value, discount=discount, trace=trace, truncated=truncated
    )
    return returns - value
