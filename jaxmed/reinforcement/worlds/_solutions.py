"""Exact solutions of worlds: what a policy is worth, and which is best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.reinforcement.worlds._world import World

Floats = NDArray[np.float64]
_BETTER = 1e-10  # What an action must gain to be preferred to the policy's: rounding gains less.


class Solution(NamedTuple):
    """What is best in a world; made by :func:`policy_iteration` and :func:`value_iteration`.

    Attributes:
        values: of each state, ``(states,)``.
        action_values: of each action in each state, ``(states, actions)``.
        policy: the best action in each state, ``(states,)``, the first where several are.
    """

    values: Floats
    action_values: Floats
    policy: NDArray[np.int64]


def policy_evaluation(
    world: World, policy: ArrayLike | None = None, *, discount: float, horizon: int | None = None
) -> Floats:
    """What each state is worth under a policy, exactly.

    Args:
        world: the tables.
        policy: each state's action, ``(states,)``, or their probabilities, ``(states, actions)``;
            all actions alike by default.
        discount: of a step, in [0, 1].
        horizon: steps that are left; by default as many as there will be.

    Returns:
        The values, ``(states,)``, of one system of linear equations (Bellman's).

    Raises:
        ValueError: if the policy is none, or the discount is outside [0, 1]; or if it is 1 without
            a horizon, and rewards go on for ever.

    >>> from jaxmed.reinforcement import random_walk
    >>> policy_evaluation(random_walk(4), discount=1.0, horizon=2).round(3).tolist()
    [0.0, 0.0, 0.0, 0.25, 0.5, 0.0]
    """
    _check_discount(discount)
    chosen = _probabilities(world, policy)
    if horizon is not None:
        values = np.zeros(world.states)
        for _ in range(_check_horizon(horizon)):
            values = (chosen * _backed_up(world, values, discount)).sum(1)
        return values
    reward = (chosen * (world.probability * world.reward).sum(2)).sum(1)
    weight = chosen[:, :, None] * world.probability * ~world.terminated
    onward = np.zeros((world.states, world.states))
    rows = np.broadcast_to(np.arange(world.states)[:, None, None], weight.shape)
    np.add.at(onward, (rows, world.successor), weight)
    solved = np.ones(world.states, bool)
    if discount == 1:
        solved = _ending(chosen, world, onward)
        if np.abs(reward[~solved]).max(initial=0) > 0:
            state = int(np.flatnonzero(~solved & (reward != 0))[0])
            raise ValueError(
                f"from state {state} the policy never comes to an end, and its rewards are not 0: "
                "their sum is infinite. Give a discount below 1, or a horizon"
            )
    values = np.zeros(world.states)
    inner = onward[np.ix_(solved, solved)]
    values[solved] = np.linalg.solve(np.eye(len(inner)) - discount * inner, reward[solved])
    return values


def policy_iteration(world: World, *, discount: float, sweeps: int = 1000) -> Solution:
    """Find what is best by policy iteration, exactly: evaluate, improve, until nothing is better.

    Args:
        world: the tables.
        discount: of a step, in [0, 1]. At 1 each policy on the way must come to an end, or go on
            without rewards.
        sweeps: improvements after which to give up.

    Returns:
        The solution.

    Raises:
        ValueError: if the discount is outside [0, 1], rewards go on for ever, or no policy stays
            the best.

    References:
        Howard (1960), Dynamic programming and Markov processes.

    >>> from jaxmed.reinforcement import frozen_lake
    >>> round(float(policy_iteration(frozen_lake(), discount=0.99).values[0]), 6)
    0.542026
    """
    chosen = np.full((world.states, world.actions), 1 / world.actions)
    for _ in range(sweeps):
        values = policy_evaluation(world, chosen, discount=discount)
        action_values = _backed_up(world, values, discount)
        now = (chosen * action_values).sum(1)
        better = action_values.max(1) > now + _BETTER * np.maximum(1, np.abs(now))
        uncertain = (chosen.max(1) < 1) & (action_values.max(1) > action_values.min(1))
        if not (better | uncertain).any():
            return Solution(values, action_values, _first_best(action_values))
        improved = np.eye(world.actions)[_first_best(action_values)]
        chosen = np.where((better | uncertain)[:, None], improved, chosen)
    raise ValueError(f"no policy is the best after {sweeps} improvements: is the world sound?")


def value_iteration(
    world: World,
    *,
    discount: float,
    horizon: int | None = None,
    tolerance: float = 1e-12,
    sweeps: int = 1_000_000,
) -> Solution:
    """Find what is best by value iteration: Bellman's optimality equation, again and again.

    Args:
        world: the tables.
        discount: of a step, in [0, 1].
        horizon: steps that are left: the solution is then that of the first of them. By default
            there are as many as there will be.
        tolerance: change of a value below which to stop, without a horizon.
        sweeps: after which to give up.

    Returns:
        The solution.

    Raises:
        ValueError: if the discount is outside [0, 1], the horizon is less than 1, or values still
            change after the last sweep.

    References:
        Bellman (1957), Dynamic programming.

    >>> from jaxmed.reinforcement import cliff_walk
    >>> float(value_iteration(cliff_walk(), discount=1.0).values[36])
    -13.0
    """
    _check_discount(discount)
    values = np.zeros(world.states)
    action_values = np.zeros((world.states, world.actions))
    for _ in range(sweeps if horizon is None else _check_horizon(horizon)):
        action_values = _backed_up(world, values, discount)
        new = action_values.max(1)
        change, values = np.abs(new - values).max(), new
        if horizon is None and change <= tolerance:
            break
    else:
        if horizon is None:
            raise ValueError(
                f"values still change after {sweeps} sweeps: with a discount of {discount} rewards "
                "may go on for ever"
            )
    return Solution(values, action_values, _first_best(action_values))


def _backed_up(world: World, values: Floats, discount: float) -> Floats:
    """What each action in each state is worth, where the next state has these values."""
    later = np.where(world.terminated, 0.0, values[world.successor])
    return (world.probability * (world.reward + discount * later)).sum(2)


def _first_best(action_values: Floats) -> NDArray[np.int64]:
    best = action_values.max(1, keepdims=True)
    near = action_values >= best - _BETTER * np.maximum(1, np.abs(best))
    return near.argmax(1)


def _ending(chosen: Floats, world: World, onward: Floats) -> NDArray[np.bool_]:
    """From which states a policy may come to an end."""
    ends = (chosen[:, :, None] * world.probability * world.terminated).sum((1, 2)) > 0
    while (more := ends | (onward[:, ends] > 0).any(1)).sum() > ends.sum():
        ends = more
    return ends


def _probabilities(world: World, policy: ArrayLike | None) -> Floats:
    shape = (world.states, world.actions)
    if policy is None:
        return np.full(shape, 1 / world.actions)
    given = np.asarray(policy)
    if given.shape == shape[:1] and given.dtype.kind in "iu":
        if given.min() < 0 or given.max() >= world.actions:
            raise ValueError(f"a policy's actions are 0 to {world.actions - 1}, got {given}")
        return np.eye(world.actions)[given]
    if given.shape != shape or (given < 0).any() or np.abs(given.sum(1) - 1).max() > 1e-6:
        raise ValueError(
            f"a policy is each state's action, ({world.states},), or their probabilities, {shape}, "
            f"which add up to 1; got {given.dtype} of the shape {given.shape}"
        )
    return given.astype(float)


def _check_discount(discount: float) -> None:
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must be in [0, 1], got {discount}")


def _check_horizon(horizon: int) -> int:
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 step, got {horizon}")
    return horizon
