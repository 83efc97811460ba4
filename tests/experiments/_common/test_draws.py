"""Batches of replicates: each draws rows of its own, and is made as the ensemble makes it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxmed.experiments._common.draws import Draws, replicates

import jaxmed as jm
from jaxmed.data import ArraySource


def test_every_replicate_draws_its_own_labelled_rows_each_as_often():
    source = ArraySource({"image": np.arange(20.0)[:, None], "label": np.arange(20)})
    kept = (np.array([3, 5, 8]), np.array([1, 2, 4]))
    draws = Draws(source, kept, (2, 5), 4, 0)
    rows = np.stack([draws.rows(step)[0] for step in range(12)])  # (steps, seeds, rows)
    assert rows.shape == (12, 2, 7)
    for seed in range(2):
        labelled, others = rows[:, seed, :2].ravel(), rows[:, seed, 2:].ravel()
        assert np.bincount(labelled, minlength=20)[kept[seed]].tolist() == [8, 8, 8]
        assert set(np.bincount(others, minlength=20)) == {3}
    np.testing.assert_array_equal(draws.rows(7)[0], rows[7])
    assert draws[7]["image"].shape == (2, 7, 1)
    assert not (rows[:, 0, 2:] == rows[:, 1, 2:]).all()


def test_mapped_replicates_are_the_ensembles_members():
    network = jm.from_linen(jm.networks.mlp(2, hidden=(3,)))
    learner = jm.learner(
        network, jm.supervised(jm.losses.cross_entropy), jm.train.optimizer("sgd", 0.1, steps=2)
    )
    batch = {"image": jnp.ones((3, 4, 5)), "label": jnp.zeros((3, 4), jnp.int32)}
    mapped = replicates(learner, 3, "vmap").init(jax.random.key(1), batch)
    plain = jm.ensemble(learner, 3, own_batches=True).init(jax.random.key(1), batch)
    assert jax.tree.structure(mapped) == jax.tree.structure(plain)
    for a, b in zip(jax.tree.leaves(mapped.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert mapped.step.shape == ()
    assert (jax.random.key_data(mapped.key) == jax.random.key_data(plain.key)).all()
