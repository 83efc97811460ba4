"""Batches of replicates: each draws rows of its own, in the order that the records were made in."""

from __future__ import annotations

import numpy as np
from jaxmed.experiments._common.draws import draws

from jaxmed.data import ArraySource

SOURCE = ArraySource({"image": np.arange(20.0)[:, None], "label": np.arange(20)})
KEPT = (np.array([3, 5, 8]), np.array([1, 2, 4]))


def test_every_replicate_draws_its_own_labelled_rows_each_as_often():
    batches = draws(SOURCE, KEPT, (2, 5), 4, 0)
    rows = np.stack([batches.rows(step)[0] for step in range(12)])  # (steps, seeds, rows)
    assert rows.shape == (12, 2, 7)
    for seed in range(2):
        labelled, others = rows[:, seed, :2].ravel(), rows[:, seed, 2:].ravel()
        assert np.bincount(labelled, minlength=20)[KEPT[seed]].tolist() == [8, 8, 8]
        assert set(np.bincount(others, minlength=20)) == {3}
    np.testing.assert_array_equal(batches.rows(7)[0], rows[7])
    assert batches[7]["image"].shape == (2, 7, 1)
    assert not (rows[:, 0, 2:] == rows[:, 1, 2:]).all()


def test_rows_are_one_permutation_after_another_by_seed_pool_and_epoch():
    rows = np.stack([draws(SOURCE, KEPT, (3, 4), 5, 7).rows(step)[0] for step in range(5)])
    for member, kept in enumerate(KEPT):
        for epoch in range(5):
            own = np.random.default_rng([7 + member, 0, epoch]).permutation(kept)
            np.testing.assert_array_equal(rows[epoch, member, :3], own)
        everyone = np.random.default_rng([7 + member, 1, 0]).permutation(np.arange(20))
        np.testing.assert_array_equal(rows[:, member, 3:].ravel(), everyone)
