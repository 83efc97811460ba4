"""Bags: packed nuclei, and some of a bag's instances."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxmed.experiments._common import bags


def test_packed_nuclei_are_the_bags_they_were(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 3, 3, 3), np.uint8)
    path = tmp_path / "nuclei.npz"
    kind, sizes = np.array([1, 2, 0, 1, 3]), np.array([2, 3])
    np.savez(path, image=image, kind=kind, centre=np.zeros((5, 2)), sizes=sizes)
    source = bags.packed(path)
    assert [int(bag["label"]) for bag in source.examples] == [0, 1]
    np.testing.assert_array_equal(source[1]["image"], image[2:])


def test_some_instances_of_a_bag_are_real_ones_if_there_are_enough():
    mask = jnp.arange(8) < jnp.array([[5], [2]])
    batch = {"image": jnp.arange(16.0).reshape(2, 8, 1), "bag_mask": mask}
    few = bags.some(jax.random.key(0), batch, 3)
    assert few["bag_mask"].sum(1).tolist() == [3, 2]
    chosen = np.asarray(few["image"])[..., 0]
    assert (chosen[0] < 5).all()
    assert set(chosen[1][np.asarray(few["bag_mask"][1])]) == {8, 9}
    other = bags.some(jax.random.key(1), batch, 3)
    assert not np.array_equal(other["image"][0], few["image"][0])
