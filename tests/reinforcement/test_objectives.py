"""Objectives of reinforcement learning: the laws, their formulas in NumPy, rlax's losses."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxmed import learner, with_heads
from jaxmed.core import from_functions, from_linen
from jaxmed.reinforcement import (
    actor_critic,
    advantages,
    double_q_learning,
    dueling,
    epsilon_greedy,
    expected_sarsa,
    gradient_td,
    lambda_returns,
    ppo,
    q_learning,
    sarsa,
    table,
    td,
)
from jaxmed.testing import check_objective

KEY = jax.random.key(0)
ROWS, SEEN, ACTIONS, GAMMA = 6, 4, 3, 0.9


def drawn(rows: int = ROWS) -> dict[str, np.ndarray]:
    """Transitions of every kind: ended, broken off, weighted; float32 and seeded."""
    rng = np.random.default_rng(1)
    batch = {
        "observation": rng.normal(size=(rows, SEEN)),
        "next_observation": rng.normal(size=(rows, SEEN)),
        "action": rng.integers(0, ACTIONS, rows).astype(np.int32),
        "next_action": rng.integers(0, ACTIONS, rows).astype(np.int32),
        "reward": rng.normal(size=rows),
        "terminated": np.arange(rows) % 3 == 1,
        "truncated": np.arange(rows) % 3 == 2,
        "advantage": rng.normal(size=rows),
        "return": rng.normal(size=rows),
        "log_probability": rng.uniform(-2, -0.5, rows),
        "weight": np.array([1.0, 2.0, 0.5, 1.0, 1.0, 0.0])[:rows],
        "importance": rng.uniform(0.5, 1.0, rows),
    }
    return {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in batch.items()}


def linear(outputs: int):
    return from_linen(nn.Dense(outputs))


def critic():
    trunk = from_functions(lambda key, x: {}, lambda params, x: {"features": x})
    return with_heads(trunk, {"logits": nn.Dense(ACTIONS), "value": nn.Dense(1)})


ROWS_OF_LAWS = {
    "td": (td(discount=GAMMA, target_rate=0.1), linear(1)),
    "q_learning": (q_learning(discount=GAMMA, target_every=3, keep_errors=True), linear(ACTIONS)),
    "double_q_learning": (double_q_learning(discount=GAMMA, distance="huber"), linear(ACTIONS)),
    "sarsa": (sarsa(discount=GAMMA, target_every=2), linear(ACTIONS)),
    "expected_sarsa": (expected_sarsa(epsilon_greedy(0.1), discount=GAMMA), linear(ACTIONS)),
    "gradient_td": (gradient_td(discount=GAMMA), linear(1)),
    "gtd2": (gradient_td(discount=GAMMA, method="gtd2", ratio=2.0), linear(1)),
    "actor_critic": (actor_critic(), critic()),
    "ppo": (ppo(), critic()),
    "dueling": (
        q_learning(discount=GAMMA, target_rate=0.5),
        dueling(
            with_heads(
                from_functions(lambda key, x: {}, lambda params, x: {"features": x}),
                {"value": nn.Dense(1), "advantage": nn.Dense(ACTIONS)},
            )
        ),
    ),
}


@pytest.mark.parametrize("name", ROWS_OF_LAWS)
def test_objectives_obey_the_laws(name):
    objective, network = ROWS_OF_LAWS[name]
    check_objective(objective, network, drawn(), inputs="observation")


def evaluated(objective, network, batch, variables=None):
    """The loss, its gradient, the state and the metrics, in one program."""

    @jax.jit
    def run(batch):
        params, state = variables or network.init(KEY, batch["observation"])
        own, held = objective.init(KEY, network, params, state, batch)
        return jax.value_and_grad(
            lambda p: objective.loss(
                network, {"net": p, "obj": own}, {"net": state, "obj": held}, batch, KEY
            ),
            has_aux=True,
        )(params)

    return run(batch)


def values_of(network, observation):
    """What the network that `evaluated` begins with says."""
    params, state = jax.jit(network.init)(KEY, observation)
    return {name: np.asarray(x) for name, x in network.apply(params, state, observation)[0].items()}


def mean(values, batch):
    weight = batch["weight"]
    return (values * batch.get("importance", 1.0) * weight).sum() / weight.sum()


def test_one_step_losses_are_their_formulas():
    batch = drawn()
    network = linear(ACTIONS)
    q = values_of(network, batch["observation"])["logits"]
    later = values_of(network, batch["next_observation"])["logits"]
    rows = np.arange(ROWS)
    onward = GAMMA * ~batch["terminated"]  # Truncated or not.
    greedy = np.full((ROWS, ACTIONS), 0.1 / ACTIONS)
    greedy[rows, later.argmax(1)] += 0.9
    bootstrap = {
        "q": (q_learning(discount=GAMMA), later.max(1)),
        "sarsa": (sarsa(discount=GAMMA), later[rows, batch["next_action"]]),
        "expected": (
            expected_sarsa(epsilon_greedy(0.1), discount=GAMMA), (greedy * later).sum(1)
        ),
    }  # fmt: skip
    for objective, next_value in bootstrap.values():
        error = batch["reward"] + onward * next_value - q[rows, batch["action"]]
        (loss, (_, metrics)), gradient = evaluated(objective, network, batch)
        np.testing.assert_allclose(loss, mean(error**2 / 2, batch), rtol=1e-5)
        plain = {"weight": batch["weight"]}
        np.testing.assert_allclose(metrics["td_error"], mean(np.abs(error), plain), rtol=1e-5)
        # A half-gradient: what is bootstrapped from is held still.
        one = np.zeros((ROWS, ACTIONS))
        one[rows, batch["action"]] = -error * batch["importance"] * batch["weight"]
        np.testing.assert_allclose(
            gradient["bias"], one.sum(0) / batch["weight"].sum(), rtol=1e-4, atol=1e-6
        )


def test_huber_is_straight_beyond_one():
    batch = {
        **drawn(),
        "reward": np.full(ROWS, 50.0, np.float32),
        "terminated": np.ones(ROWS, bool),
    }
    network = linear(ACTIONS)
    q = values_of(network, batch["observation"])["logits"][np.arange(ROWS), batch["action"]]
    (loss, _), _ = evaluated(q_learning(discount=GAMMA, distance="huber"), network, batch)
    np.testing.assert_allclose(loss, mean(50 - q - 0.5, batch), rtol=1e-5)


def test_n_steps_are_as_counted_by_hand():
    network = table(3, 2, initial=1.0)
    batch = {
        "observation": np.array([0, 0, 1]),
        "action": np.array([0, 1, 0]),
        # What lies beyond an example's steps may hold anything.
        "reward": np.array(
            [[1.0, 2.0, 4.0], [1.0, 2.0, np.nan], [8.0, np.nan, np.nan]], np.float32
        ),
        "steps": np.array([3, 2, 1]),
        "terminated": np.array([False, True, False]),
        "next_observation": np.array([2, 2, 0]),
    }
    (loss, (state, _)), _ = evaluated(q_learning(discount=0.5, keep_errors=True), network, batch)
    error = np.array([1 + 1 + 1 + 0.125 - 1, 1 + 1 - 1, 8 + 0.5 - 1])
    np.testing.assert_allclose(state["obj"]["td_error"], error, rtol=1e-6)
    np.testing.assert_allclose(loss, (error**2 / 2).mean(), rtol=1e-6)


def test_double_is_single_where_both_networks_agree_and_elsewhere_as_published():
    batch, network = drawn(), linear(ACTIONS)
    single = evaluated(q_learning(discount=GAMMA, double=False, target_every=5), network, batch)
    double = evaluated(q_learning(discount=GAMMA, double=True, target_every=5), network, batch)
    np.testing.assert_array_equal(single[0][0], double[0][0])

    objective = q_learning(discount=GAMMA, target_every=5)
    other = jax.tree.map(
        lambda x: x[:, ::-1] if x.ndim == 2 else x, network.init(KEY, batch["observation"])[0]
    )

    @jax.jit
    def with_other(batch):
        params, state = network.init(KEY, batch["observation"])
        _, held = objective.init(KEY, network, params, state, batch)
        held = {**held, "target": {**held["target"], "params": other}}
        return objective.loss(
            network, {"net": params, "obj": {}}, {"net": state, "obj": held}, batch, KEY
        )[0]

    rows = np.arange(ROWS)
    q = values_of(network, batch["observation"])["logits"]
    by = values_of(network, batch["next_observation"])["logits"]
    worth = np.asarray(network.apply(other, {}, batch["next_observation"])[0]["logits"])
    next_value = worth[rows, by.argmax(1)]
    error = batch["reward"] + GAMMA * ~batch["terminated"] * next_value - q[rows, batch["action"]]
    np.testing.assert_allclose(with_other(batch), mean(error**2 / 2, batch), rtol=1e-5)


def test_a_target_moves_after_the_step_alone():
    batch, network = drawn(), linear(ACTIONS)
    for moves, expected in (({"target_every": 2}, [0, 1, 1, 3]), ({"target_rate": 0.25}, None)):
        agent = learner(
            network, q_learning(discount=GAMMA, **moves), optax.sgd(0.1), inputs="observation"
        )
        state = agent.init(KEY, batch)
        step = jax.jit(agent.step)
        before = [state.params["net"]["bias"]]
        targets = [agent.predicting.others(state)["target"].params["bias"]]
        for _ in range(4):
            state, _ = step(state, batch)
            before.append(state.params["net"]["bias"])
            targets.append(agent.predicting.others(state)["target"].params["bias"])
        if expected is not None:
            made_of = [before[i] for i in (0, 0, 2, 2, 4)]
        else:
            made_of = [before[0]]
            for i in range(1, 5):
                made_of.append(0.75 * made_of[-1] + 0.25 * before[i])
        np.testing.assert_allclose(targets, made_of, rtol=1e-5)


def test_a_permuted_action_set_permutes_the_values():
    batch, order = drawn(), np.array([2, 0, 1])
    place = np.argsort(order)
    moved = {**batch, **{n: place[batch[n]].astype(np.int32) for n in ("action", "next_action")}}
    for objective in (
        q_learning(discount=GAMMA, target_every=2),
        sarsa(discount=GAMMA),
        expected_sarsa(epsilon_greedy(0.3), discount=GAMMA),
    ):
        agent = learner(linear(ACTIONS), objective, optax.sgd(0.1), inputs="observation")

        @jax.jit
        def run(batch, order, agent=agent):
            state = agent.init(KEY, batch)
            net = {k: v[..., order] for k, v in state.params["net"].items()}
            held = jax.tree.map(lambda x: x[..., order] if x.ndim else x, state.state)
            state = state._replace(params={**state.params, "net": net}, state=held)
            for _ in range(3):
                state, _ = agent.step(state, batch)
            return agent.predict(state, batch["observation"])["logits"]

        there = run(moved, order)
        np.testing.assert_allclose(there, run(batch, np.arange(ACTIONS))[:, order], rtol=1e-5)


# Sequences.

ALONG = {
    "reward": np.random.default_rng(2).normal(size=(3, 7)).astype(np.float32),
    "terminated": np.array([[0, 0, 1, 0, 0, 0, 0], [0] * 7, [0, 0, 0, 0, 0, 0, 1]], bool),
    "truncated": np.array([[0, 0, 0, 0, 1, 0, 0], [0] * 7, [0] * 7], bool),
}
VALUE = np.random.default_rng(3).normal(size=(3, 7)).astype(np.float32)
LATER = np.random.default_rng(4).normal(size=(3, 7)).astype(np.float32)


def test_lambda_returns_are_the_mean_of_n_step_returns():
    found = lambda_returns(**ALONG, next_value=LATER, discount=GAMMA, trace=0.7)
    for row in range(3):
        for t in range(7):
            total, discounted, weight, expected = 0.0, 1.0, 1.0, 0.0
            for k in range(t, 7):
                total += discounted * ALONG["reward"][row, k]
                discounted *= GAMMA
                bootstrap = 0 if ALONG["terminated"][row, k] else discounted * LATER[row, k]
                over = ALONG["terminated"][row, k] or ALONG["truncated"][row, k] or k == 6
                expected += weight * (1.0 if over else 0.3) * (total + bootstrap)
                weight *= 0.7
                if over:
                    break
            np.testing.assert_allclose(found[row, t], expected, rtol=2e-5)
    np.testing.assert_allclose(
        advantages(**ALONG, value=VALUE, next_value=LATER, discount=GAMMA, trace=0.7),
        found - VALUE,
        rtol=1e-6,
    )


def test_forward_is_backward():
    """What lambda-returns move values by is what eligibility traces move them by."""
    states = np.array([[0, 1, 2, 1, 0, 2, 1]])
    reached = np.array([[1, 2, 1, 0, 2, 1, 0]])
    reward = ALONG["reward"][:1]
    terminated = np.zeros((1, 7), bool)
    terminated[0, 4] = True
    batch = {
        "observation": states,
        "next_observation": reached,
        "reward": reward,
        "terminated": terminated,
    }
    network = table(3)
    values = np.array([0.5, -1.0, 2.0], np.float32)
    variables = ({"table": jnp.asarray(values[:, None])}, {})
    _, gradient = evaluated(td(discount=GAMMA, trace=0.8), network, batch, variables)
    moved, trace = np.zeros(3), np.zeros(3)
    for t in range(7):
        trace *= GAMMA * 0.8
        trace[states[0, t]] += 1
        onward = 0 if terminated[0, t] else GAMMA * values[reached[0, t]]
        moved += (reward[0, t] + onward - values[states[0, t]]) * trace
        if terminated[0, t]:
            trace[:] = 0
    np.testing.assert_allclose(-gradient["table"][:, 0] * 7, moved, rtol=1e-5)


def test_a_trace_of_0_is_one_step_and_of_1_all_rewards():
    batch = {
        "observation": np.arange(6).reshape(2, 3) % 4,
        "next_observation": np.arange(1, 7).reshape(2, 3) % 4,
        "reward": ALONG["reward"][:2, :3],
        "terminated": np.array([[False, False, True]] * 2),
    }
    network = table(4)
    variables = ({"table": jnp.array([[0.3], [1.0], [-2.0], [0.7]])}, {})
    (along, _), _ = evaluated(td(discount=GAMMA), network, batch, variables)
    single = {name: x.reshape(6) for name, x in batch.items()}
    (alone, _), _ = evaluated(td(discount=GAMMA), network, single, variables)
    np.testing.assert_allclose(along, alone, rtol=1e-6)
    (whole, _), _ = evaluated(td(discount=GAMMA, trace=1.0), network, batch, variables)
    r = batch["reward"]
    sums = np.stack(
        [r[:, 0] + GAMMA * r[:, 1] + GAMMA**2 * r[:, 2], r[:, 1] + GAMMA * r[:, 2], r[:, 2]], 1
    )
    value = np.array([0.3, 1.0, -2.0, 0.7])[batch["observation"]]
    np.testing.assert_allclose(whole, ((sums - value) ** 2 / 2).mean(), rtol=1e-5)


# What does not converge, and what does.


def star(importance):
    """Baird's star as its expected transitions: of each state, under each action."""
    from jaxmed.reinforcement import baird_star

    features = baird_star().features.astype(np.float32)
    seen, reached = np.repeat(features, 7, 0), np.tile(features, (7, 1))
    # From each state: six ways by action 0, of which the target policy takes none, one by 1.
    likely = np.tile([1 / 7] * 7, 7)
    ratio = np.tile([0.0] * 6 + [7.0], 7)
    zeros = np.zeros(49, np.float32)
    return {
        "observation": seen,
        "next_observation": reached,
        "reward": zeros,
        "terminated": zeros.astype(bool),
        "weight": likely.astype(np.float32),
        "importance": (ratio if importance else np.ones(49)).astype(np.float32),
    }


def test_td_diverges_on_bairds_star_and_gradient_td_does_not():
    network = from_functions(
        lambda key, x: {"w": jnp.ones(8).at[6].set(10.0)}, lambda params, x: x @ params["w"]
    )
    batch = star(importance=True)
    error = {}
    for name, objective, steps in (
        ("td", td(discount=0.99), 1000),
        ("tdc", gradient_td(discount=0.99, ratio=10.0), 1000),
        ("gtd2", gradient_td(discount=0.99, method="gtd2", ratio=10.0), 1000),
    ):
        agent = learner(network, objective, optax.sgd(0.02), inputs="observation")

        @jax.jit
        def run(agent=agent, steps=steps):
            def body(state, _):
                state, _ = agent.step(state, batch)
                return state, jnp.abs(batch["observation"] @ state.params["net"]["w"]).max()

            return jax.lax.scan(body, agent.init(KEY, batch), None, length=steps)[1]

        error[name] = np.asarray(run())
    assert error["td"][-1] > 100 * error["td"][0]
    for name in ("tdc", "gtd2"):
        assert error[name].max() < 40
        assert error[name][-1] < error[name][0]


def test_gradient_td_of_a_curved_value_has_its_second_derivative():
    """Against finite differences: h = (delta - v w) times the derivative of v w."""
    network = from_functions(
        lambda key, x: {"w": jnp.array([0.3, -0.5, 0.2, 0.7])},
        lambda params, x: jnp.tanh(x @ params["w"]),
    )
    batch = {k: v for k, v in drawn().items() if k not in ("weight", "importance")}
    objective = gradient_td(discount=GAMMA)
    theta, w = np.array([0.3, -0.5, 0.2, 0.7]), np.array([0.1, 0.4, -0.2, 0.3])
    x, y = batch["observation"].astype(float), batch["next_observation"].astype(float)
    slope = lambda t, s: (1 - np.tanh(s @ t) ** 2)[:, None] * s  # noqa: E731
    factor = GAMMA * ~batch["terminated"]
    delta = batch["reward"] + factor * np.tanh(y @ theta) - np.tanh(x @ theta)
    along = slope(theta, x) @ w
    step = 1e-5 * np.eye(4)
    h = (delta - along)[:, None] * np.stack(
        [(slope(theta + e, x) @ w - slope(theta - e, x) @ w) / 2e-5 for e in step], 1
    )
    up = delta[:, None] * slope(theta, x) - (factor * along)[:, None] * slope(theta, y) - h

    @jax.jit
    def gradient():
        params = {
            "net": {"w": jnp.asarray(theta, jnp.float32)},
            "obj": {"direction": {"w": jnp.asarray(w, jnp.float32)}},
        }
        return jax.grad(
            lambda p: objective.loss(network, p, {"net": {}, "obj": {}}, batch, KEY)[0]
        )(params)

    found = gradient()
    np.testing.assert_allclose(found["net"]["w"], -up.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["obj"]["direction"]["w"],
        -((delta - along)[:, None] * slope(theta, x)).mean(0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_double_q_learning_is_less_biased_than_q_learning():
    """On the process where half of what seems good is noise; 200 agents at once."""
    network = table(3, 10)

    def left(objective):
        agent = learner(network, objective, optax.sgd(0.1), inputs="observation")

        @jax.jit
        @jax.vmap
        def run(key):
            def body(state, key):
                where, what, noise = jax.random.split(key, 3)
                second = jax.random.bernoulli(where)
                action = jax.random.randint(what, (), 0, 10)
                on = (~second) & (action < 5)
                batch = {
                    "observation": second.astype(jnp.int32)[None],
                    "action": action[None],
                    "reward": jnp.where(second, jax.random.normal(noise) - 0.1, 0.0)[None],
                    "terminated": ~on[None],
                    "next_observation": jnp.ones(1, jnp.int32),
                }
                return agent.step(state, batch)[0], None

            batch = {
                "observation": jnp.zeros(1, jnp.int32), "action": jnp.zeros(1, jnp.int32)
            }  # fmt: skip
            state = agent.init(key, batch)
            state, _ = jax.lax.scan(body, state, jax.random.split(key, 400))
            return state.params["net"]["table"][0, :5].max()

        return float(run(jax.random.split(KEY, 200)).mean())

    single, double = left(q_learning(discount=1.0)), left(double_q_learning(discount=1.0))
    assert single > 0.1  # What is worth -0.1 seems to be worth while.
    assert double < 0.25 * single


def test_actor_critic_and_ppo_are_their_formulas():
    batch, network = drawn(), critic()
    out = values_of(network, batch["observation"])
    logs = out["logits"] - np.log(np.exp(out["logits"]).sum(1, keepdims=True))
    taken = logs[np.arange(ROWS), batch["action"]]
    entropy = -(np.exp(logs) * logs).sum(1)
    missed = (out["value"][:, 0] - batch["return"]) ** 2 / 2
    rest = 0.5 * missed - 0.01 * entropy
    (loss, (_, metrics)), _ = evaluated(actor_critic(), network, batch)
    np.testing.assert_allclose(loss, mean(-batch["advantage"] * taken + rest, batch), rtol=1e-5)
    plain = {"weight": batch["weight"]}
    np.testing.assert_allclose(metrics["entropy"], mean(entropy, plain), rtol=1e-5)
    middle = mean(batch["advantage"], plain)
    a = (batch["advantage"] - middle) / np.sqrt(mean((batch["advantage"] - middle) ** 2, plain))
    by = np.linspace(-0.4, 0.3, ROWS).astype(np.float32)
    batch = {**batch, "log_probability": taken + by}
    ratio = np.exp(-by)
    bounded = np.clip(ratio, 0.8, 1.2)
    assert 0 < (ratio != bounded).mean() < 1
    (loss, (_, metrics)), _ = evaluated(ppo(), network, batch)
    np.testing.assert_allclose(
        loss, mean(-np.minimum(ratio * a, bounded * a) + rest, batch), rtol=1e-5
    )
    np.testing.assert_allclose(metrics["clipped"], mean(ratio != bounded, plain), rtol=1e-5)
    one = jax.tree.map(lambda x: x[:1], batch)
    with pytest.raises(ValueError, match="normalise=False"):
        evaluated(ppo(), network, one)
    assert np.isfinite(evaluated(ppo(normalise=False), network, one)[0][0])


def rlax():
    """rlax; distrax, which its losses do not use, needs what may not be there."""
    try:
        return importlib.import_module("rlax")
    except ModuleNotFoundError as error:
        if error.name == "rlax":
            pytest.skip("rlax holds the losses compared with")
    except Exception:  # TensorFlow Probability on a later jax raises many things.
        pass

    class Anything(ModuleType):
        def __getattr__(self, name):
            return type(name, (), {})

    class Softmax:
        def __init__(self, logits, temperature=1.0):
            self.logs = jax.nn.log_softmax(logits / temperature)

        def log_prob(self, sample):
            return jnp.take_along_axis(self.logs, sample[:, None], 1)[:, 0]

        def entropy(self):
            return -(jnp.exp(self.logs) * self.logs).sum(-1)

    for name in [n for n in sys.modules if n.partition(".")[0] in ("rlax", "distrax")]:
        del sys.modules[name]
    sys.modules["distrax"] = Anything("distrax")
    sys.modules["distrax"].Softmax = Softmax
    try:
        return importlib.import_module("rlax")
    finally:
        del sys.modules["distrax"]


@pytest.mark.filterwarnings("ignore")
def test_losses_are_rlaxs():
    theirs = rlax()
    batch, network = drawn(), linear(ACTIONS)
    q, p = (
        jnp.asarray(values_of(network, batch[n])["logits"])
        for n in ("observation", "next_observation")
    )
    onward = (GAMMA * ~batch["terminated"]).astype(np.float32)
    r, a = batch["reward"], batch["action"]
    greedy = epsilon_greedy(0.2)(p, jnp.zeros(()))
    errors = {
        "q": jax.vmap(theirs.q_learning)(q, a, r, onward, p),
        "sarsa": jax.vmap(theirs.sarsa)(q, a, r, onward, p, batch["next_action"]),
        "expected": jax.vmap(theirs.expected_sarsa)(q, a, r, onward, p, greedy),
        "double": jax.vmap(theirs.double_q_learning)(q, a, r, onward, p, p),
    }
    ours = {
        "q": q_learning(discount=GAMMA),
        "sarsa": sarsa(discount=GAMMA),
        "expected": expected_sarsa(epsilon_greedy(0.2), discount=GAMMA),
        "double": q_learning(discount=GAMMA, target_rate=0.1),
    }
    for name, objective in ours.items():
        (loss, _), _ = evaluated(objective, network, batch)
        np.testing.assert_allclose(loss, mean(theirs.l2_loss(errors[name]), batch), atol=1e-6)
    (loss, _), _ = evaluated(q_learning(discount=GAMMA, distance="huber"), network, batch)
    np.testing.assert_allclose(loss, mean(theirs.huber_loss(errors["q"]), batch), atol=1e-6)
    # Along a sequence: row 1, which never ends.
    reward, on = ALONG["reward"][1], np.full(7, GAMMA, np.float32)
    np.testing.assert_allclose(
        lambda_returns(reward, ALONG["terminated"][1], LATER[1], discount=GAMMA, trace=0.6),
        theirs.lambda_returns(reward, on, LATER[1], 0.6),
        atol=1e-6,
    )
    values = np.concatenate([VALUE[1, :1], LATER[1]])
    np.testing.assert_allclose(
        advantages(
            reward, ALONG["terminated"][1], values[:-1], values[1:], discount=GAMMA, trace=0.6
        ),
        theirs.truncated_generalized_advantage_estimation(reward, on, 0.6, values),
        atol=1e-6,
    )
    logits, advantage = q, batch["advantage"]
    ones = np.ones(ROWS, np.float32)
    same = {k: v for k, v in batch.items() if k not in ("weight", "importance")}
    out = critic()
    logits = jnp.asarray(values_of(out, batch["observation"])["logits"])
    silent = {"value_weight": 0.0, "entropy_weight": 0.0}
    (loss, _), _ = evaluated(actor_critic(**silent), out, same)
    expected = theirs.policy_gradient_loss(logits, a, advantage, ones)
    np.testing.assert_allclose(loss, expected, atol=1e-6)
    taken = jnp.take_along_axis(jax.nn.log_softmax(logits), a[:, None], 1)[:, 0]
    ratio = jnp.exp(taken - batch["log_probability"])
    (loss, _), _ = evaluated(ppo(normalise=False, **silent), out, same)
    expected = theirs.clipped_surrogate_pg_loss(ratio, advantage, 0.2)
    np.testing.assert_allclose(loss, expected, atol=1e-6)
    (loss, (_, metrics)), _ = evaluated(actor_critic(), out, same)
    np.testing.assert_allclose(-metrics["entropy"], theirs.entropy_loss(logits, ones), atol=1e-6)


def test_several_agents_on_one_trunk_are_each_as_one():
    batch = {k: v for k, v in drawn().items() if k not in ("weight", "importance")}
    twice = from_functions(
        lambda key, x: {"w": jax.random.normal(key, (SEEN, 2, ACTIONS))},
        lambda params, x: jnp.einsum("bs,ska->bka", x, params["w"]),
    )
    both = np.stack([batch["action"], batch["next_action"]], 1)
    (joint, _), _ = evaluated(q_learning(discount=GAMMA), twice, {**batch, "action": both})
    alone = []
    weights = jax.jit(lambda: twice.init(KEY, batch["observation"])[0]["w"])()
    for i in range(2):
        one = from_functions(lambda key, x, i=i: {"w": weights[:, i]}, lambda p, x: x @ p["w"])
        (loss, _), _ = evaluated(q_learning(discount=GAMMA), one, {**batch, "action": both[:, i]})
        alone.append(loss)
    np.testing.assert_allclose(joint, np.mean(alone), rtol=1e-5)


def test_bad_input_is_told():
    batch, network = drawn(), linear(ACTIONS)
    for make in (td, q_learning, double_q_learning, sarsa, gradient_td):
        for discount in (-0.1, 1.5):
            with pytest.raises(ValueError, match=r"discount must be in \[0, 1\]"):
                make(discount=discount)
    for wrong, match in (
        ({"action": batch["action"] * 1.0}, "whole numbers"),
        ({"action": batch["action"][:3]}, "actions"),
        ({"reward": batch["reward"][:3]}, "reward has the shape"),
        ({"terminated": batch["terminated"][:3]}, "terminated has the shape"),
        ({"importance": batch["importance"][:3]}, "importance"),
        ({"steps": np.ones(ROWS, int)}, "most steps"),
    ):
        with pytest.raises(ValueError, match=match):
            jax.eval_shape(
                lambda wrong=wrong: evaluated(
                    q_learning(discount=GAMMA), network, {**batch, **wrong}
                )
            )
    params, state = network.init(KEY, batch["observation"])
    trees = {"net": params, "obj": {}}, {"net": state, "obj": {}}
    beyond = {**batch, "action": np.full(ROWS, 3)}
    with pytest.raises(ValueError, match="actions 0 to 2, not 3"):
        q_learning(discount=GAMMA).loss(network, *trees, beyond, KEY)
    (loss, _), _ = evaluated(q_learning(discount=GAMMA), network, beyond)
    assert jnp.isnan(loss)
    with pytest.raises(ValueError, match="needs sequences"):
        td(discount=GAMMA, trace=0.5).loss(linear(1), *trees, batch, KEY)
    with pytest.raises(ValueError, match="one value a state"):
        td(discount=GAMMA).loss(network, *trees, batch, KEY)
    with pytest.raises(ValueError, match="not both"):
        q_learning(discount=GAMMA, target_every=1, target_rate=0.1)
    with pytest.raises(ValueError, match="one shape"):
        lambda_returns(jnp.ones(3), jnp.zeros(2, bool), jnp.ones(3), discount=1.0, trace=0.5)
    with pytest.raises(ValueError, match="target_every"):
        q_learning(discount=GAMMA, target_every=0)
    with pytest.raises(ValueError, match="method"):
        gradient_td(discount=GAMMA, method="td")
    with pytest.raises(ValueError, match="clip"):
        ppo(clip=0.0)
    with pytest.raises(ValueError, match="entropy_weight"):
        actor_critic(entropy_weight=-1.0)
    with pytest.raises(ValueError, match="a table has"):
        table(0)
    with pytest.raises(ValueError, match="numbers of states"):
        table(3).apply(table(3).init(None, None)[0], {}, jnp.ones(2))


def test_networks_of_values_can_be_written_down_and_made_again():
    from jaxmed.inference import build, describe

    trunk = from_linen(nn.Dense(5))
    for network in (
        table(4, 2, initial=1.5),
        dueling(with_heads(trunk, {"value": nn.Dense(1), "advantage": nn.Dense(3)}), value="value"),
    ):
        written = describe(network)
        assert describe(build(written)) == written
