"""Streams: losses before learning, regret within its bound, changes noticed and not imagined."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxmed as jm
from jaxmed.protocols import adwin, hedge, hindsight, page_hinkley, prequential, regret
from jaxmed.protocols.online._drift import _Window


def learner():
    return jm.learner(
        jm.from_linen(nn.Dense(2)), jm.supervised(jm.losses.cross_entropy), optax.sgd(0.3)
    )


def stream(batches=6, rows=4):
    rng = np.random.default_rng(0)
    for i in range(batches):
        weight = np.ones(rows, np.float32)
        weight[rows - (i == batches - 1) :] = 0
        yield {
            "image": rng.normal(size=(rows, 3)).astype(np.float32),
            "label": rng.integers(0, 2, rows), "weight": weight,
        }  # fmt: skip


def loss(out, batch):
    return jm.losses.cross_entropy(out["logits"], batch["label"])


def test_each_batch_is_predicted_before_it_is_learned_from():
    run = learner()
    trace = prequential(run, stream(), loss, key=jax.random.key(3))
    state, expected = None, []
    for given_batch in stream():
        batch = {name: jnp.asarray(v) for name, v in given_batch.items()}
        state = run.init(jax.random.key(3), batch) if state is None else state
        values = np.asarray(loss(run.predict(state, batch["image"]), batch))
        expected += values[given_batch["weight"] > 0].tolist()
        state, _ = run.step(state, batch)
    np.testing.assert_allclose(trace.losses, expected, rtol=1e-5)
    assert len(trace.losses) == 23  # one row was padding
    assert trace.batch.tolist() == [i // 4 for i in range(23)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), trace.state.params, state.params
    )
    later = prequential(run, stream(1), loss, state=trace.state)
    assert int(later.state.step) == 7


def test_running_means():
    trace = prequential(learner(), stream(), loss)
    x = trace.losses
    np.testing.assert_allclose(trace.running(), [x[: i + 1].mean() for i in range(len(x))])
    expected = [x[max(0, i - 4) : i + 1].mean() for i in range(len(x))]
    np.testing.assert_allclose(trace.running(window=5), expected)


@given(st.integers(0, 2**16), st.sampled_from(["random", "hostile"]))
def test_regret_is_within_its_bound(seed, kind):
    rng = np.random.default_rng(seed)
    rounds, experts = 60, 4
    if kind == "random":
        losses = 2 + 3 * rng.random((rounds, experts))
    else:  # whoever is trusted most loses
        losses = np.full((rounds, experts), 2.0)
        for t in range(rounds):
            so_far = hedge(losses[: t + 1], rate=0.7, low=2, high=5).weights[t]
            losses[t, int(np.argmax(so_far))] = 5.0
    for rate in (None, 0.7):
        found = hedge(losses, rate=rate, low=2, high=5)
        assert found.regret[-1] <= found.bound + 1e-9
    found = hedge(losses, low=2, high=5)
    np.testing.assert_allclose(found.bound, 3 * np.sqrt(rounds * np.log(experts) / 2))
    np.testing.assert_allclose(found.weights.sum(1), 1)
    np.testing.assert_allclose(found.weights[0], 1 / experts)
    best = np.cumsum(losses, 0)[-1].min()
    np.testing.assert_allclose(found.regret[-1], found.losses.sum() - best)


def test_hindsight_is_a_learner_that_does_not_learn():
    trace = prequential(learner(), stream(), loss)
    fixed = hindsight(learner(), trace.state, stream(), loss)
    expected = []
    for batch in stream():
        values = np.asarray(loss(learner().predict(trace.state, batch["image"]), batch))
        expected += values[batch["weight"] > 0].tolist()
    np.testing.assert_allclose(fixed, expected, rtol=1e-5)
    assert len(fixed) == len(trace.losses) == 23
    with pytest.raises(ValueError, match="no batch"):
        hindsight(learner(), trace.state, [], loss)


@given(st.integers(0, 2**16), st.integers(1, 9), st.one_of(st.none(), st.integers(1, 12)))
def test_regret_is_against_the_best_of_each_stretch(seed, n, window):
    rng = np.random.default_rng(seed)
    own, fixed = rng.random(n), rng.random((n, 3))
    found = regret(own, fixed, window=window)
    for i in range(n):
        part = slice(0 if window is None else max(0, i + 1 - window), i + 1)
        expected = own[part].sum() - fixed[part].sum(0).min()
        np.testing.assert_allclose(found[i], expected, atol=1e-12)
    assert (regret(fixed[:, 0], fixed, window=window) >= -1e-12).all()
    np.testing.assert_allclose(regret(own, own), 0, atol=1e-12)


def test_page_hinkley_is_its_sum():
    x = np.random.default_rng(0).normal(size=300) + 2.0 * (np.arange(300) >= 150)
    found = page_hinkley(x, delta=0.1, threshold=12.0)
    assert 150 <= found.at[0] < 175
    total, lowest = 0.0, 0.0
    for i in range(int(found.at[0]) + 1):
        total += x[i] - x[: i + 1].mean() - 0.1
        lowest = min(lowest, total)
        assert (total - lowest > 12.0) == (i == found.at[0]) or i < 29
    falling = page_hinkley(-x, delta=0.1, threshold=12.0, direction=-1)
    assert falling.at[0] == found.at[0]
    assert not len(page_hinkley(x[:150], delta=0.1, threshold=12.0).at)


@given(st.integers(0, 2**16), st.integers(1, 200))
def test_a_window_knows_its_mean_and_variance(seed, n):
    x = np.random.default_rng(seed).random(n)
    window = _Window()
    for value in x:
        window.add(float(value))
    np.testing.assert_allclose(window.mean, x.mean())
    np.testing.assert_allclose(window.spread, x.var() * n, atol=1e-9)
    assert sum(len(row) for row in window.rows) <= 5 * (np.log2(n) + 1)
    while window.count > n // 2 and window.count > 2 ** len(window.rows):
        size = 2 ** (len(window.rows) - 1)
        window._forget()
        x = x[size:]
        np.testing.assert_allclose(window.mean, x.mean())
        np.testing.assert_allclose(window.spread, x.var() * len(x), atol=1e-7)


def test_windows_are_cut_where_errors_rise_and_hardly_ever_without():
    false, delays = 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        still = (rng.random(800) < 0.2).astype(float)
        false += len(adwin(still).at) > 0
        moved = np.concatenate([still[:400], (rng.random(400) < 0.6).astype(float)])
        found = adwin(moved)
        late = found.at[found.at >= 400]
        delays.append(int(late[0]) - 400)
        assert abs(found.mean[-1] - 0.6) < 0.12
    assert false <= 1
    assert max(delays) < 120


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: prequential(learner(), [], loss), "no batch"),
        (lambda: prequential(learner(), stream(), lambda o, b: jnp.ones(())), "one an example"),
        (lambda: prequential(learner(), stream(), loss).running(0), "window must be at least 1"),
        (lambda: regret([1.0], [1.0, 2.0]), "lengths differ: losses has 1, fixed has 2"),
        (lambda: regret([1.0], np.ones((1, 0))), r"must be \(examples, learners\)"),
        (lambda: regret([1.0], [[1.0], [1.0, 2.0]]), "fixed must be an array.*lengths"),
        (lambda: regret([np.nan], [1.0]), "losses holds 1"),
        (lambda: regret([1.0], [1.0], window=0), "window must be at least 1"),
        (lambda: hedge([[2.0]]), "give low and high"),
        (lambda: hedge([[0.5]], rate=-1), "rate must be positive"),
        (lambda: hedge([[0.5]], low=1, high=0), "above low"),
        (lambda: page_hinkley([1.0], threshold=0), "threshold must be positive"),
        (lambda: page_hinkley([1.0], direction=2), "1 or -1"),
        (lambda: adwin([2.0]), r"\[0, 1\]"),
        (lambda: adwin([0.0], delta=1.0), r"delta must be in \(0, 1\)"),
    ],
)
def test_mistakes_are_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: page_hinkley([0.0] * 9, delta=np.nan), "delta must be a finite"),
        (lambda: page_hinkley([0.0] * 9, threshold=np.inf), "threshold must be a finite"),
        (lambda: page_hinkley([0.0] * 9, least=0), "least must be at least 1"),
        (lambda: hedge(np.zeros((3, 0))), "one expert or more"),
        (lambda: hedge([[0.0, 1.0]], rate=np.inf), "rate must be a finite"),
        (lambda: hedge([[0.0, 1.0]], high=np.inf), "high must be a finite"),
        (lambda: prequential(learner(), stream(), lambda o, b: loss(o, b) * jnp.nan), "batch 0"),
        (lambda: prequential(learner(), stream(), loss).running(1.5), "whole number"),  # pyright: ignore
    ],
)
def test_settings_that_would_give_no_meaning_are_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
