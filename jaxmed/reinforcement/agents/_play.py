"""Playing: whole episodes from given states, without learning."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Learner, LearnerState, PyTree, pick, stream
from jaxmed.reinforcement._environment import Environment, Step, vectorised, where_rows
from jaxmed.reinforcement.agents._acting import all_ended, check_actions, check_step
from jaxmed.reinforcement.agents._behaviour import Behaviour, drawn, epsilon_greedy


class Played(NamedTuple):
    """Whole episodes; made by :func:`play`. Arrays have a first axis of episodes.

    Attributes:
        returns: sums of rewards, not discounted; NaN where a reward was, or a value by which an
            action was chosen.
        lengths: steps.
        terminated: whether it came to its end.
        truncated: whether the environment broke it off; where neither is so it was still under way
            after ``limit`` steps.
        states: in which the episodes were left.
        path: what happened at each step, ``(episodes, limit, ...)``, if it was asked for:
            ``state``, ``values``, ``action``, ``reward``. What lies beyond an episode's length
            repeats its last state.
    """

    returns: Array
    lengths: Array
    terminated: Array
    truncated: Array
    states: PyTree
    path: dict[str, Any] | None = None


def play(
    environment: Environment,
    learner: Learner,
    state: LearnerState,
    starts: PyTree | int,
    *,
    limit: int = 1000,
    behaviour: Behaviour | None = None,
    key: Key | None = None,
    keep_path: bool = False,
    output: str = "logits",
) -> Played:
    """Play whole episodes side by side, one from each start, in one program.

    Args:
        environment: a single one, perhaps another than was learned in: with other scans, or an end
            that needs no knowledge of the goal.
        learner: any that gives a value for each action, or an agent made of it.
        state: the learner's.
        starts: states to begin in, ``(episodes, ...)``; or how many, as the environment begins.
        limit: steps after which an episode is left as it is.
        behaviour: greedy by default.
        key: of what the environment and the behaviour draw; ``jax.random.key(0)`` by default.
        keep_path: whether to return what happened at each step.
        output: the endpoint of the actions' values.

    Returns:
        The episodes.

    Raises:
        ValueError: if there is no start, ``limit`` is less than 1, the network has fewer actions
            than the environment, or is shown what it cannot be given.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1 step, got {limit}")
    n = starts if isinstance(starts, int) else _how_many(starts)
    if n < 1:
        raise ValueError("there is no start to play from")
    key = jax.random.key(0) if key is None else key
    if isinstance(starts, int):
        starts = _resetting(environment, n)(stream(key, "reset"))
    run = _program(
        environment,
        learner,
        _greedy if behaviour is None else behaviour,
        n,
        limit,
        keep_path,
        output,
    )
    return run(state, starts, key)


_greedy = epsilon_greedy(0.0)


def _how_many(starts: PyTree) -> int:
    counts = {jnp.shape(x)[:1] for x in jax.tree.leaves(starts)}
    if len(counts) != 1 or () in counts:
        raise ValueError(
            f"starts are states with one first axis, (episodes, ...); got {sorted(counts)}"
        )
    return counts.pop()[0]


@functools.lru_cache(maxsize=8)
def _resetting(environment: Environment, n: int) -> Any:
    return jax.jit(vectorised(environment, n).reset)


@functools.lru_cache(maxsize=8)
def _program(
    environment: Environment,
    learner: Learner,
    behaviour: Behaviour,
    n: int,
    limit: int,
    keep_path: bool,
    output: str,
) -> Any:
    """The compiled program; the last few are kept, so that an evaluation compiles once."""
    many = vectorised(environment, n)

    def once(state: LearnerState, key: Key, t: Array, now: Played) -> tuple[Played, dict[str, Any]]:
        key = stream(key, "play", t)
        values = pick(_said(learner, state, many.observe(now.states)), output, "network")
        probabilities = behaviour(values, t)
        check_actions(many, probabilities)
        action = drawn(stream(key, "action"), probabilities)
        reached, step = many.step(stream(key, "step"), now.states, action)
        check_step(now.states, reached, step)
        under_way = ~(now.terminated | now.truncated)
        # An action chosen by values that are no numbers is none.
        known = jnp.isfinite(values).reshape(n, -1).all(1)
        reward = jnp.where(under_way, jnp.where(known, _mean(step.reward, n), jnp.nan), 0.0)
        told = {"state": now.states, "values": values, "action": action, "reward": reward}
        terminated = under_way & all_ended(Step(step.reward, step.terminated, step.terminated))
        after = Played(
            now.returns + reward,
            now.lengths + under_way,
            now.terminated | terminated,
            now.truncated | (under_way & all_ended(step) & ~terminated),
            where_rows(under_way, reached, now.states),
        )
        return after, told

    @jax.jit
    def run(state: LearnerState, starts: PyTree, key: Key) -> Played:
        no = jnp.zeros(n, bool)
        begun = Played(jnp.zeros(n), jnp.zeros(n, jnp.int32), no, no, starts)
        if keep_path:
            over, told = jax.lax.scan(
                lambda now, t: once(state, key, t, now), begun, jnp.arange(limit)
            )
            return over._replace(path=jax.tree.map(lambda x: x.swapaxes(0, 1), told))

        def unfinished(carry: tuple[Array, Played]) -> Array:
            t, now = carry
            return (t < limit) & ~(now.terminated | now.truncated).all()

        def go_on(carry: tuple[Array, Played]) -> tuple[Array, Played]:
            t, now = carry
            return t + 1, once(state, key, t, now)[0]

        return jax.lax.while_loop(unfinished, go_on, (jnp.zeros((), jnp.int32), begun))[1]

    return run


def _said(learner: Learner, state: LearnerState, seen: PyTree) -> dict[str, Any]:
    """What the network says of what is seen, if it is of the kind that it has learned from."""
    try:
        return learner.predict(state, seen)
    except Exception as error:  # Each library has errors of its own for shapes.
        shapes = [f"{x.dtype}{list(x.shape[1:])}" for x in jax.tree.leaves(seen)]
        raise ValueError(
            f"the network cannot be given what this environment shows, {', '.join(shapes)}: has "
            f"the one in which it learned another window, other scales or frames? {error}"
        ) from error


def _mean(reward: Array, n: int) -> Array:
    return jnp.asarray(reward, jnp.float32).reshape(n, -1).mean(1)
