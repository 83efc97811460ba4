"""Agents that learn from what they have just done, and then forget it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Learner, LearnerState, Metrics, PyTree, pick, stream
from jaxmed.reinforcement._environment import Environment, vectorised
from jaxmed.reinforcement.agents._acting import (
    Acted,
    Acting,
    act,
    agent,
    all_ended,
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
from jaxmed.reinforcement.agents._behaviour import Behaviour, boltzmann, drawn
from jaxmed.reinforcement.objectives._returns import lambda_returns
from jaxmed.reinforcement.objectives._td import one_value
from jaxmed.reinforcement.objectives._transitions import check_unit


def on_policy(
    environment: Environment,
    learner: Learner,
    *,
    behaviour: Behaviour | None = None,
    environments: int = 64,
    length: int = 32,
    epochs: int = 1,
    minibatches: int = 1,
    discount: float | None = None,
    trace: float = 0.95,
    sequences: bool = False,
    iterations: int = 1,
    output: str = "logits",
    value: str = "value",
) -> Learner:
    """A learner that acts for a while, learns from all of it, and begins again.

    As :func:`off_policy`, without a memory. An iteration is ``length`` actions in each environment
    by one policy, then ``epochs`` passes over their transitions in ``minibatches``, anew
    permuted for each pass.

    Batches have ``observation``, ``action``, ``reward``, ``terminated``, ``truncated``,
    ``next_observation`` (where the objective looks at it), ``next_action`` (the one taken, and
    where an episode or the rollout ended there, one drawn as the policy would), and
    ``log_probability``. With a ``discount`` they have ``advantage`` and ``return``
    (:func:`advantages`) by the network's value, with that of the state reached where an episode was
    broken off.

    Args:
        environment: a single one.
        learner: of an objective such as :func:`ppo`, :func:`actor_critic`, :func:`sarsa` or
            :func:`td`, with ``inputs="observation"``.
        behaviour: the policy, ``boltzmann()`` by default, for which the output is the logits.
        environments: how many act at once.
        length: actions of a rollout in each.
        epochs: passes over a rollout.
        minibatches: the learner's steps in a pass.
        discount: of a step, for advantages; ``None`` where the objective needs none.
        trace: lambda of the advantages.
        sequences: whether a batch is of whole rollouts, ``(batch, length, ...)``, as :func:`td`
            takes them; by default of transitions, ``(batch, ...)``.
        iterations: in one step of what is returned, one after the other in one program.
        output: the endpoint of the actions' logits or values.
        value: the endpoint of the states' values, for advantages.

    Returns:
        The learner, with metrics as :func:`off_policy` has them.

    Raises:
        ValueError: if a number is less than 1, the transitions of a rollout do not divide into the
            minibatches, or ``discount`` or ``trace`` is outside [0, 1]; at ``init``, if the network
            does not give a value for each action of the environment.

    References:
        Schulman et al. (2017), Proximal policy optimization algorithms, arXiv:1707.06347.
    """
    check_counts(
        environments=environments, length=length, epochs=epochs,
        minibatches=minibatches, iterations=iterations,
    )  # fmt: skip
    check_unit(trace, "trace")
    if discount is not None:
        check_unit(discount, "discount")
    rows = environments if sequences else environments * length
    if rows % minibatches:
        raise ValueError(
            f"{rows} {'rollouts' if sequences else 'transitions'} do not divide into {minibatches} "
            "minibatches"
        )
    size = rows // minibatches
    policy = boltzmann() if behaviour is None else behaviour
    many = vectorised(environment, environments)

    def rollout(inner: LearnerState, acting: Acting) -> tuple[Acting, dict[str, Any]]:
        predict = functools.partial(learner.predict, inner)

        def once(acting: Acting, _: None) -> tuple[Acting, dict[str, Any]]:
            key = stream(inner.key, "interact", acting.iteration)
            after, acted = act(key, many, predict, acting, policy, output)
            # The state that was reached, which is not the next one where an episode begins anew.
            there = predict(many.observe(acted.reached))
            onward = policy(pick(there, output, "network"), acting.iteration)
            told = {
                **_told(acted),
                "next_action": drawn(stream(key, "next action"), onward),
                "over": all_ended(acted.step),
            }
            if discount is not None:
                told["value"] = one_value(pick(acted.endpoints, value, "network"), value)
                told["next_value"] = one_value(pick(there, value, "network"), value)
            return after, told

        acting, told = jax.lax.scan(once, acting, None, length=length)
        over = told.pop("over").at[-1].set(True)
        over = over.reshape(over.shape + (1,) * (told["action"].ndim - 2))
        followed = jnp.roll(told["action"], -1, 0)
        told["next_action"] = jnp.where(over, told["next_action"], followed)
        if discount is not None:
            along = {n: told[n].T for n in ("reward", "terminated", "truncated", "next_value")}
            told["return"] = lambda_returns(**along, discount=discount, trace=trace).T
            told["advantage"] = told["return"] - told.pop("value")
            del told["next_value"]
        return acting, told

    def batch_of(told: dict[str, Any], rows: Array) -> dict[str, Any]:
        def leading(x: Array) -> Array:
            return x.swapaxes(0, 1) if sequences else x.reshape(-1, *x.shape[2:])

        batch = jax.tree.map(lambda x: leading(x)[rows], told)
        for name, states in (("observation", "state"), ("next_observation", "next_state")):
            batch[name] = _seen(environment, batch.pop(states), sequences)
        return batch

    def init(key: Key, _: Any) -> LearnerState:
        key, zero = stream(key, "interact"), jnp.zeros((), jnp.int32)
        states = many.reset(stream(key, "reset"))
        acting = Acting(zero, zero, states, no_episodes(environments))
        some = example(environment, states)
        shape_of_values(learner, key, some, output)
        inner = jax.eval_shape(learner.init, key, some)
        told = jax.eval_shape(lambda inner: rollout(inner, acting)[1], inner)
        along = jax.tree.map(lambda x: jnp.broadcast_to(x, (length, *x.shape)), states)
        held = {"state": along, "next_state": along}
        blank = {n: jnp.zeros(x.shape, x.dtype) for n, x in told.items() if n not in held}
        return joined(
            learner.init(key, batch_of({**blank, **held}, jnp.arange(size))), acting, zero
        )

    def iterate(
        carry: tuple[LearnerState, Acting], _: Array
    ) -> tuple[tuple[LearnerState, Acting], Metrics]:
        inner, acting = carry
        acting, told = rollout(inner, acting)

        def permuted(epoch: Array) -> Array:
            key = stream(inner.key, "order", acting.iteration, epoch)
            return jax.random.permutation(key, rows)

        if minibatches == 1:
            order = jnp.tile(jnp.arange(rows), (epochs, 1))
        else:
            order = jax.vmap(permuted)(jnp.arange(epochs)).reshape(-1, size)

        def learn(inner: LearnerState, i: Array) -> tuple[LearnerState, Metrics]:
            return learner.step(inner, batch_of(told, order[i]))

        inner, metrics = repeated(learn, inner, epochs * minibatches)
        return (inner, acting), metrics

    def step(state: LearnerState, _: Any) -> tuple[LearnerState, Metrics]:
        (inner, acting), metrics = repeated(iterate, parted(state), iterations)
        acting, metrics = measured(acting, metrics)
        return joined(inner, acting, state.step + 1), metrics

    return agent(learner, init, step)


def _told(acted: Acted) -> dict[str, Any]:
    """What is learned of an action in each environment."""
    taken = jnp.take_along_axis(acted.probabilities, acted.action[..., None], axis=-1)[..., 0]
    return {**transition(acted), "log_probability": jnp.log(taken)}


def _seen(environment: Environment, states: PyTree, sequences: bool) -> PyTree:
    """What is seen of states along one axis, or along two."""
    observe = jax.vmap(environment.observe)
    return jax.vmap(observe)(states) if sequences else observe(states)
