"""Batches of bags: what is in them, and that they are functions of the step."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.data import DataError, bag_batches

SIZES = [3, 9, 1, 4, 6, 2, 5]
BAGS = [
    {"image": np.full((n, 2), i, float) + np.arange(n)[:, None] / 100, "centre": np.ones((n, 2))}
    for i, n in enumerate(SIZES)
]
BAG = ("image", "centre")


def test_real_instances_are_all_there_and_padding_repeats_them():
    batches = bag_batches(BAGS, 3, bag=BAG, seed=4)
    for step in range(2 * len(batches)):
        batch = batches[step]
        bucket = batch["image"].shape[1]
        assert bucket in (1, 2, 4, 8, 9)
        assert bucket == batches.bucket(step)
        for row, index in enumerate(batch["index"]):
            n = SIZES[index]
            assert batch["bag_mask"][row].sum() == n
            np.testing.assert_array_equal(batch["image"][row, :n], BAGS[index]["image"])
            np.testing.assert_array_equal(
                batch["image"][row], BAGS[index]["image"][np.arange(bucket) % n]
            )
        again = batches[step]
        assert all(np.array_equal(batch[name], again[name]) for name in batch)


def test_a_bag_that_is_too_large_is_sampled_afresh_each_step():
    batches = bag_batches(BAGS, len(BAGS), bag=BAG, buckets=4, shuffle=False)
    seen = set()
    for step in range(8):
        row = batches[step]["image"][1, :, 0]
        assert len(set(row)) == 4
        seen |= set(row)
    assert len(seen) == 9
    assert batches[0]["bag_mask"].sum(1).tolist() == [3, 4, 1, 4, 4, 2, 4]


def test_processes_agree_on_the_bucket():
    whole = bag_batches(BAGS, 4, bag=BAG)
    parts = [bag_batches(BAGS, 4, bag=BAG, shard=(i, 2)) for i in range(2)]
    for step in range(3):
        joined = np.concatenate([part[step]["image"] for part in parts])
        np.testing.assert_array_equal(joined, whole[step]["image"])


def test_a_transform_sees_a_bag_before_it_is_padded():
    batches = bag_batches(
        BAGS, 2, bag=BAG, transform=lambda rng, e: {**e, "image": e["image"] + rng.normal()}
    )
    assert np.array_equal(batches[1]["image"], batches[1]["image"])
    assert not np.array_equal(batches[0]["image"], bag_batches(BAGS, 2, bag=BAG)[0]["image"])


def test_faulty_bags_are_named():
    with pytest.raises(DataError, match=r"^1: the bag has no instances"):
        bag_batches([BAGS[0], {"image": np.zeros((0, 2)), "centre": np.zeros((0, 2))}], 1)
    with pytest.raises(DataError, match=r"fields of a bag have the shapes"):
        bag_batches([{"image": np.zeros((2, 2)), "centre": np.zeros((3, 2))}], 1, bag=BAG)
    with pytest.raises(DataError, match="no field 'patch'"):
        bag_batches(BAGS, 1, bag="patch")
    with pytest.raises(ValueError, match="ascending"):
        bag_batches(BAGS, 1, bag=BAG, buckets=(8, 4))
