"""One task after another: closed forms, reservoirs, gradients that do not conflict."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.core import Variables, flatten_paths, stream
from jaxmed.paradigms import (
    Consolidated,
    a_gem,
    consolidated,
    ewc,
    fisher_information,
    lwf,
    next_task,
    pretrained,
    replay,
    si,
)
from jaxmed.paradigms.continual._replay import drawn_from, remembered

KEY = jax.random.key(0)


def batch(seed=0, n=8, classes=3, shift=0.0):
    rng = np.random.default_rng(seed)
    return {
        "image": jnp.asarray(rng.normal(size=(n, 4)) + shift, jnp.float32),
        "label": jnp.asarray(rng.integers(0, classes, n)),
    }


def network():
    return jm.from_linen(nn.Dense(3))


def classify():
    return jm.supervised(jm.losses.cross_entropy)


def trained(objective, given, net=None, steps=50, rate=0.1):
    run = jm.learner(net or network(), objective, optax.sgd(rate))
    state, step = run.init(KEY, given), jax.jit(run.step)
    for _ in range(steps):
        state, metrics = step(state, given)
    return run, state, metrics


def test_fisher_information_of_logistic_regression():
    given = {**batch(n=400), "weight": jnp.ones(400).at[-100:].set(0.0)}
    variables = Variables(*network().init(KEY, given["image"]))
    p = np.asarray(jax.nn.softmax(network().apply(*variables, given["image"])[0]["logits"]))[:300]
    x, y = np.asarray(given["image"])[:300], np.asarray(given["label"])[:300]
    found = fisher_information(KEY, network(), variables, [given], labels="given")
    lack = p - np.eye(3)[y]
    np.testing.assert_allclose(found.importance["bias"], (lack**2).mean(0), rtol=1e-4)
    expected = np.einsum("ni,nk->ik", x**2, lack**2) / 300
    np.testing.assert_allclose(found.importance["kernel"], expected, rtol=1e-4)
    drawn = fisher_information(KEY, network(), variables, [given])
    np.testing.assert_allclose(drawn.importance["bias"], (p * (1 - p)).mean(0), atol=0.06)
    with pytest.raises(ValueError, match="no example"):
        fisher_information(KEY, network(), variables, [])


def test_ewc_ends_where_both_quadratics_balance():
    """The minimum of (theta - a)^2 / 2 + F (theta - b)^2 / 2 is their weighted mean."""
    net = jm.from_functions(
        lambda key, x: {"w": jnp.zeros(3)}, lambda params, x: {"logits": params["w"] + 0 * x}
    )
    goal = jm.supervised(lambda out, y: 0.5 * jnp.square(out - y).sum(-1))
    a, b, f = np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0]), np.array([0.0, 1.0, 4.0])
    past = Consolidated({"w": jnp.asarray(b)}, {"w": jnp.asarray(f)})
    given = {"image": jnp.zeros((1, 3)), "label": jnp.asarray(a)[None]}
    _, state, metrics = trained(ewc(goal, past, weight=2.0), given, net, steps=200)
    wanted = (a + 2 * f * b) / (1 + 2 * f)
    np.testing.assert_allclose(state.params["net"]["w"], wanted, rtol=1e-4)
    np.testing.assert_allclose(metrics["penalty"], (f * (wanted - b) ** 2).sum(), rtol=1e-3)


def test_several_tasks_are_one_penalty_but_for_a_constant():
    rng = np.random.default_rng(0)
    parts = [
        Consolidated({"w": jnp.asarray(rng.normal(size=4))}, {"w": jnp.asarray(rng.random(4))})
        for _ in range(3)
    ]
    both = consolidated(*parts)

    def penalty(one, w):
        return float((one.importance["w"] * (w - one.params["w"]) ** 2).sum())

    gaps = []
    for _ in range(4):
        w = rng.normal(size=4)
        gaps.append(sum(penalty(one, w) for one in parts) - penalty(both, w))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-5)


def test_si_gathers_the_fall_of_the_loss_and_then_holds():
    given = batch()
    run, state, metrics = trained(si(classify()), given, steps=0 + 1, rate=0.01)
    first = float(metrics["loss"])
    step = jax.jit(run.step)
    for _ in range(100):
        state, metrics = step(state, given)
    gathered = sum(float(leaf.sum()) for leaf in state.state["obj"]["path"].values())
    np.testing.assert_allclose(gathered, first - float(metrics["loss"]), rtol=0.1)
    later = next_task(state)
    for path, importance in later.state["obj"]["importance"].items():
        assert (importance >= 0).all()
        assert not later.state["obj"]["path"][path].any()
    held = later.state["obj"]["importance"]
    other = batch(1)
    free, kept = state, later._replace(
        state={**later.state, "obj": {**later.state["obj"], "importance": {
            path: 1e3 * leaf for path, leaf in held.items()}}})  # fmt: skip
    for _ in range(20):
        free, _ = step(free, other)
        kept, _ = step(kept, other)

    def moved(now):
        pairs = zip(jax.tree.leaves(now.params["net"]), jax.tree.leaves(state.params["net"]),
                    strict=True)  # fmt: skip
        return sum(float(jnp.abs(a - b).sum()) for a, b in pairs)

    assert moved(kept) < moved(free)
    with pytest.raises(ValueError, match="nothing to consolidate"):
        next_task(jm.learner(network(), classify(), optax.sgd(0.1)).init(KEY, given))


def test_old_answers_on_new_images_cost_nothing_at_first_and_hold():
    given = batch()
    run, state, _ = trained(classify(), given, steps=100)
    past = run.predicting.get(state)
    begun = pretrained(network(), past.params)
    once, first, _ = trained(lwf(classify(), past), batch(1), begun, steps=1)
    _, metrics = once.step(once.init(KEY, batch(1)), batch(1))
    np.testing.assert_allclose(metrics["distillation"], 0, atol=1e-6)

    def divergence(weight):
        *_, metrics = trained(lwf(classify(), past, weight=weight), batch(1), begun)
        return float(metrics["distillation"])

    assert divergence(10.0) < divergence(0.0) / 2
    z = np.asarray(once.predict(first, batch(1)["image"])["logits"]) / 2
    old = np.asarray(network().apply(*past, batch(1)["image"])[0]["logits"]) / 2
    log = lambda x: x - np.log(np.exp(x).sum(1, keepdims=True))  # noqa: E731
    kl = (np.exp(log(old)) * (log(old) - log(z))).sum(1).mean()
    _, metrics = once.step(first, batch(1))
    np.testing.assert_allclose(metrics["distillation"], kl, rtol=1e-3)


def test_a_reservoir_holds_each_example_with_the_same_probability():
    counts = np.zeros(40)

    @jax.jit
    def filled(key):
        own = {"memory": {"image": jnp.full((5, 1), -1.0)}, "seen": jnp.zeros((), jnp.int32)}
        for i in range(5):
            given = {"image": jnp.arange(8.0)[:, None] + 8 * i}
            own = remembered(jax.random.fold_in(key, i), own, given)
        return own

    for seed in range(400):
        own = filled(jax.random.key(seed))
        held = np.asarray(own["memory"]["image"])[:, 0].astype(int)
        assert len(set(held.tolist())) == 5
        counts[held] += 1
    assert int(own["seen"]) == 40
    np.testing.assert_allclose(counts / 400, 5 / 40, atol=0.06)


def test_padding_is_not_remembered_and_an_empty_memory_counts_for_nothing():
    own = {"memory": {"image": jnp.zeros((4, 1))}, "seen": jnp.zeros((), jnp.int32)}
    assert not drawn_from(KEY, own, 3)["weight"].any()
    given = {"image": jnp.arange(1.0, 4.0)[:, None], "weight": jnp.array([1.0, 0.0, 1.0])}
    own = remembered(KEY, own, given)
    assert int(own["seen"]) == 2
    np.testing.assert_array_equal(own["memory"]["image"][:, 0], [1, 3, 0, 0])
    drawn = drawn_from(KEY, own, 50)
    assert set(np.asarray(drawn["image"]).ravel().tolist()) == {1.0, 3.0}


def forgetting(make):
    """Accuracy on the first task after the second, whose classes are others."""
    first, second = batch(0, n=32, classes=2), batch(1, n=32, classes=1, shift=2.0)
    second = {**second, "label": second["label"] + 2}
    net = jm.from_linen(nn.Dense(3))
    run = jm.learner(net, make(), optax.adam(0.05))
    state, step = run.init(KEY, first), jax.jit(run.step)
    truth = (first["image"][:, 0] > 0).astype(jnp.int32)
    first = {**first, "label": truth}
    for _ in range(100):
        state, _ = step(state, first)
    for _ in range(100):
        state, _ = step(state, second)
    return float((run.predict(state, first["image"])["logits"].argmax(-1) == truth).mean())


def test_replay_keeps_what_is_forgotten_without_it():
    plain = forgetting(classify)
    kept = forgetting(lambda: replay(classify(), 64))
    projected = forgetting(lambda: a_gem(classify(), 64))
    assert plain < 0.7
    assert kept > plain + 0.2
    assert projected > plain + 0.1


def test_a_step_never_raises_the_memorys_loss_to_first_order():
    given, other = batch(0), {**batch(0), "label": (batch(0)["label"] + 1) % 3}
    run = jm.learner(network(), a_gem(classify(), 8, draws=64), optax.sgd(1.0))
    state = run.init(KEY, given)
    state, metrics = run.step(state, given)  # the memory is empty: no conflict
    assert float(metrics["conflict"]) == 0
    drawn_key = jm.stream(state.key, "step", state.step)
    after, metrics = run.step(state, other)
    assert float(metrics["conflict"]) == 1
    memory = drawn_from(stream(drawn_key, "replay"), state.state["obj"], 64)

    def loss(net):
        logits = network().apply(net, {}, memory["image"])[0]["logits"]
        return jm.losses.cross_entropy(logits, memory["label"]).mean()

    slope = jax.grad(loss)(state.params["net"])
    moved = jax.tree.map(lambda a, b: a - b, after.params["net"], state.params["net"])
    along = sum(float(jnp.vdot(slope[name], moved[name])) for name in moved)
    np.testing.assert_allclose(along, 0, atol=1e-5)


def test_heads_of_new_tasks_are_free():
    given = batch()
    _, state, _ = trained(classify(), given)
    variables = Variables(state.params["net"], {})
    past = fisher_information(KEY, network(), variables, [given])
    kept = jm.learner(network(), ewc(classify(), past), optax.sgd(0.1)).init(KEY, given)
    assert set(kept.state["obj"]["places"]) == set(flatten_paths(past.params))


@pytest.mark.parametrize(
    ("name", "told"), [("x", "none of the past parameters"), ("bias", "has the shape")]
)
def test_a_past_of_another_network_is_told(name, told):
    past = Consolidated({name: jnp.zeros(7)}, {name: jnp.zeros(7)})
    run = jm.learner(network(), ewc(classify(), past), optax.sgd(0.1))
    with pytest.raises(ValueError, match=told):
        run.init(KEY, batch())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda past: ewc(classify(), past, weight=-1), "weight must be finite and not negative"),
        (lambda past: consolidated(), "no task"),
        (lambda past: si(classify(), damping=0), "damping must be positive"),
        (
            lambda past: lwf(classify(), Variables({}, {}), temperature=0),
            "temperature must be positive",
        ),
        (lambda past: replay(classify(), 0), "one example or more"),
        (lambda past: replay(classify(), 5, weight=-1), "not negative, got -1"),
        (lambda past: a_gem(classify(), 5, draws=0), "one example or more"),
    ],
)
def test_mistakes_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make(Consolidated({"w": jnp.ones(1)}, {"w": jnp.ones(1)}))
