"""Two networks that choose each other's examples: whose losses, how many, and none at all."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import Tiny, make_batch

import jaxmed as jm
from jaxmed.paradigms import co_teaching
from jaxmed.testing import check_learner

KEY = jax.random.key(0)
LOSS = jm.losses.cross_entropy


def blobs(n=40, wrong=0.4):
    """Two classes far apart, and labels of which some are wrong."""
    rng = np.random.default_rng(0)
    true = np.arange(n) % 2
    flipped = rng.permutation(n) < wrong * n
    x = rng.normal(size=(n, 3)) + 4.0 * true[:, None] - 2
    label = np.where(flipped, 1 - true, true)
    return {"image": jnp.asarray(x, jnp.float32), "label": jnp.asarray(label)}, true, flipped


def run_of(network=None, objective=None, **options):
    options = {"forget": 0.4, "loss": LOSS, **options}
    network = network or jm.from_linen(nn.Dense(2))
    return co_teaching(network, objective or jm.supervised(LOSS), optax.sgd(0.1), **options)


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


def test_nothing_forgotten_is_two_ordinary_trainings():
    """Dropout's draws included."""
    network, batch = jm.from_linen(Tiny(norm="dropout")), make_batch((6, 6))
    plain = jm.learner(network, jm.supervised(LOSS), optax.sgd(0.1))
    both = run_of(network, forget=0.0)
    state = both.init(KEY, batch)
    alone = {name: plain.init(jm.stream(KEY, "player", name), batch) for name in state.params}
    step, one = jax.jit(both.step), jax.jit(plain.step)
    for _ in range(3):
        state, metrics = step(state, batch)
        alone = {name: one(own, batch)[0] for name, own in alone.items()}
    assert sorted(alone) == ["first", "second"]
    close(state.params["first"]["net"], alone["first"].params["net"])
    close(state.params["second"]["net"], alone["second"].params["net"])
    assert metrics["first/kept"] == metrics["second/kept"] == 1


def logits(params, batch):
    return np.asarray(batch["image"] @ params["kernel"] + params["bias"])


def easy(params, batch, number):
    losses = np.asarray(LOSS(logits(params, batch), batch["label"]))
    return jnp.zeros(len(losses)).at[np.argsort(losses, kind="stable")[:number]].set(1.0)


def test_each_learns_what_the_other_finds_easy():
    batch, _, _ = blobs(10)
    run = run_of(forget=0.35)
    first = run.init(KEY, batch)
    after, metrics = run.step(first, batch)
    plain = jm.learner(jm.from_linen(nn.Dense(2)), jm.supervised(LOSS), optax.sgd(0.1))
    judge = first.params["second"]["net"]
    for name in ("first", "second"):
        start = plain.init(jm.stream(KEY, "player", name), batch)
        close(start.params["net"], first.params[name]["net"])
        chosen = {**batch, "weight": easy(judge, batch, 6)}  # 6.5, rounded down
        judge = plain.step(start, chosen)[0].params["net"]
        close(judge, after.params[name]["net"])
        np.testing.assert_allclose(metrics[f"{name}/kept"], 0.6)


def test_padding_and_unknown_labels_take_no_place():
    batch, _, _ = blobs(12)
    padded = {**batch, "weight": jnp.ones(12).at[8:].set(0.0)}
    moved = {**padded, "image": padded["image"].at[8:].set(1e3)}
    fewer = jax.tree.map(lambda x: x[:8], batch)
    run = run_of()
    states = [run.step(run.init(KEY, b), b)[0].params for b in (padded, moved, fewer)]
    close(states[0], states[1])
    close(states[0], states[2])

    known = lambda label: label >= 0  # noqa: E731
    told = {**batch, "label": batch["label"].at[8:].set(-1)}
    run = run_of(objective=jm.supervised(LOSS, known=known), known=known)
    after, metrics = run.step(run.init(KEY, told), told)
    close(after.params["first"]["net"], states[2]["first"]["net"])
    np.testing.assert_allclose(metrics["first/kept"], 0.5)  # 4 of 8


def test_the_share_may_grow_with_the_step():
    batch, _, _ = blobs()
    run = run_of(forget=optax.linear_schedule(0.0, 0.4, 4))
    state, step, kept = run.init(KEY, batch), jax.jit(run.step), []
    for _ in range(6):
        state, metrics = step(state, batch)
        kept.append(float(metrics["second/kept"]))
    np.testing.assert_allclose(kept, [1.0, 0.9, 0.8, 0.7, 0.6, 0.6], atol=1e-6)


def test_wrong_labels_are_left_out():
    batch, true, flipped = blobs(200)
    run = run_of(forget=optax.linear_schedule(0.0, 0.4, 30))
    state, step = run.init(KEY, batch), jax.jit(run.step)
    for _ in range(60):
        state, _ = step(state, batch)
    for name in ("first", "second"):
        kept = np.asarray(easy(state.params[name]["net"], batch, 120)) > 0
        assert flipped[kept].mean() < 0.03
    assert (run.predict(state, batch["image"])["logits"].argmax(-1) == true).mean() > 0.95


def test_a_label_outside_the_classes_stops_the_training():
    """It must not be left out as one that is hard."""
    batch, _, _ = blobs(10)
    bad = {**batch, "label": batch["label"].at[3].set(7)}
    run = run_of()
    _, metrics = run.step(run.init(KEY, batch), bad)
    assert np.isnan(metrics["loss"])


def test_the_laws_hold():
    run = run_of(jm.from_linen(Tiny(norm="group")), forget=0.25)
    held = check_learner(run, make_batch((6, 6)))
    assert "a step is compiled once" in held


@pytest.mark.parametrize("forget", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(forget):
    with pytest.raises(ValueError, match="forget is a share"):
        run_of(forget=forget)


def test_losses_that_are_not_one_an_example_are_refused():
    batch, _, _ = blobs(10)
    run = run_of(loss=lambda outputs, labels, where=None: LOSS(outputs, labels).mean())
    with pytest.raises(ValueError, match="one value an example"):
        run.step(run.init(KEY, batch), batch)
