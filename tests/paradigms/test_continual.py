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
            own = remembered(jax.random.fold_in(key, i), own, given, 8)
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
    given = {"image": jnp.arange(1.0, 4.0)[:, None], "weight": jnp.array([1.0, 0.0, 1.0])}
    none = drawn_from(KEY, own, 4, given, 3)
    assert not none["weight"].any()
    np.testing.assert_array_equal(none["image"][:, 0], [1, 2, 3, 1])  # as padding repeats rows
    own = remembered(KEY, own, given, 3)
    assert int(own["seen"]) == 2
    np.testing.assert_array_equal(own["memory"]["image"][:, 0], [1, 3, 0, 0])
    drawn = drawn_from(KEY, own, 50, given, 3)
    assert set(np.asarray(drawn["image"]).ravel().tolist()) == {1.0, 3.0}


def direction(params, x):
    """Logits of the image's direction: of an image of zeros there is none, and no gradient."""
    return {"logits": (x / jnp.linalg.norm(x, axis=-1, keepdims=True)) @ params["w"]}


@pytest.mark.parametrize("keep", [replay, a_gem])
def test_a_memory_without_examples_has_no_part_in_the_gradient(keep):
    def init(key, x):
        return {"w": jax.random.normal(key, (x.shape[-1], 3))}

    net = jm.from_functions(init, direction)
    given = {**batch(), "weight": jnp.ones(8).at[-3:].set(0.0)}
    _, state, metrics = trained(keep(classify(), 5), given, net, steps=1)
    _, plain, expected = trained(classify(), given, net, steps=1)
    assert float(metrics["replayed"]) == 0
    assert float(metrics["seen"]) == 5
    np.testing.assert_allclose(metrics["gradient_norm"], expected["gradient_norm"], rtol=1e-6)
    np.testing.assert_allclose(state.params["net"]["w"], plain.params["net"]["w"], rtol=1e-6)
    nothing = {**given, "weight": jnp.zeros(8)}
    _, state, metrics = trained(keep(classify(), 5), nothing, net, steps=2)
    assert float(metrics["seen"]) == float(metrics["gradient_norm"]) == 0


@pytest.mark.parametrize("keep", [replay, pytest.param(a_gem, marks=pytest.mark.slow)])
def test_a_memory_goes_by_the_rows_of_what_the_network_is_given(keep):
    scan = {"scan": batch()["image"], "label": batch()["label"], "prior": jnp.ones(3)}
    scan["site"] = jnp.arange(8)
    one = jm.learner(
        network(), keep(jm.supervised(jm.losses.cross_entropy, inputs="scan"), 5, inputs="scan"),
        optax.sgd(0.1), inputs="scan",
    )  # fmt: skip
    state, _ = one.step(one.init(KEY, scan), scan)
    assert set(state.state["obj"]["memory"]) == {"scan", "label", "site"}
    with pytest.raises(ValueError, match="the memory holds 'site' of each example"):
        one.step(state, {name: scan[name] for name in ("scan", "label")})
    # More images without labels: they are the batch's, of what is drawn too.
    more = {**batch(), "unlabelled": batch(1, n=11)["image"]}
    _, state, metrics = trained(keep(jm.paradigms.entropy_minimisation(classify()), 5), more)
    assert "unlabelled" not in state.state["obj"]["memory"]
    assert np.isfinite(float(metrics["loss"]))
    bags = {"image": {"x": jnp.ones((8, 4)), "mask": jnp.ones((8, 2))}, "label": more["label"]}
    net = jm.from_functions(
        lambda key, x: {"w": jnp.ones((4, 3))}, lambda params, x: {"logits": x["x"] @ params["w"]}
    )
    _, state, _ = trained(keep(classify(), 5), bags, net, steps=1)
    assert state.state["obj"]["memory"]["image"]["mask"].shape == (5, 2)


@pytest.mark.parametrize("keep", [replay, pytest.param(a_gem, marks=pytest.mark.slow)])
def test_a_memory_resumes_to_the_bit(keep, tmp_path):
    source = jm.data.ArraySource({name: np.asarray(x) for name, x in batch(n=22).items()})
    feed = jm.data.batches(source, 8, seed=0)
    one = jm.learner(network(), keep(classify(), 5), optax.adam(0.1))
    whole = jm.fit(one, feed, steps=6, progress=False)
    jm.fit(one, feed, steps=4, out=tmp_path, progress=False)
    resumed = jm.fit(one, feed, steps=6, out=tmp_path, progress=False)
    jax.tree.map(
        np.testing.assert_array_equal, whole.state._replace(key=0), resumed.state._replace(key=0)
    )
    assert int(resumed.state.state["obj"]["seen"]) == 44  # padding rows are not


def test_the_next_task_is_that_of_every_member_player_and_part():
    given = batch()
    single = jm.learner(network(), si(classify()), optax.sgd(0.1))
    members = jm.ensemble(single, 3)
    state, _ = jax.jit(members.step)(members.init(KEY, given), given)
    found = next_task(state)
    for i in range(3):
        one = next_task(jm.paradigms.member(state, i))
        jax.tree.map(
            np.testing.assert_array_equal,
            jm.paradigms.member(found, i).state, one.state,
        )  # fmt: skip
    for learner, at in (
        (jm.learner(network(), jm.weighted({"a": si(classify())}), optax.sgd(0.1)), "obj/a"),
        (jm.alternate({"a": single, "b": single}, predicts="a"), "b/obj"),
        (jm.train.parameter_average(single), "obj"),
    ):
        state, _ = learner.step(learner.init(KEY, given), given)
        before, after = (flatten_paths(s.state) for s in (state, next_task(state)))
        moved = [p for p in after if "importance" in p and np.any(after[p] != before[p])]
        assert moved, at
        assert any(at in path for path in moved), (at, moved)


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


@pytest.mark.slow
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
    memory = drawn_from(
        stream(drawn_key, "replay"), state.state["obj"], 64, other, len(other["label"])
    )

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


@pytest.mark.parametrize("past", [{}, {"kernel": jnp.ones((4, 1)), "bias": jnp.ones(1)}])
def test_a_past_that_answers_otherwise_is_told(past):
    run = jm.learner(network(), lwf(classify(), Variables(past, {})), optax.sgd(0.1))
    with pytest.raises(ValueError, match="the past is of another network: '"):
        run.init(KEY, batch())
    free = jm.from_functions(
        lambda key, x: {"w": jnp.ones((4, 3)), "n": jnp.ones(())},
        lambda params, x: {"logits": (x @ params["w"])[:, : 3 if params["n"].ndim else 1]},
    )
    objective = lwf(classify(), Variables({"w": jnp.ones((4, 3)), "n": jnp.ones(())}, {}))
    run = jm.learner(free, objective, optax.sgd(0.1))
    state = run.init(KEY, batch())
    now = {"w": jnp.ones((4, 3)), "n": jnp.ones(1)}
    with pytest.raises(ValueError, match=r"has the shape \(8, 3\) and had \(8, 1\)"):
        run.step(state._replace(params={**state.params, "net": now}), batch())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda past: ewc(classify(), past, weight=-1), "weight must be finite and not negative"),
        (lambda past: consolidated(), "no task"),
        (
            lambda past: consolidated(past, Consolidated({"v": jnp.ones(1)}, {"v": jnp.ones(1)})),
            "task 1 is of another network than task 0: 'v' has the shape",
        ),
        (
            lambda past: ewc(classify(), past._replace(importance={"w": -jnp.ones(1)})),
            "of 'w' is to",
        ),
        (
            lambda past: ewc(classify(), past._replace(importance={"w": jnp.full(1, jnp.nan)})),
            "of 'w' is to",
        ),
        (lambda past: ewc(classify(), past._replace(importance={})), "'w' has a place or"),
        (lambda past: ewc(classify(), past._replace(importance={"w": jnp.ones(())})), "its import"),
        (
            lambda past: fisher_information(KEY, network(), Variables({}, {}), [], labels="drawn "),
            "'drawn' or 'given'",
        ),
        (lambda past: replay(classify(), 2.5), "one example or more"),
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
