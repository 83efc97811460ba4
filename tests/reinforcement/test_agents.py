"""Agents: what they learn from is what happened, and what they learn is what is best."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmed import learner, weighted
from jaxmed.core import from_functions, stateless
from jaxmed.reinforcement import (
    Environment,
    Step,
    actor_critic,
    boltzmann,
    cliff_walk,
    epsilon_greedy,
    frozen_lake,
    off_policy,
    on_policy,
    play,
    policy_evaluation,
    ppo,
    q_learning,
    random_walk,
    replay,
    sarsa,
    table,
    td,
    value_iteration,
    world_environment,
)
from jaxmed.testing import check_learner

KEY = jax.random.key(0)


def stairs(*, top: int = 3, limit: int = 5) -> Environment:
    """Action 1 climbs, 0 waits; the top ends the episode, which is broken off after a while."""

    def step(key, state, action):
        place, steps = state["place"] + action.astype(jnp.int16), state["steps"] + 1
        over = place >= top
        reward = place.astype(jnp.float32)
        return {"place": place, "steps": steps}, Step(reward, over, (steps >= limit) & ~over)

    return Environment(
        lambda key: {"place": jnp.zeros((), jnp.int16), "steps": jnp.zeros((), jnp.int16)},
        step,
        lambda state: jnp.stack([state["place"], state["steps"]]).astype(jnp.float32),
    )


def spy(check):
    """A learner whose metric says in how many rows of a batch a law does not hold."""

    def loss(network, params, state, batch, key):
        broken = jnp.stack([jnp.asarray(law).sum() for law in check(batch).values()])
        return 0.0 * jax.tree.leaves(params["net"])[0].sum(), (
            state,
            {"broken": broken.sum().astype(jnp.float32)},
        )

    network = from_functions(lambda key, x: {"w": jnp.zeros((2, 2))}, lambda p, x: x @ p["w"])
    return learner(network, stateless(loss), optax.sgd(0.1), inputs="observation")


def _transitions(batch):
    (place, steps), (later, next_steps) = batch["observation"].T, batch["next_observation"].T
    return {
        # The state reached, not the one from which the next episode began.
        "climbed": later != place + batch["action"],
        "time": next_steps != steps + 1,
        "reward": batch["reward"] != later,
        "end": batch["terminated"] != (later >= 3),
        "broken off": batch["truncated"] != ((next_steps >= 5) & (later < 3)),
        "begun anew": (place >= 3) | (steps >= 5),
    }


def test_what_is_learned_from_is_what_happened():
    """Each by its own loop; several steps, whose rewards are those of the states between."""
    agents = [
        off_policy(
            stairs(), spy(_transitions), replay(40), behaviour=boltzmann(), environments=4,
            batch=8, warm_up=16, iterations=20, updates=2,
        ),
        on_policy(stairs(), spy(_transitions), environments=4, length=6, minibatches=2, epochs=2),
    ]  # fmt: skip

    def several(batch):
        (place, steps), (later, next_steps) = batch["observation"].T, batch["next_observation"].T
        counted = jnp.arange(3) < batch["steps"][:, None]
        reward = jnp.where(counted, batch["reward"], 0)
        over = batch["terminated"] | batch["truncated"]
        return {
            "time": next_steps != steps + batch["steps"],
            "ended": ~over & (batch["steps"] != 3),
            "climbs": (jnp.diff(reward, axis=1) * counted[:, 1:]).min(1) < 0,
            "last": jnp.take_along_axis(reward, batch["steps"][:, None] - 1, 1)[:, 0] != later,
            "first": (reward[:, 0] - place) != batch["action"],
        }

    agents.append(
        off_policy(
            stairs(), spy(several), replay(40, steps=3), behaviour=boltzmann(), environments=4,
            batch=8, warm_up=30, iterations=20,
        )
    )  # fmt: skip

    def next_actions(batch):
        # Sequences (batch, time): the next action is the one taken, while the episode goes on.
        goes_on = ~(batch["terminated"] | batch["truncated"])[:, :-1]
        return {
            "taken": goes_on & (batch["next_action"][:, :-1] != batch["action"][:, 1:]),
            "probability": jnp.abs(batch["log_probability"] + np.log(2)) > 1e-6,
            "state": goes_on
            & (batch["next_observation"][:, :-1] != batch["observation"][:, 1:]).any(-1),
        }

    agents.append(on_policy(stairs(), spy(next_actions), environments=4, length=6, sequences=True))
    for agent in agents:
        state = jax.jit(agent.init)(KEY, {})
        step = jax.jit(agent.step)
        for _ in range(2):
            state, metrics = step(state, {})
            assert metrics["broken"] == 0
        assert metrics["episodes"] > 0
        # Two or three places up at most, in three to five steps.
        assert 3 <= metrics["length"] <= 5


def test_several_agents_in_one_environment_each_have_their_own_action_and_end():
    one = stairs(top=2, limit=6)

    def step(key, state, action):
        reached, told = jax.vmap(lambda s, a: one.step(key, s, a))(state, action)
        return reached, told

    both = Environment(
        lambda key: jax.tree.map(lambda x: jnp.stack([x, x]), one.reset(key)),
        step,
        jax.vmap(one.observe),
    )

    def each(batch):
        (place, steps), (later, _) = (
            jnp.moveaxis(batch[name], -1, 0) for name in ("observation", "next_observation")
        )
        return {
            "climbed": later != place + batch["action"],
            "reward": batch["reward"] != later,
            "end": batch["terminated"] != (later >= 2),
            # It goes on until the other has come to its end too.
            "begun anew": steps.max(1) >= 6,
        }

    agent = off_policy(
        both, spy(each), replay(60), behaviour=boltzmann(), environments=3, batch=8, warm_up=30,
        iterations=30,
    )  # fmt: skip
    state, metrics = jax.jit(agent.step)(jax.jit(agent.init)(KEY, {}), {})
    held = state.state["acting"].memory.transitions
    assert metrics["broken"] == 0
    assert metrics["episodes"] > 0
    assert held["action"].shape == held["terminated"].shape == (20, 3, 2)
    assert bool((held["terminated"].any(-1) & ~held["terminated"].all(-1)).any())


def test_iterations_in_one_program_are_those_of_many_steps():
    def made(iterations):
        return off_policy(
            stairs(),
            learner(
                from_functions(lambda key, x: {"w": jnp.zeros((2, 2))}, lambda p, x: x @ p["w"]),
                q_learning(discount=0.9, target_every=2, keep_errors=True),
                optax.adam(0.01),
                inputs="observation",
            ),
            replay(64, prioritised=0.6),
            behaviour=epsilon_greedy(optax.linear_schedule(1.0, 0.1, 6)),
            environments=4, batch=8, warm_up=16, iterations=iterations,
        )  # fmt: skip

    def after(agent, steps):
        state, step = jax.jit(agent.init)(KEY, {}), jax.jit(agent.step)
        for _ in range(steps):
            state, _ = step(state, {})
        return state

    one, many = after(made(1), 6), after(made(6), 1)
    assert (int(one.step), int(many.step)) == (6, 1)
    assert int(one.state["acting"].learned) == int(many.state["acting"].learned) == 6
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        (one.params, one.state["acting"].memory, one.state["obj"]),
        (many.params, many.state["acting"].memory, many.state["obj"]),
    )


def test_agents_are_learners():
    world = world_environment(random_walk(3), limit=9)
    critic = learner(
        table(5, 1), weighted({"a": td(discount=1.0, target_rate=0.5)}), optax.sgd(0.1),
        inputs="observation",
    )  # fmt: skip
    agent = on_policy(world, critic, environments=2, length=3)
    laws = check_learner(agent, {"observation": jnp.array([1, 2])}, inputs="observation")
    assert laws
    state = agent.init(KEY, {})
    assert set(agent.predicting.others(state)) == {"a/target"}
    other = agent.predicting.others(state)["a/target"]
    moved = agent.predicting.set(state, jax.tree.map(lambda x: x + 1.0, other))
    assert (agent.predict(moved, jnp.array([2]))["logits"] == 1).all()
    assert moved.state["acting"].episodes is state.state["acting"].episodes


@pytest.mark.slow
def test_values_of_a_walk_are_learned():
    critic = learner(table(7), td(discount=1.0, trace=0.8), optax.sgd(1.0), inputs="observation")
    agent = on_policy(
        world_environment(random_walk(5)), critic, environments=64, length=16, sequences=True,
        iterations=300,
    )  # fmt: skip
    state, _ = jax.jit(agent.step)(jax.jit(agent.init)(KEY, {}), {})
    values = state.params["net"]["table"][1:6, 0]
    np.testing.assert_allclose(values, np.arange(1, 6) / 6, atol=0.06)


def test_a_behaviour_may_have_actions_that_are_not_valued():
    """Values of states under a policy of two actions: up or not, by the network's one output."""
    often = jnp.array([0.25, 0.75])
    network = from_functions(lambda key, x: {"v": jnp.zeros(6)}, lambda p, x: x @ p["v"][:2, None])
    critic = learner(network, td(discount=0.9), optax.sgd(0.01), inputs="observation")
    agent = off_policy(
        stairs(), critic, replay(2000), environments=50, batch=8, warm_up=1000,
        behaviour=lambda values, step: jnp.broadcast_to(often, (len(values), 2)), iterations=20,
    )  # fmt: skip
    begun = jax.jit(agent.init)(KEY, {})
    held = begun.state["acting"].memory.transitions["action"]
    assert 0.4 < held[:20].mean() < 0.6  # The warm-up is by chance.
    acted = jax.jit(agent.step)(begun, {})[0].state["acting"].memory.transitions["action"]
    assert 0.7 < acted[20:40].mean() < 0.8


def test_q_learning_walks_the_edge_and_sarsa_the_safe_way():
    world = world_environment(cliff_walk(), limit=300)
    q = off_policy(
        world,
        learner(table(48, 4), q_learning(discount=1.0), optax.sgd(20.0), inputs="observation"),
        replay(2000), behaviour=epsilon_greedy(0.3), environments=20, batch=64, iterations=1500,
    )  # fmt: skip
    s = on_policy(
        world,
        learner(table(48, 4), sarsa(discount=1.0), optax.sgd(2.0), inputs="observation"),
        behaviour=epsilon_greedy(0.1), environments=8, length=1, iterations=4000,
    )  # fmt: skip
    returns, ways = {}, {}
    for name, agent in (("q", q), ("sarsa", s)):
        state, _ = jax.jit(agent.step)(jax.jit(agent.init)(KEY, {}), {})
        played = play(world, agent, state, 1, limit=60, keep_path=True)
        returns[name] = float(played.returns[0])
        ways[name] = np.asarray(played.path["state"].state[0, : int(played.lengths[0])])
        assert played.terminated.all()
    assert returns["q"] == -13
    assert returns["sarsa"] < -13
    edge = set(range(25, 35))
    assert edge < set(ways["q"].tolist())
    assert len(edge & set(ways["sarsa"].tolist())) <= 3


@pytest.mark.parametrize(
    ("objective", "epochs"),
    [
        pytest.param(ppo(), 2, id="ppo"),
        pytest.param(actor_critic(normalise=True), 1, id="a2c", marks=pytest.mark.slow),
    ],
)
def test_policies_find_the_goal(objective, epochs):
    lake = frozen_lake(slippery=False)
    network = from_functions(
        lambda key, x: {"logits": jnp.zeros((16, 4)), "value": jnp.zeros(16)},
        lambda params, x: {name: values[x] for name, values in params.items()},
    )
    agent = on_policy(
        world_environment(lake, limit=30),
        learner(network, objective, optax.adam(0.05), inputs="observation"),
        environments=32, length=16, discount=0.95, iterations=100,
        epochs=epochs, minibatches=epochs,
    )  # fmt: skip
    state, metrics = jax.jit(agent.step)(jax.jit(agent.init)(KEY, {}), {})
    played = play(world_environment(lake, limit=30), agent, state, 3)
    assert played.returns.tolist() == [1, 1, 1]
    assert 0 < metrics["return"] <= 1


@pytest.mark.slow
def test_a_lake_is_learned_as_it_is():
    """By priorities, whose importance corrects what they draw too often."""
    lake = frozen_lake(slippery=False)
    agent = off_policy(
        world_environment(lake, limit=50),
        learner(
            table(16, 4, initial=0.5),
            q_learning(discount=0.9, target_every=5, keep_errors=True),
            optax.sgd(10.0),
            inputs="observation",
        ),
        replay(1000, prioritised=0.6), behaviour=epsilon_greedy(1.0), environments=16,
        batch=64, warm_up=500, iterations=1500,
    )  # fmt: skip
    state, _ = jax.jit(agent.step)(jax.jit(agent.init)(KEY, {}), {})
    best = value_iteration(lake, discount=0.9)
    alive = [s for s in range(16) if s not in (5, 7, 11, 12, 15)]
    found = np.asarray(state.params["net"]["table"]).max(1)[alive]
    np.testing.assert_allclose(found, best.values[alive], atol=0.02)
    assert policy_evaluation(lake, best.policy, discount=0.9)[0] == pytest.approx(0.9**5)


def test_a_played_episode_is_the_one_that_its_path_tells():
    environment = stairs()
    network = from_functions(
        lambda key, x: {"w": jnp.zeros((2, 2))},
        # Waits at the start of an episode, then climbs.
        lambda p, x: jnp.stack([1.5 - x[:, 1], x[:, 1] - 1.5], -1) + 0 * (x @ p["w"]),
    )
    agent = learner(network, q_learning(discount=1.0), optax.sgd(0.1), inputs="observation")
    batch = {"observation": jnp.zeros((1, 2)), "action": jnp.zeros(1, int)}
    state = agent.init(KEY, batch)
    starts = {"place": jnp.array([0, 1, -3], jnp.int16), "steps": jnp.array([0, 1, 0], jnp.int16)}
    played = play(environment, agent, state, starts, keep_path=True, limit=9)
    assert played.lengths.tolist() == [5, 3, 5]
    assert played.terminated.tolist() == [True, True, False]
    assert played.truncated.tolist() == [False, False, True]
    assert played.returns.tolist() == [0 + 0 + 1 + 2 + 3, 1 + 2 + 3, -3 - 3 - 2 - 1 + 0]
    assert played.states["place"].tolist() == [3, 3, 0]
    assert played.path["action"][0, :5].tolist() == [0, 0, 1, 1, 1]
    assert played.path["state"]["place"][0].tolist() == [0, 0, 0, 1, 2, 3, 3, 3, 3]
    assert played.path["reward"].sum(1).tolist() == played.returns.tolist()
    short = play(environment, agent, state, starts, limit=4)
    assert short.lengths.tolist() == [4, 3, 4]
    assert not (short.terminated | short.truncated)[0]


def test_behaviours():
    values = jnp.array([[1.0, 3.0, 3.0], [0.0, -1.0, 2.0]])
    nought = jnp.array(0)
    np.testing.assert_allclose(epsilon_greedy()(values, nought), [[0, 0.5, 0.5], [0, 0, 1]])
    falling = epsilon_greedy(optax.exponential_decay(1.0, 10, 0.5))
    np.testing.assert_allclose(falling(values, jnp.array(10))[1], [1 / 6, 1 / 6, 4 / 6], rtol=1e-6)
    hot = boltzmann(optax.linear_schedule(2.0, 1.0, 4))
    expected = np.exp([1 / 1.5, 2, 2]) / np.exp([1 / 1.5, 2, 2]).sum()
    np.testing.assert_allclose(hot(values, jnp.array(2))[0], expected, rtol=1e-6)
    # A schedule that goes on beyond its range leaves the best action, and no other numbers.
    beyond = jnp.array(2000)
    for behaviour in (epsilon_greedy(lambda t: 1 - t / 1000), boltzmann(lambda t: 1 - t / 1000)):
        for step in (jnp.array(1000), beyond):
            np.testing.assert_allclose(behaviour(values, step), [[0, 0.5, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(epsilon_greedy(lambda t: t)(values, beyond), 1 / 3, rtol=1e-6)
    for make, wrong in ((epsilon_greedy, 1.5), (epsilon_greedy, -0.1), (boltzmann, 0.0)):
        with pytest.raises(ValueError, match=str(wrong)):
            make(wrong)


def test_bad_input_is_told():
    environment = world_environment(random_walk(3))
    q = learner(table(5, 1), q_learning(discount=1.0), optax.sgd(0.1), inputs="observation")
    for options, match in (
        ({"memory": replay(10), "batch": 11}, "gives no batch of 11"),
        ({"memory": replay(100), "batch": 64, "warm_up": 8, "environments": 4}, "too short"),
        ({"memory": replay(100), "warm_up": 101}, "more than the 100"),
        ({"memory": replay(100), "environments": 0}, "environments must be"),
        ({"memory": replay(100), "iterations": 0}, "iterations must be"),
    ):
        with pytest.raises(ValueError, match=match):
            off_policy(environment, q, behaviour=boltzmann(), **options)
    for options, match in (
        ({"environments": 3, "length": 5, "minibatches": 4}, "15 transitions do not divide"),
        ({"environments": 3, "minibatches": 2, "sequences": True}, "3 rollouts"),
        ({"discount": 1.5}, "discount"),
        ({"trace": -0.5}, "trace"),
        ({"epochs": 0}, "epochs"),
    ):
        with pytest.raises(ValueError, match=match):
            on_policy(environment, q, **options)
    ranked = off_policy(
        environment, q, replay(100, prioritised=1.0), behaviour=boltzmann(), environments=4,
        batch=8, warm_up=20,
    )  # fmt: skip
    with pytest.raises(ValueError, match="keep_errors=True"):
        jax.eval_shape(lambda: ranked.step(ranked.init(KEY, {}), {}))
    good = world_environment(random_walk(3))
    for step, match in (
        (lambda place, step: (place._replace(steps=1.0 * place.steps), step), r"\.steps is int32"),
        (lambda place, step: (place, step._replace(terminated=1.0)), "a bool"),
    ):
        bad = good._replace(step=lambda key, at, action, f=step: f(*good.step(key, at, action)))
        with pytest.raises(ValueError, match=match):
            jax.eval_shape(lambda bad=bad: on_policy(bad, q).init(KEY, {}))
    # An agent that would never take some of the actions is refused, whoever acts.
    lake = world_environment(frozen_lake(), limit=3)
    few = learner(table(16, 3), q_learning(discount=1.0), optax.sgd(0.1), inputs="observation")
    known = few.init(KEY, {"observation": jnp.zeros(1, int), "action": jnp.zeros(1, int)})
    off = off_policy(lake, few, replay(100), behaviour=boltzmann(), batch=8, warm_up=64)
    for act in (
        lambda: off.init(KEY, {}),
        lambda: on_policy(lake, few).init(KEY, {}),
        lambda: play(lake, few, known, 2),
    ):
        with pytest.raises(ValueError, match="4 actions, and the agent chooses from 3"):
            jax.eval_shape(act)
    flat = from_functions(lambda key, x: {"w": jnp.zeros(())}, lambda p, x: x * p["w"])
    flat = learner(flat, q_learning(discount=1.0), optax.sgd(0.1), inputs="observation")
    with pytest.raises(ValueError, match="a value for each action"):
        jax.eval_shape(lambda: on_policy(environment, flat).init(KEY, {}))
    state = q.init(KEY, {"observation": jnp.zeros(1, int), "action": jnp.zeros(1, int)})
    deep = from_functions(lambda key, x: {"w": jnp.zeros((2, 2))}, lambda p, x: x @ p["w"])
    deep = learner(deep, q_learning(discount=1.0), optax.sgd(0.1), inputs="observation")
    seen = deep.init(KEY, {"observation": jnp.zeros((1, 2)), "action": jnp.zeros(1, int)})
    wide = stairs()._replace(observe=lambda state: jnp.zeros(3))
    with pytest.raises(ValueError, match=r"shows, float32\[3\]"):
        play(wide, deep, seen, 2)
    with pytest.raises(ValueError, match="no start"):
        play(environment, q, state, 0)
    with pytest.raises(ValueError, match="limit"):
        play(environment, q, state, 1, limit=0)
    with pytest.raises(ValueError, match="one first axis"):
        play(environment, q, state, {"a": jnp.zeros(2), "b": jnp.zeros(3)})


def test_a_number_in_words_is_told_by_its_name():
    """As a table or a command line may hand it on."""
    with pytest.raises(ValueError, match=r"discount must be in \[0, 1\], got '0.9'"):
        q_learning(discount="0.9")
    with pytest.raises(ValueError, match=r"epsilon must be in \[0, 1\], got '0.1'"):
        epsilon_greedy("0.1")
    for wrong in ("1", float("nan")):
        with pytest.raises(ValueError, match="temperature must be positive"):
            boltzmann(wrong)
    inner = learner(table(2), q_learning(discount=0.9), optax.sgd(0.1), inputs="observation")
    for name, wrong in (("environments", "4"), ("batch", 2.5), ("iterations", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, a whole number"):
            off_policy(stairs(), inner, replay(40), behaviour=boltzmann(), **{name: wrong})
