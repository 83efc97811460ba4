"""Acting: what a learner that acts carries beside what it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
    Key,
    Learner,
    LearnerState,
    Metrics,
    PyTree,
    merge_named,
    pick,
    stream,
)
from jaxmed.core._learner import Predicting
from jaxmed.reinforcement._environment import Environment, Step, restarted
from jaxmed.reinforcement.agents._behaviour import Behaviour, drawn


class Episodes(NamedTuple):
    """The episodes under way in each environment, and what those that ended came to.

    Attributes:
        returns: rewards so far, ``(environments,)``.
        lengths: steps so far, ``(environments,)``.
        ended: episodes that have ended in this step of the agent.
        total_return: the sum of their returns.
        total_length: the sum of their lengths.
        last_return: the mean return of the step before, or of the last one with any.
        last_length: likewise the mean length.
        sound: whether every reward so far was a number.
    """

    returns: Array
    lengths: Array
    ended: Array
    total_return: Array
    total_length: Array
    last_return: Array
    last_length: Array
    sound: Array


class Acting(NamedTuple):
    """What an agent's state holds beside what it learns: ``state["acting"]``.

    Attributes:
        learned: the learner's own steps.
        iteration: how many times all environments have acted together since learning began.
        states: of the environments.
        episodes: under way.
        memory: of a replay; ``None`` without one.
    """

    learned: Array
    iteration: Array
    states: PyTree
    episodes: Episodes
    memory: Any = None


class Acted(NamedTuple):
    """What one action in each environment was and led to; arrays ``(environments, ...)``."""

    state: PyTree
    values: Array
    endpoints: dict[str, Any]
    probabilities: Array
    action: Array
    reached: PyTree
    step: Step


def act(
    key: Key,
    many: Environment,
    predict: Callable[[PyTree], dict[str, Any]],
    acting: Acting,
    behaviour: Behaviour,
    output: str,
) -> tuple[Acting, Acted]:
    """Act once in all environments; those whose episode has ended begin anew."""
    endpoints = predict(many.observe(acting.states))
    values = pick(endpoints, output, "network")
    probabilities = behaviour(values, acting.iteration)
    check_actions(many, probabilities)
    action = drawn(stream(key, "action"), probabilities)
    reached, step = many.step(stream(key, "step"), acting.states, action)
    check_step(acting.states, reached, step)
    over = all_ended(step)
    states = restarted(stream(key, "reset"), many, reached, over)
    episodes = counted(acting.episodes, step, over)
    acted = Acted(acting.states, values, endpoints, probabilities, action, reached, step)
    new = acting._replace(states=states, episodes=episodes, iteration=acting.iteration + 1)
    return new, acted


def check_actions(environment: Environment, probabilities: Array) -> None:
    """Refuse an agent that would never take some of the environment's actions.

    Raises:
        ValueError: says how many actions there are, and how many are chosen from.
    """
    chosen = probabilities.shape[-1]
    if environment.actions is not None and chosen < environment.actions:
        raise ValueError(
            f"the environment has {environment.actions} actions, and the agent chooses from "
            f"{chosen}: the network is to give a value for each action"
        )


def check_step(states: PyTree, reached: PyTree, step: Step) -> None:
    """Refuse an environment whose step gives states of another kind than it was given.

    Raises:
        ValueError: names the first array that differs, or what of a step is not true or false.
    """
    before, after = (
        {jax.tree_util.keystr(path) or "state": leaf for path, leaf in leaves}
        for leaves in (jax.tree.flatten_with_path(tree)[0] for tree in (states, reached))
    )
    for name in [*before, *after]:
        kinds = [
            f"{tree[name].dtype}{list(tree[name].shape[1:])}" if name in tree else "absent"
            for tree in (before, after)
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"a state's {name} is {kinds[0]} before a step of the environment and {kinds[1]} "
                "after it: reset and step must give the same arrays, .astype makes them so"
            )
    for name in ("terminated", "truncated"):
        if not jnp.issubdtype(kind := getattr(step, name).dtype, jnp.bool_):
            raise ValueError(f"{name} is true or false, a bool, and the step gives {kind}")


def check_counts(**numbers: int) -> None:
    """Refuse a number, named by its argument, that is less than 1 or not whole."""
    for name, number in numbers.items():
        if isinstance(number, str) or not 1 <= number < math.inf or number != int(number):
            raise ValueError(f"{name} must be at least 1, a whole number, got {number!r}")


def transition(acted: Acted) -> dict[str, Any]:
    """What an action was and led to, by the names of batches; states instead of what is seen."""
    step = acted.step
    return {
        "state": acted.state,
        "action": acted.action,
        "reward": jnp.asarray(step.reward, jnp.float32),
        "terminated": jnp.asarray(step.terminated, bool),
        "truncated": jnp.asarray(step.truncated, bool),
        "next_state": acted.reached,
    }


def all_ended(step: Step) -> Array:
    """Which episodes have ended, ``(environments,)``: those of several agents when all have."""
    ended = jnp.asarray(step.ended)
    return ended.reshape(len(ended), -1).all(1)


def no_episodes(n: int) -> Episodes:
    """The beginning: of each environment's first episode."""
    nought = jnp.zeros(())
    return Episodes(
        returns=jnp.zeros(n), lengths=jnp.zeros(n, jnp.int32),
        ended=nought, total_return=nought, total_length=nought, last_return=nought,
        last_length=nought, sound=jnp.ones((), bool),
    )  # fmt: skip


def counted(episodes: Episodes, step: Step, over: Array) -> Episodes:
    """The episodes one step on; the reward of several agents counts by its mean."""
    reward = jnp.asarray(step.reward, jnp.float32).reshape(len(over), -1).mean(1)
    returns, lengths = episodes.returns + reward, episodes.lengths + 1
    return episodes._replace(
        returns=jnp.where(over, 0, returns),
        lengths=jnp.where(over, 0, lengths),
        ended=episodes.ended + over.sum(),
        total_return=episodes.total_return + jnp.where(over, returns, 0).sum(),
        total_length=episodes.total_length + jnp.where(over, lengths, 0).sum(),
        sound=episodes.sound & jnp.isfinite(reward).all(),
    )


def measured(acting: Acting, metrics: Metrics) -> tuple[Acting, Metrics]:
    """The metrics of a step, the learner's and how episodes went, and what the next begins with.

    A reward that is no number makes the loss none, so that training halts where it arose and not
    when it is first drawn to be learned from.
    """
    episodes = acting.episodes
    some, share = episodes.ended > 0, jnp.maximum(episodes.ended, 1)
    own = {
        "return": jnp.where(some, episodes.total_return / share, episodes.last_return),
        "length": jnp.where(some, episodes.total_length / share, episodes.last_length),
        "episodes": episodes.ended,
    }
    nought = jnp.zeros(())
    begun = episodes._replace(
        ended=nought, total_return=nought, total_length=nought,
        last_return=own["return"], last_length=own["length"],
    )  # fmt: skip
    loss = jnp.where(episodes.sound, metrics["loss"], jnp.nan)
    return acting._replace(episodes=begun), merge_named({**metrics, "loss": loss}, own)


def joined(inner: LearnerState, acting: Acting, step: Array) -> LearnerState:
    """One state of what is learned and of what acts."""
    acting = acting._replace(learned=inner.step)
    return inner._replace(step=step, state={**inner.state, "acting": acting})


def parted(state: LearnerState) -> tuple[LearnerState, Acting]:
    """What is learned, and what acts."""
    acting = state.state["acting"]
    own = {name: value for name, value in state.state.items() if name != "acting"}
    return state._replace(step=acting.learned, state=own), acting


def agent(learner: Learner, init: Any, step: Any) -> Learner:
    """A learner that acts, around one that learns, and predicts as that one does."""
    inner = learner.predicting

    def put(state, variables):
        learned, acting = parted(state)
        return joined(inner.set(learned, variables), acting, state.step)

    def predict(state, inputs):
        return learner.predict(parted(state)[0], inputs)

    return Learner(
        init,
        step,
        predict,
        Predicting(
            lambda state: inner.get(parted(state)[0]),
            put,
            lambda state: inner.others(parted(state)[0]),
        ),
    )


def shape_of_values(learner: Learner, key: Key, batch: Any, output: str) -> tuple[int, ...]:
    """The shape of what the network says of a batch of observations; nothing is computed."""

    def values(key, batch):
        state = learner.init(key, batch)
        return pick(learner.predict(state, batch["observation"]), output, "network")

    shape = jax.eval_shape(values, key, batch).shape
    rows = len(jax.tree.leaves(batch["observation"])[0])
    if len(shape) < 2 or shape[0] != rows:
        raise ValueError(
            f"the network's {output!r} is to be (batch, ..., actions), a value for each action; "
            f"for {rows} observations it is {shape}"
        )
    return shape


def example(environment: Environment, states: PyTree) -> dict[str, Any]:
    """A batch of the observations of these states, by which shapes are found; else of nothing."""
    seen = jax.vmap(environment.observe)(states)
    n = len(jax.tree.leaves(states)[0])
    whole = ("action", "next_action")
    number = ("reward", "advantage", "return", "log_probability")
    return {
        "observation": seen,
        "next_observation": seen,
        **{name: jnp.zeros(n, jnp.int32) for name in whole},
        **{name: jnp.zeros(n) for name in number},
        **{name: jnp.zeros(n, bool) for name in ("terminated", "truncated")},
    }


def repeated(body: Any, carry: Any, n: int) -> tuple[Any, Metrics]:
    """Run a body ``n`` times in one program; the means of its metrics."""
    if n == 1:
        return body(carry, jnp.zeros((), jnp.int32))
    carry, metrics = jax.lax.scan(body, carry, jnp.arange(n))
    return carry, jax.tree.map(lambda x: x.mean(0), metrics)
