"""World: a finite Markov decision process as tables, and the environment that it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import NDArray

from jaxmed.core import stream
from jaxmed.reinforcement._environment import Environment, Step

Outcome = tuple[float, int, float, bool]
"""Probability, next state, reward, whether the episode ends: of an action in a state."""


class World(NamedTuple):
    """A finite Markov decision process: each action in each state has a few possible outcomes.

    Attributes:
        probability: of each outcome, ``(states, actions, outcomes)``.
        successor: the state that it leads to, of the same shape.
        reward: its expected reward, of the same shape.
        terminated: whether the episode ends with it, of the same shape.
        start: probability that an episode begins in each state, ``(states,)``.
        noise: standard deviation of the Gaussian noise on the reward of each action in each state,
            ``(states, actions)``.
        features: what an agent sees of each state, ``(states, features)``; ``None`` where it sees
            the state's number.
    """

    probability: NDArray[np.float64]
    successor: NDArray[np.int64]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    start: NDArray[np.float64]
    noise: NDArray[np.float64]
    features: NDArray[np.float64] | None = None

    @property
    def states(self) -> int:
        """How many states there are, those included in which episodes end."""
        return self.probability.shape[0]

    @property
    def actions(self) -> int:
        """How many actions there are."""
        return self.probability.shape[1]

    def __repr__(self) -> str:
        return f"World of {self.states} states and {self.actions} actions"


def world_of(
    outcomes: Callable[[int, int], Sequence[Outcome]],
    states: int,
    actions: int,
    *,
    start: int | Sequence[float] = 0,
    noise: NDArray[np.float64] | None = None,
    features: NDArray[np.float64] | None = None,
) -> World:
    """Make a world of one's own, of a function that lists the outcomes of an action in a state.

    Args:
        outcomes: ``(state, action) -> [(probability, next state, reward, terminated), ...]``, as
            gymnasium's toy environments list theirs.
        states: how many there are.
        actions: how many there are.
        start: the state in which episodes begin, or each one's probability.
        noise: standard deviation of the reward, ``(states, actions)``; none by default.
        features: what an agent sees of each state, ``(states, features)``; its number by default.

    Returns:
        The world.

    Raises:
        ValueError: if the probabilities of an action's outcomes are negative or do not add up to 1,
            a next state is not there, or a shape is another.

    >>> coin = world_of(lambda state, action: [(0.5, 0, 0.0, False), (0.5, 0, 1.0, True)], 1, 1)
    >>> coin
    World of 1 states and 1 actions
    """
    listed = [[list(outcomes(s, a)) for a in range(actions)] for s in range(states)]
    most = max(len(some) for row in listed for some in row)
    shape = (states, actions, most)
    probability, reward = np.zeros(shape), np.zeros(shape)
    successor, terminated = np.zeros(shape, np.int64), np.zeros(shape, bool)
    for s, a in np.ndindex(states, actions):
        some = listed[s][a]
        total = sum(one[0] for one in some)
        if min((one[0] for one in some), default=-1) < 0 or abs(total - 1) > 1e-9:
            raise ValueError(
                f"the outcomes of action {a} in state {s} have probabilities that add up to {total}"
                ": they must be at least 0 and add up to 1"
            )
        # Rows are filled up with an outcome that can occur, so that no rounding draws another.
        for k, one in enumerate([*some, *[(0.0, *some[-1][1:])] * (most - len(some))]):
            if not 0 <= one[1] < states:
                raise ValueError(
                    f"action {a} in state {s} leads to state {one[1]}, and there are states 0 to "
                    f"{states - 1}"
                )
            probability[s, a, k], successor[s, a, k], reward[s, a, k], terminated[s, a, k] = one
    begun = np.eye(states)[start] if isinstance(start, int) else np.asarray(start, float)
    if begun.shape != (states,) or (begun < 0).any() or abs(begun.sum() - 1) > 1e-9:
        raise ValueError(f"start must be a state, or {states} probabilities that add up to 1")
    spread = np.zeros((states, actions)) if noise is None else np.asarray(noise, float)
    if spread.shape != (states, actions):
        raise ValueError(f"noise is (states, actions), {(states, actions)}, not {spread.shape}")
    seen = None if features is None else np.asarray(features, float)
    if seen is not None and (seen.ndim != 2 or len(seen) != states):
        raise ValueError(f"features must be ({states}, features), not {seen.shape}")
    return World(probability, successor, reward, terminated, begun, spread, seen)


class WorldState(NamedTuple):
    """The state of an environment made of a world.

    Attributes:
        state: the world's.
        steps: made in this episode.
    """

    state: jax.Array
    steps: jax.Array


def world_environment(world: World, *, limit: int | None = None) -> Environment:
    """The environment of a world: what its tables say is drawn, step by step.

    Args:
        world: the tables.
        limit: steps after which an episode is truncated, if it has not terminated.

    Returns:
        The environment. Its observation is the state's number, or what ``world.features`` say of
        it. An action that there is not has the reward NaN where its value is known only as the
        program runs, by which training halts.

    Raises:
        ValueError: if ``limit`` is not positive; at a ``step`` outside of ``jit``, for an action
            that there is not.

    >>> from jaxmed.reinforcement import random_walk
    >>> walk = world_environment(random_walk(5))
    >>> place = walk.reset(jax.random.key(0))
    >>> int(walk.observe(place))
    3
    >>> place, step = walk.step(jax.random.key(1), place, jnp.array(0))
    >>> int(place.state) in (2, 4), bool(step.terminated)
    (True, False)
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 step, got {limit}")
    small = np.int16 if world.states < 2**15 else np.int32
    cumulated = np.cumsum(world.probability, axis=2)[:, :, :-1].astype(np.float32)
    begun = np.log(np.maximum(world.start, 1e-300)).astype(np.float32)
    begun[world.start == 0] = -np.inf

    def reset(key):
        state = jax.random.categorical(key, jnp.asarray(begun))
        return WorldState(state.astype(small), jnp.zeros((), jnp.int32))

    def step(key, place, action):
        action = jnp.asarray(action)
        _check_action(action, world.actions)
        at = place.state.astype(jnp.int32), action
        drawn = jax.random.uniform(stream(key, "outcome"))
        k = (drawn >= jnp.asarray(cumulated)[at]).sum()
        reward = jnp.asarray(world.reward, jnp.float32)[at][k]
        if world.noise.any():
            noise = jnp.asarray(world.noise, jnp.float32)[at]
            reward += noise * jax.random.normal(stream(key, "noise"))
        there_is = (action >= 0) & (action < world.actions)
        state = jnp.asarray(world.successor, small)[at][k]
        terminated = jnp.asarray(world.terminated)[at][k]
        steps = place.steps + 1
        late = jnp.zeros((), bool) if limit is None else steps >= limit
        reached = WorldState(state, steps)
        return reached, Step(jnp.where(there_is, reward, jnp.nan), terminated, late & ~terminated)

    def observe(place):
        state = place.state.astype(jnp.int32)
        if world.features is None:
            return state
        return jnp.asarray(world.features, jnp.float32)[state]

    return Environment(reset, step, observe, world.actions)


def _check_action(action: jax.Array, actions: int) -> None:
    if not jnp.issubdtype(action.dtype, jnp.integer) or action.ndim:
        raise ValueError(
            f"an action is one whole number, got {action.dtype} of the shape {action.shape}"
        )
    if not isinstance(action, Tracer) and not 0 <= int(action) < actions:
        raise ValueError(f"there are actions 0 to {actions - 1}, not {int(action)}")
