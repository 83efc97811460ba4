"""Agents that learn from what they remember: act, write, draw, learn, in one program."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Learner, LearnerState, Metrics, PyTree, flatten_paths, stream
from jaxmed.reinforcement._environment import Environment, vectorised
from jaxmed.reinforcement.agents._acting import (
    Acted,
    Acting,
    act,
    agent,
    check_counts,
    example,
    joined,
    measured,
    no_episodes,
    parted,
    repeated,
    shape_of_values,
    transition,
)
from jaxmed.reinforcement.agents._behaviour import Behaviour
from jaxmed.reinforcement.agents._replay import Replay


def off_policy(
    environment: Environment,
    learner: Learner,
    memory: Replay,
    *,
    behaviour: Behaviour,
    environments: int = 64,
    batch: int = 64,
    warm_up: int = 1000,
    updates: int = 1,
    iterations: int = 1,
    output: str = "logits",
) -> Learner:
    """A learner that acts, remembers, and learns from what it draws of its memory.

    Its state is one pytree with everything: what is learned, the environments' states, the memory,
    the episodes under way. So :func:`jaxmed.fit` trains it like any other
    (:func:`jaxmed.protocols.interact` does), with checkpoints that go on exactly. Of a batch it
    looks at nothing.

    An iteration is one action in each environment, written to the memory, and ``updates`` steps of
    the learner, each on ``batch`` transitions drawn from it, whose observations are made anew of
    their states. Episodes that have ended begin anew; what is remembered is the state that was
    reached. In an environment of several agents, whose values are ``(batch, agents, actions)``,
    actions, rewards and ends are ``(agents,)``, and an episode ends when all have ended.

    Args:
        environment: a single one.
        learner: of an objective such as :func:`q_learning`, with ``inputs="observation"``.
        memory: made by :func:`replay`.
        behaviour: such as :func:`epsilon_greedy` of a schedule over the iterations.
        environments: how many act at once.
        batch: transitions learned from at once.
        warm_up: transitions by actions drawn at random, before learning begins.
        updates: the learner's steps in an iteration.
        iterations: in one step of what is returned, one after the other in one program.
        output: the endpoint of the actions' values.

    Returns:
        The learner. Its metrics are the learner's, means over the iterations of a step, and
        ``return`` and ``length``, means over the episodes that ended in the step, and ``episodes``,
        how many did; where none did, the means are those of the last step with any.

    Raises:
        ValueError: if a number is less than 1, the memory holds less than a batch or less than the
            warm-up, or the warm-up gives less than a batch; at ``init``, if the network does not
            give a value for each action of the environment.

    References:
        Mnih et al. (2015), Human-level control through deep reinforcement learning, Nature 518.
    """
    check_counts(
        environments=environments, batch=batch, updates=updates,
        iterations=iterations, warm_up=warm_up,
    )  # fmt: skip
    if memory.capacity < batch:
        raise ValueError(f"a replay of {memory.capacity} transitions gives no batch of {batch}")
    rows = max(-(-warm_up // environments), memory.steps)
    if rows * environments > memory.capacity:
        raise ValueError(
            f"a warm-up of {warm_up} transitions in {environments} environments, "
            f"{rows * environments}, is more than the {memory.capacity} that the replay holds"
        )
    if (rows - memory.steps + 1) * environments < batch:
        raise ValueError(
            f"a warm-up of {warm_up} transitions is too short for a batch of {batch}: give "
            f"warm_up={batch + memory.steps * environments}"
        )
    many = vectorised(environment, environments)

    def init(key: Key, _: Any) -> LearnerState:
        key = stream(key, "interact")
        states = many.reset(stream(key, "reset"))
        first = example(environment, states)
        shape = shape_of_values(learner, key, first, output)
        values = jnp.zeros((environments, *shape[1:]))
        # A behaviour that looks at no values may have actions of its own.
        actions = jax.eval_shape(behaviour, values, jnp.zeros((), jnp.int32)).shape[-1]

        def any_action(values: Array, step: Array) -> Array:
            return jnp.full((*values.shape[:-1], actions), 1 / actions)

        def at_random(acting: Acting, i: Array) -> tuple[Acting, PyTree]:
            at = stream(key, "warm up", i)
            acting, acted = act(at, many, lambda seen: {output: values}, acting, any_action, output)
            return acting, _remembered(acted)

        zero = jnp.zeros((), jnp.int32)
        acting = Acting(zero, zero, states, no_episodes(environments))
        acting, told = jax.lax.scan(at_random, acting, jnp.arange(rows))
        held = memory.init(jax.tree.map(lambda x: x[0], told))
        held, _ = jax.lax.scan(lambda m, row: (memory.write(m, row), None), held, told)
        drawn, _ = memory.sample(stream(key, "first"), held, batch)
        inner = learner.init(key, _observed(environment, drawn))
        begun = acting._replace(iteration=zero, memory=held)
        begun, _ = measured(begun, {"loss": jnp.zeros(())})
        return joined(inner, begun, zero)

    def iterate(
        carry: tuple[LearnerState, Acting], _: Array
    ) -> tuple[tuple[LearnerState, Acting], Metrics]:
        inner, acting = carry
        key = stream(inner.key, "interact", acting.iteration)
        predict = functools.partial(learner.predict, inner)
        acting, acted = act(key, many, predict, acting, behaviour, output)
        held = memory.write(acting.memory, _remembered(acted))

        def update(carry: Any, i: Array) -> tuple[Any, Metrics]:
            inner, held = carry
            at = stream(key, "update", i)
            drawn, place = memory.sample(at, held, batch, step=acting.iteration)
            inner, metrics = learner.step(inner, _observed(environment, drawn))
            if memory.prioritised:
                held = memory.update(held, place, _errors(inner, batch))
            return (inner, held), metrics

        (inner, held), metrics = repeated(update, (inner, held), updates)
        return (inner, acting._replace(memory=held)), metrics

    def step(state: LearnerState, _: Any) -> tuple[LearnerState, Metrics]:
        (inner, acting), metrics = repeated(iterate, parted(state), iterations)
        acting, metrics = measured(acting, metrics)
        return joined(inner, acting, state.step + 1), metrics

    return agent(learner, init, step)


def _remembered(acted: Acted) -> dict[str, Any]:
    """What of an action is worth remembering, in as few bytes as it takes."""
    small = jnp.uint8 if acted.probabilities.shape[-1] <= 256 else jnp.int32
    return {**transition(acted), "action": acted.action.astype(small)}


def _observed(environment: Environment, drawn: dict[str, Any]) -> dict[str, Any]:
    """Transitions of states as transitions of observations, made in one go."""
    drawn = dict(drawn)
    states, later = drawn.pop("state"), drawn.pop("next_state")
    n = len(jax.tree.leaves(states)[0])
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), states, later)
    seen = jax.vmap(environment.observe)(both)
    return {
        **drawn,
        "action": drawn["action"].astype(jnp.int32),
        "observation": jax.tree.map(lambda x: x[:n], seen),
        "next_observation": jax.tree.map(lambda x: x[n:], seen),
    }


def _errors(state: LearnerState, n: int) -> Array:
    """The errors that an objective keeps, however deep other paradigms have put it."""
    found = [
        value
        for path, value in flatten_paths(state.state["obj"]).items()
        if path.rsplit("/")[-1] == "td_error"
    ]
    if len(found) != 1 or found[0].shape != (n,):
        raise ValueError(
            "a prioritised replay needs an objective that keeps the errors of a batch, such as "
            f"q_learning(keep_errors=True); this one keeps {len(found)}"
        )
    return found[0]
