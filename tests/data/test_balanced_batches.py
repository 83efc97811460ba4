"""Batches of stated counts of each class: exact, each example as often, a function of the step."""

from __future__ import annotations

import json

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxmed as jm
from jaxmed import data
from jaxmed.core import RowBatches
from jaxmed.data import balanced_batches
from jaxmed.train import CheckpointMismatchError


def source(counts=(17, 5, 2)):
    label = np.repeat(np.arange(len(counts)), counts)
    label = np.random.default_rng(0).permutation(label)
    rng = np.random.default_rng(1)
    return {"image": rng.normal(size=(len(label), 3)).astype(np.float32), "label": label}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.data(),
    st.integers(0, 40),
)
def test_every_batch_has_the_counts_and_every_turn_each_example_once(sizes, draw, step):
    counts = draw.draw(st.lists(st.integers(1, 5), min_size=len(sizes), max_size=len(sizes)))
    arrays = source(sizes)
    b = balanced_batches(arrays, dict(enumerate(counts)))
    assert np.bincount(b[step]["label"]).tolist() == counts
    assert (b[step]["weight"] == 1).all()
    rows = np.concatenate([b.rows(s)[0] for s in range(60)])
    for k, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        often = np.bincount(rows, minlength=len(arrays["label"]))[arrays["label"] == k]
        assert often.sum() == 60 * count
        assert np.ptp(often) <= 1
        assert len(often) == size
    assert len(b) == max(-(-n // c) for n, c in zip(sizes, counts, strict=True))
    seen = np.unique(np.concatenate([b.rows(s)[0] for s in range(len(b))]))
    assert len(seen) == len(arrays["label"])


def test_a_size_is_divided_and_values_may_come_from_elsewhere():
    arrays = source()
    assert np.bincount(balanced_batches(arrays, 6)[3]["label"]).tolist() == [2, 2, 2]
    site = np.array(["north", "south"])[np.arange(24) % 2]
    b = balanced_batches(arrays, {"south": 3, "north": 1}, by=site)
    assert sorted(site[b.rows(5)[0]]) == ["north", "south", "south", "south"]
    named = balanced_batches(arrays | {"site": site}, {"south": 3, "north": 1}, by="site")
    np.testing.assert_array_equal(named.rows(5)[0], b.rows(5)[0])


def test_another_class_or_count_changes_no_order_of_a_class():
    few, more = source((9, 6)), source((9, 6))
    more = {name: np.concatenate([x, x[:4]]) for name, x in more.items()}
    more["label"][-4:] = 2

    def order(arrays, counts, k, n):
        b = balanced_batches(arrays, counts, seed=4)
        rows = [b.rows(s)[0] for s in range(n)]
        return [frozenset(row[arrays["label"][row] == k].tolist()) for row in rows]

    assert order(few, {0: 3, 1: 1}, 0, 6) == order(more, {0: 3, 1: 5, 2: 2}, 0, 6)
    assert len(set(order(few, {0: 3, 1: 1}, 0, 6))) > 3


def test_a_batch_is_a_function_of_seed_and_step():
    b, again, other = (balanced_batches(source(), 6, seed=s) for s in (1, 1, 2))
    for step, batch in zip(range(3, 9), b.iterate(3), strict=False):
        np.testing.assert_array_equal(batch["index"], again[step]["index"])
    assert any((b[s]["index"] != other[s]["index"]).any() for s in range(3))
    with pytest.raises(IndexError, match="at least 0"):
        b[-1]


def test_shards_make_up_the_global_batch_and_each_has_all_classes():
    whole = balanced_batches(source(), 24)
    parts = [balanced_batches(source(), 24, shard=(i, 2)) for i in range(2)]
    joined = np.concatenate([p[5]["index"] for p in parts])
    np.testing.assert_array_equal(joined, whole[5]["index"])
    assert all(len(set(p[5]["label"])) == 3 for p in parts)


def test_weights_of_the_source_are_kept():
    arrays = source() | {"weight": np.linspace(0.5, 2, 24)}
    batch = balanced_batches(arrays, 6)[2]
    np.testing.assert_allclose(batch["weight"], arrays["weight"][batch["index"]], rtol=1e-6)


def test_a_run_that_was_cut_goes_on_as_if_it_had_not(tmp_path):
    b = balanced_batches(source(), 6, seed=3)
    assert isinstance(b, RowBatches)
    json.dumps(b.identity())
    run = jm.learner(
        jm.from_linen(nn.Dense(3)), jm.supervised(jm.losses.cross_entropy), optax.sgd(0.05)
    )
    options = {"progress": False, "key": jax.random.key(0)}
    whole = jm.fit(run, b, steps=16, **options)
    jm.fit(run, b, steps=5, out=tmp_path, **options)
    again = jm.fit(run, b, steps=16, out=tmp_path, **options)
    jax.tree.map(np.testing.assert_array_equal, again.state.params, whole.state.params)
    other = balanced_batches(source(), {0: 4, 1: 1, 2: 1}, seed=3)
    with pytest.raises(CheckpointMismatchError, match="counts"):
        jm.fit(run, other, steps=20, out=tmp_path, **options)


@pytest.mark.parametrize(
    ("size", "by", "told"),
    [
        (7, "label", "does not divide into 3 classes"),
        ({0: 1, 1: 1}, "label", r"differ by \['2'\]"),
        ({0: 1, 1: 1, 2: 0}, "label", "at least 1 row"),
        (6, "image", r"must be \(24,\)"),
        (6, np.ones(24), "all 24 examples are of one class"),
        (6, np.where(np.arange(24) < 2, np.nan, 1.0), "2 examples have no value"),
    ],
)
def test_mistakes_are_told(size, by, told):
    with pytest.raises(ValueError, match=told):
        balanced_batches(source(), size, by=by)


def test_a_column_that_is_not_there_is_told():
    with pytest.raises(KeyError, match="site"):
        balanced_batches(data.ArraySource(source()), 6, by="site")
