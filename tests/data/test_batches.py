from __future__ import annotations

import threading

import numpy as np
import pytest

from jaxmed import data


def source(n=10):
    return {"image": np.arange(n * 3.0).reshape(n, 3), "label": np.arange(n)}


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("jaxmed-batches")]


def test_every_epoch_holds_every_example_once_in_another_order():
    b = data.batches(source(), 4, seed=3)
    assert len(b) == 3
    orders = []
    for epoch in range(3):
        rows = [b[step] for step in range(epoch * 3, epoch * 3 + 3)]
        order = np.concatenate([r["label"][r["weight"] > 0] for r in rows])
        np.testing.assert_array_equal(np.sort(order), np.arange(10))
        orders.append(order.tolist())
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_a_function_of_seed_and_step():
    first, second = data.batches(source(), 4, seed=1), data.batches(source(), 4, seed=1)
    second[17]
    same(first[5], second[5])
    other = data.batches(source(), 4, seed=2)
    assert any((first[s]["label"] != other[s]["label"]).any() for s in range(3))


def test_the_last_batch_is_padded_with_weight_zero_or_dropped():
    b = data.batches(source(5), 3, shuffle=False)
    np.testing.assert_array_equal(b[1]["label"], [3, 4, 3])
    np.testing.assert_array_equal(b[1]["weight"], np.float32([1, 1, 0]))
    np.testing.assert_array_equal(b[1]["index"], np.int32([3, 4, 3]))
    assert b.case_ids(1) == ("3", "4")
    in_turn = data.batches(source(7), 5, shuffle=False)[1]
    np.testing.assert_array_equal(in_turn["index"], [5, 6, 5, 6, 5])
    dropped = data.batches(source(5), 3, shuffle=False, remainder="drop")
    assert len(dropped) == 1
    np.testing.assert_array_equal(dropped[1]["label"], [0, 1, 2])


def test_weights_of_the_source_are_kept():
    arrays = source(3) | {"weight": np.array([0.5, 2.0, 3.0])}
    b = data.batches(arrays, 2, shuffle=False)
    np.testing.assert_array_equal(b[0]["weight"], [0.5, 2.0])
    np.testing.assert_array_equal(b[1]["weight"], [3.0, 0.0])


@pytest.mark.parametrize("transform", [None, lambda rng, e: e | {"draw": rng.normal(size=2)}])
def test_shards_make_up_the_global_batch(transform):
    options = {"seed": 5, "transform": transform}
    whole = data.batches(source(), 4, **options)
    parts = [data.batches(source(), 4, **options, shard=(i, 2)) for i in range(2)]
    for step in (0, 2, 7):
        joined = [p[step] for p in parts]
        same(whole[step], {k: np.concatenate([j[k] for j in joined]) for k in joined[0]})


def test_transforms_draw_anew_for_every_example_and_step():
    b = data.batches(source(), 5, transform=lambda rng, e: e | {"draw": rng.normal()})
    draws = np.concatenate([b[s]["draw"] for s in range(4)])
    assert len(np.unique(draws)) == 20
    same(b[3], b[3])


def test_iterate_starts_anywhere_and_reads_ahead():
    b = data.batches(source(), 4)
    for workers in (1, 3):
        got = list(b.iterate(2, 9, workers=workers))
        assert len(got) == 7
        for step, batch in zip(range(2, 9), got, strict=True):
            same(batch, b[step])
    assert [x["label"].tolist() for x in b] == [b[s]["label"].tolist() for s in range(3)]
    assert not threads()


def test_leaving_the_loop_ends_the_threads():
    iterator = data.batches(source(), 4).iterate()
    next(iterator)
    assert threads()
    iterator.close()
    assert not threads()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_while_reading_reaches_the_caller(prefetch):
    def broken(example):
        if example["label"] == 7:
            raise data.DataError("case 7 is broken")
        return example

    b = data.batches(data.map_source(data.as_source(source()), broken), 2, shuffle=False)
    iterator = b.iterate(prefetch=prefetch)
    for _ in range(3):
        next(iterator)
    with pytest.raises(data.DataError, match="case 7") as caught:
        next(iterator)
    notes = getattr(caught.value, "__notes__", [])
    assert notes == (["while reading the batch of step 3"] if prefetch else [])
    assert not threads()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "at least 1 row"),
        ({"size": 3, "remainder": "keep"}, "remainder"),
        ({"size": 3, "shard": (2, 2)}, "shard"),
        ({"size": 3, "shard": (0, 2)}, "does not divide"),
        ({"size": 11, "remainder": "drop"}, "no full batch"),
    ],
)
def test_nonsense_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        data.batches(source(), **options)


def test_no_step_before_the_first():
    with pytest.raises(IndexError, match="at least 0"):
        data.batches(source(), 2)[-1]
