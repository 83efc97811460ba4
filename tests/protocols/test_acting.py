"""interact and evaluate_policy: agents train like any learner, and are measured by cases."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmed import ensemble, learner
from jaxmed.core import Batches, from_functions
from jaxmed.paradigms.base._ensemble import member_key
from jaxmed.protocols import evaluate_policy, interact
from jaxmed.protocols.acting._interact import Nothing
from jaxmed.reinforcement import (
    Environment,
    Step,
    epsilon_greedy,
    off_policy,
    on_policy,
    ppo,
    q_learning,
    random_walk,
    replay,
    world_environment,
)
from jaxmed.stats import mean
from jaxmed.train import Evaluation, NonFiniteLossError, Output, Placement

KEY = jax.random.key(0)


@functools.cache
def deep_agent():
    """Everything that a state can hold: priorities, several steps, a target, a schedule."""
    walk = world_environment(random_walk(5), limit=7)
    network = from_functions(
        lambda key, x: {"w": jax.random.normal(key, (7, 2))}, lambda params, x: params["w"][x]
    )
    forked = walk._replace(step=lambda key, place, action: walk.step(key, place, 0 * action))
    return off_policy(
        forked,
        learner(
            network,
            q_learning(discount=0.9, target_every=3, keep_errors=True),
            optax.adam(0.05),
            inputs="observation",
        ),
        replay(60, steps=2, prioritised=0.6, importance=optax.linear_schedule(0.4, 1.0, 20)),
        behaviour=epsilon_greedy(optax.linear_schedule(1.0, 0.1, 20)),
        environments=4, batch=8, warm_up=20, iterations=3,
    )  # fmt: skip


@functools.cache
def policy_agent():
    walk = world_environment(random_walk(5), limit=7)
    network = from_functions(
        lambda key, x: {"logits": jnp.zeros((7, 1)), "value": jnp.zeros(7)},
        lambda params, x: {name: values[x] for name, values in params.items()},
    )
    return on_policy(
        walk,
        learner(network, ppo(), optax.adam(0.05), inputs="observation"),
        environments=4, length=4, epochs=2, minibatches=2, discount=0.9,
    )  # fmt: skip


def same(one, other):
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.tree.map(_numbers, one),
        jax.tree.map(_numbers, other),
    )


def _numbers(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@pytest.mark.parametrize("make", [deep_agent, pytest.param(policy_agent, marks=pytest.mark.slow)])
def test_a_run_that_was_cut_goes_on_to_the_same_bits(make, tmp_path):
    agent = make()
    whole = interact(agent, steps=6, every=3, seed=1, progress=False)
    interact(agent, steps=2, every=3, seed=1, out=tmp_path, progress=False)
    resumed = interact(agent, steps=6, every=3, seed=1, out=tmp_path, progress=False)
    same(whole.state, resumed.state)
    told = [result.history[-1] for result in (whole, resumed)]
    assert told[0]["train/return"] == told[1]["train/return"]
    assert told[0]["train/loss"] == told[1]["train/loss"]


class Pond(NamedTuple):
    """A state of several kinds of numbers."""

    depth: jax.Array
    ripples: jax.Array
    key: jax.Array
    steps: jax.Array


def pond() -> Environment:
    """Stones sink by a draw; a key, a flag and small numbers lie in its state."""

    def step(key, state, action):
        fallen = jax.random.uniform(jax.random.fold_in(state.key, state.steps)) * (action + 1)
        depth = state.depth + fallen.astype(jnp.float16)
        reached = Pond(depth, state.ripples.at[action].set(True), state.key, state.steps + 1)
        deep = depth > 3
        return reached, Step(-fallen, deep, ~deep & (reached.steps >= 6))

    def reset(key):
        no = jnp.zeros(3, bool)
        return Pond(jnp.zeros((), jnp.float16), no, key, jnp.zeros((), jnp.int8))

    def observe(state):
        return {"depth": state.depth.astype(jnp.float32)[None], "ripples": state.ripples}

    return Environment(reset, step, observe, actions=3)


@pytest.mark.slow
def test_a_world_of_ones_own_goes_on_from_any_step(tmp_path):
    network = from_functions(
        lambda key, x: {"w": jax.random.normal(key, (4, 3))},
        lambda p, x: jnp.concatenate([x["depth"], x["ripples"]], -1) @ p["w"],
    )
    agent = off_policy(
        pond(),
        learner(
            network, q_learning(discount=0.9, target_every=2), optax.adam(0.05),
            inputs="observation",
        ),
        replay(30, steps=2), behaviour=epsilon_greedy(0.5), environments=3, batch=4, warm_up=9,
    )  # fmt: skip
    whole = interact(agent, steps=4, every=2, seed=1, progress=False)
    for cut in (1, 3):
        out = tmp_path / str(cut)
        interact(agent, steps=cut, every=2, seed=1, out=out, progress=False)
        resumed = interact(agent, steps=4, every=2, seed=1, out=out, progress=False)
        same(whole.state, resumed.state)


def test_epochs_may_be_one_program_and_the_best_is_kept():
    agent = deep_agent()
    seen = []

    def evaluate(state):
        seen.append(int(state.step))
        return {"score": -abs(int(state.step) - 4)}

    result = interact(
        agent, steps=6, every=2, seed=1, progress=False,
        evaluate=Evaluation(evaluate, monitor="score"), devices=Placement(compile_epochs=True),
    )  # fmt: skip
    assert seen == [2, 4, 6]
    assert int(result.best_state.step) == 4
    plain = interact(agent, steps=6, every=2, seed=1, progress=False)
    for name, values in plain.state.params["net"].items():
        np.testing.assert_allclose(values, result.state.params["net"][name], rtol=1e-5)
    assert isinstance(Nothing(3), Batches)


@pytest.mark.slow
def test_several_devices_compute_the_same():
    agent = policy_agent()
    one = interact(agent, steps=2, every=2, progress=False)
    two = interact(agent, steps=2, every=2, progress=False, devices=2)
    for name, values in one.state.params["net"].items():
        np.testing.assert_allclose(values, two.state.params["net"][name], rtol=1e-5)


@pytest.mark.slow
def test_several_seeds_train_as_one_program():
    both = interact(ensemble(policy_agent(), 2), steps=2, every=2, progress=False).state
    alone = interact(
        policy_agent(), steps=2, every=2, key=member_key(jax.random.key(0), 1), progress=False
    ).state
    values = both.params["net"]["value"]
    np.testing.assert_allclose(values[1], alone.params["net"]["value"], rtol=1e-4, atol=1e-6)
    assert not np.allclose(values[0], values[1])


def test_each_of_several_seeds_has_priorities_of_its_own():
    both = interact(ensemble(deep_agent(), 2), steps=2, every=2, progress=False).state
    alone = interact(
        deep_agent(), steps=2, every=2, key=member_key(jax.random.key(0), 1), progress=False
    ).state
    held, own = (state.state["acting"].memory for state in (both, alone))
    np.testing.assert_allclose(held.priority[1], own.priority, rtol=1e-4)
    np.testing.assert_allclose(held.largest[1], own.largest, rtol=1e-4)
    assert not np.allclose(held.priority[0], held.priority[1])


def broken(at: int) -> Environment:
    """Its reward is no number from a time on."""
    return Environment(
        lambda key: jnp.zeros((), jnp.int32),
        lambda key, time, action: (
            time + 1,
            Step(jnp.where(time >= at, jnp.nan, 0.0), jnp.zeros((), bool), jnp.zeros((), bool)),
        ),
        lambda time: jnp.ones(1) * time,
    )


def test_a_reward_that_is_no_number_halts_where_it_arises(tmp_path):
    network = from_functions(lambda key, x: {"w": jnp.zeros((1, 2))}, lambda p, x: x @ p["w"])
    inner = learner(network, q_learning(discount=0.9), optax.sgd(1e-4), inputs="observation")
    # The warm-up is 4 rows; after it comes row 4 in step 0: row 6 is of step 2.
    agent = off_policy(
        broken(6), inner, replay(400), behaviour=epsilon_greedy(0.5), environments=4, batch=8,
        warm_up=16,
    )  # fmt: skip
    with pytest.raises(NonFiniteLossError, match="at step 2") as caught:
        interact(agent, steps=20, out=Output(tmp_path, loggers=()), progress=False)
    assert int(caught.value.state.step) == 2
    assert "a reward of its environment" in caught.value.__notes__[0]
    assert bool(caught.value.state.state["acting"].episodes.sound)
    with pytest.raises(ValueError, match="at least 1"):
        interact(agent, steps=0)


def test_a_policy_is_measured_by_cases():
    """A walk up from different places: how far and how long is known."""
    environment = Environment(
        lambda key: jnp.zeros((), jnp.int32),
        lambda key, place, action: (place + 1, Step(1.0 * place, place >= 5, place == 2)),
        lambda place: 1.0 * place[None],
    )
    network = from_functions(lambda key, x: {"w": jnp.zeros((1, 2))}, lambda p, x: x @ p["w"])
    inner = learner(network, q_learning(discount=0.9), optax.sgd(0.1), inputs="observation")
    state = inner.init(KEY, {"observation": jnp.zeros((1, 1)), "action": jnp.zeros(1, int)})
    starts = jnp.array([0, 1, 3, 4, 3, -20])
    scores = evaluate_policy(
        environment, inner, state, starts, limit=10, measure={"place": lambda place: place * 2.0}
    )
    assert (scores.terminated, scores.truncated, scores.unfinished) == (3, 2, 1)
    returns = [0 + 1 + 2, 1 + 2, 3 + 4 + 5, 4 + 5, 3 + 4 + 5, -sum(range(11, 21))]
    assert scores.played.returns.tolist() == returns
    expected = mean(returns)
    assert (scores.returns.value, scores.returns.lower) == (expected.value, expected.lower)
    assert scores.failures.value == 0.5
    assert scores.measured["place"].value == pytest.approx(np.mean([6, 6, 12, 12, 12, -20]))
    # Two episodes a case: the interval speaks of three cases.
    grouped = evaluate_policy(
        environment, inner, state, starts, limit=10, cases=["b", "b", "a", "a", "9", "9"],
        failed=lambda played: played.truncated,
    )  # fmt: skip
    assert (grouped.returns.n, grouped.failures.n, grouped.failures.value) == (3, 3, 2 / 6)
    assert "3 terminated, 2 truncated, 1 unfinished" in repr(grouped)
    nowhere = state._replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))
    with pytest.raises(ValueError, match="6 of 6 episodes"):
        evaluate_policy(environment, inner, nowhere, starts, limit=10)
    with pytest.raises(ValueError, match="6 episodes"):
        evaluate_policy(environment, inner, state, starts, limit=10, cases=[0, 1])
    with pytest.raises(ValueError, match="of each episode"):
        evaluate_policy(environment, inner, state, starts, limit=10, failed=lambda played: True)
    with pytest.raises(ValueError, match="one number for each"):
        evaluate_policy(
            environment, inner, state, starts, limit=10, measure={"x": lambda p: jnp.ones(2)}
        )
