"""Snapshots of one training, and rates that begin anew."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed.train import schedule, snapshots

BATCH = {
    "image": jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32),
    "label": jnp.arange(6) % 2,
}


def single():
    objective = jm.supervised(jm.losses.cross_entropy)
    return jm.learner(jm.from_linen(nn.Dense(2)), objective, optax.sgd(0.5))


def test_each_place_holds_the_end_of_its_cycle_and_the_oldest_gives_way():
    plain, run = single(), snapshots(single(), 2, every=2)
    one, many = (learner.init(jax.random.key(0), BATCH) for learner in (plain, run))
    step, step_many = jax.jit(plain.step), jax.jit(run.step)
    ends = {}
    for made in range(1, 8):
        one, _ = step(one, BATCH)
        many, _ = step_many(many, BATCH)
        now = np.asarray(plain.predict(one, BATCH["image"])["logits"])
        ends[made] = now
        first, second = np.asarray(run.predict(many, BATCH["image"])["logits"])
        # Cycles end after steps 2, 4, 6; places of cycles to come follow the network.
        held = {1: (1, 1), 2: (2, 2), 3: (2, 3), 4: (2, 4), 5: (5, 4), 6: (6, 4), 7: (6, 7)}[made]
        np.testing.assert_allclose(first, ends[held[0]], rtol=1e-6)
        np.testing.assert_allclose(second, ends[held[1]], rtol=1e-6)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(many.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mistakes_are_told():
    for n, every in ((0, 1), (2.5, 1), (2, 0), (2, 1.5)):
        with pytest.raises(ValueError, match="one or more"):
            snapshots(single(), n, every=every)  # pyright: ignore
    twice = snapshots(snapshots(single(), 2, every=1), 2, every=1)
    with pytest.raises(ValueError, match="has snapshots already"):
        twice.init(jax.random.key(0), BATCH)
    with pytest.raises(ValueError, match="10 steps after the warm-up do not divide into 3"):
        schedule("cosine", 0.1, 10, cycles=3)


@pytest.mark.parametrize("name", ["cosine", "poly", "multistep", "constant"])
def test_a_rate_that_begins_anew_is_the_same_in_each_cycle(name):
    once, thrice = schedule(name, 0.1, 4), schedule(name, 0.1, 14, warmup=2, cycles=3)
    rates = np.array([thrice(t) for t in range(16)])
    expected = [once(t) for t in range(4)]
    np.testing.assert_allclose(rates[:2], [0, 0.05], rtol=1e-6)
    np.testing.assert_allclose(rates[2:14].reshape(3, 4), [expected] * 3, rtol=1e-5)
    np.testing.assert_allclose(rates[14:], [once(4)] * 2, rtol=1e-5, atol=1e-9)
