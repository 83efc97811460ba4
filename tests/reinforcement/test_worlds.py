"""Worlds: their published values, gymnasium's tables, and environments that draw what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.core import stream
from jaxmed.reinforcement import (
    baird_star,
    cliff_walk,
    frozen_lake,
    maximisation_bias,
    policy_evaluation,
    policy_iteration,
    random_walk,
    value_iteration,
    world_environment,
    world_of,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("discount", "horizon", "value"),
    [(0.99, None, 0.542026), (0.9, None, 0.068891), (1.0, None, 14 / 17), (1.0, 100, 0.744190)],
)
def test_frozen_lake_is_worth_what_is_published(discount, horizon, value):
    lake = frozen_lake()
    found = value_iteration(lake, discount=discount, horizon=horizon)
    assert abs(found.values[0] - value) < 1e-6
    if horizon is None:
        exact = policy_iteration(lake, discount=discount)
        np.testing.assert_allclose(exact.values, found.values, atol=1e-8)
        again = policy_evaluation(lake, exact.policy, discount=discount)
        np.testing.assert_allclose(again, exact.values, atol=1e-10)


def test_a_walk_is_worth_its_place_and_the_cliff_13_steps():
    assert np.allclose(policy_evaluation(random_walk(5), discount=1.0)[1:-1], np.arange(1, 6) / 6)
    for solve in (value_iteration, policy_iteration):
        assert solve(cliff_walk(), discount=1.0).values[36] == pytest.approx(-13, abs=1e-9)
    # Where nothing slips the lake takes six steps, of which five are discounted.
    dry = policy_iteration(frozen_lake(slippery=False), discount=0.9)
    assert dry.values[0] == pytest.approx(0.9**5)


def test_the_best_of_the_biased_process_is_not_to_begin_it():
    found = policy_iteration(maximisation_bias(), discount=1.0)
    np.testing.assert_allclose(found.action_values[0], [-0.1] * 5 + [0.0] * 5, atol=1e-12)
    assert found.policy[0] == 5


@pytest.mark.parametrize("world", [frozen_lake(), cliff_walk(slippery=True), maximisation_bias()])
def test_solutions_agree_and_no_policy_is_better(world):
    by_value = value_iteration(world, discount=0.95)
    by_policy = policy_iteration(world, discount=0.95)
    np.testing.assert_allclose(by_value.action_values, by_policy.action_values, atol=1e-9)
    drawn = np.random.default_rng(0).dirichlet(np.ones(world.actions), world.states)
    assert (policy_evaluation(world, drawn, discount=0.95) <= by_policy.values + 1e-9).all()


def test_a_long_horizon_is_none():
    world = frozen_lake()
    finite = policy_evaluation(world, discount=0.9, horizon=400)
    np.testing.assert_allclose(finite, policy_evaluation(world, discount=0.9), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "world"),
    [
        ("FrozenLake-v1", {"map_name": "4x4", "is_slippery": True}, frozen_lake(4)),
        ("FrozenLake-v1", {"map_name": "8x8", "is_slippery": True}, frozen_lake(8)),
        ("FrozenLake-v1", {"is_slippery": False}, frozen_lake(slippery=False)),
        ("CliffWalking-v1", {}, cliff_walk()),
        ("CliffWalking-v1", {"is_slippery": True}, cliff_walk(slippery=True)),
    ],
)
def test_transitions_are_gymnasiums(name, options, world):
    gymnasium = pytest.importorskip("gymnasium", reason="gymnasium holds the tables compared with")
    theirs = gymnasium.make(name, **options).unwrapped
    assert (theirs.observation_space.n, theirs.action_space.n) == (world.states, world.actions)
    np.testing.assert_allclose(theirs.initial_state_distrib, world.start)
    for s, a in np.ndindex(world.states, world.actions):
        if world.terminated[s, a].all() and (world.successor[s, a] == s).all():
            continue  # The end, beyond which gymnasium's cliff goes on.
        ours = zip(
            world.probability[s, a], world.successor[s, a], world.reward[s, a],
            world.terminated[s, a], strict=True,
        )  # fmt: skip
        assert _merged(theirs.P[s][a]) == _merged(ours), (s, a)


def _merged(outcomes):
    found = {}
    for probability, to, reward, ended in outcomes:
        if probability > 0:
            at = (int(to), float(reward), bool(ended))
            found[at] = round(found.get(at, 0) + float(probability), 9)
    return found


def test_what_is_drawn_is_what_the_tables_say():
    world = frozen_lake()
    environment = world_environment(world, limit=7)

    @jax.jit
    def drawn(state, action):
        place = environment.reset(KEY)._replace(state=jnp.int16(state), steps=jnp.int32(6))
        keys = jax.vmap(lambda i: stream(KEY, i))(jnp.arange(3000))
        return jax.vmap(lambda key: environment.step(key, place, action))(keys)

    for state, action in ((0, 1), (14, 2), (6, 0)):
        places, step = jax.device_get(drawn(state, action))
        counted = np.bincount(places.state, minlength=16) / 3000
        told = np.zeros(16)
        np.add.at(told, world.successor[state, action], world.probability[state, action])
        np.testing.assert_allclose(counted, told, atol=0.03)
        holes_and_goal = [5, 7, 11, 12, 15]
        np.testing.assert_array_equal(step.terminated, np.isin(places.state, holes_and_goal))
        np.testing.assert_array_equal(step.reward, places.state == 15)
        # The seventh step is the last: what has not come to an end is broken off.
        np.testing.assert_array_equal(step.truncated, ~step.terminated)


def test_rewards_are_as_noisy_as_told_and_features_are_seen():
    environment = world_environment(maximisation_bias(mean=2.0, noise=0.5))
    place = environment.reset(KEY)._replace(state=jnp.int16(1))
    keys = jax.random.split(KEY, 4000)
    rewards = jax.jit(jax.vmap(lambda k: environment.step(k, place, jnp.array(3))[1].reward))(keys)
    assert abs(rewards.mean() - 2) < 0.04
    assert abs(rewards.std() - 0.5) < 0.03
    star = baird_star()
    seen = world_environment(star).observe(place)
    np.testing.assert_array_equal(seen, [0, 2, 0, 0, 0, 0, 0, 1])
    assert policy_evaluation(star, discount=0.99).tolist() == [0.0] * 7


def test_bad_input_is_told():
    world = frozen_lake()
    environment = world_environment(world)
    place = environment.reset(KEY)
    with pytest.raises(ValueError, match="actions 0 to 3, not 4"):
        environment.step(KEY, place, jnp.array(4))
    with pytest.raises(ValueError, match="whole number"):
        environment.step(KEY, place, jnp.array(0.5))
    # Where the value is not known beforehand nothing is clamped in silence.
    assert jnp.isnan(jax.jit(environment.step)(KEY, place, jnp.array(4))[1].reward)
    for discount in (-0.1, 1.1):
        for solve in (policy_evaluation, policy_iteration, value_iteration):
            with pytest.raises(ValueError, match=r"discount must be in \[0, 1\]"):
                solve(world, discount=discount)
    with pytest.raises(ValueError, match="infinite"):
        policy_evaluation(cliff_walk(), np.zeros(48, int), discount=1.0)
    with pytest.raises(ValueError, match="still change"):
        value_iteration(
            world_of(lambda s, a: [(1.0, 0, 1.0, False)], 1, 1), discount=1.0, sweeps=50
        )
    with pytest.raises(ValueError, match=r"add up to 0\.5"):
        world_of(lambda s, a: [(0.5, 0, 0.0, True)], 1, 1)
    with pytest.raises(ValueError, match="leads to state 3"):
        world_of(lambda s, a: [(1.0, 3, 0.0, True)], 1, 1)
    with pytest.raises(ValueError, match="sides 4 and 8"):
        frozen_lake(5)
    with pytest.raises(ValueError, match="with one S"):
        frozen_lake(["SFS", "FFG"])
    with pytest.raises(ValueError, match="policy's actions"):
        policy_evaluation(world, np.full(16, 4), discount=0.9)
    with pytest.raises(ValueError, match="probabilities"):
        policy_evaluation(world, np.ones((16, 4)), discount=0.9)
    for wrong in ({"limit": 0},):
        with pytest.raises(ValueError, match="limit"):
            world_environment(world, **wrong)
    with pytest.raises(ValueError, match="horizon"):
        value_iteration(world, discount=0.9, horizon=0)
