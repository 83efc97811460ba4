"""Two networks one behind the other: the second sees what the first found."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.data import Scan, Space
from jaxmed.inference import (
    Recipe,
    average_models,
    load_model,
    probabilities,
    save_model,
    segment,
    segmenter,
    structure_channels,
)
from jaxmed.networks import UNetPlan

PLAN = UNetPlan((2, 4), ((1, 1), (2, 2)), (3, 3), (1, 1), (1,))
LOW = Recipe(("background", "a", "b"), ("x",), (2.0, 2.0), (8, 8), plan=PLAN)
FULL = dataclasses.replace(LOW, spacing=(1.0, 1.0), cascade=True)
AFFINE = np.diag([1.0, 1.0, 1.0])
IMAGE = np.random.default_rng(0).normal(size=(16, 12, 1)).astype(np.float32)
SCAN = Scan(IMAGE, AFFINE, Space((16, 12), AFFINE))


def start(recipe, seed):
    image = jnp.zeros((1, *recipe.patch, recipe.inputs))
    return recipe.network().init(jax.random.key(seed), image)


def cascade(seed):
    return segmenter(FULL, *start(FULL, seed), before=segmenter(LOW, *start(LOW, seed + 1)))


def test_the_second_network_sees_the_mask_of_the_first_on_its_own_grid():
    seen = []

    def copied(params, state, images):
        """What the first network found is what the second finds."""
        seen.append(np.asarray(images))
        channels = images[..., 1:]
        return jnp.concatenate([1 - channels.sum(-1, keepdims=True), channels], axis=-1)

    model = cascade(0)
    first = segment(model.before, SCAN)
    assert len(np.unique(first.array)) > 1
    found = segment(model._replace(apply=copied), SCAN)
    np.testing.assert_array_equal(found.array, first.array)
    assert seen[0].shape == (1, 8, 8, 3)
    assert set(np.unique(seen[0][..., 1:])) <= {0.0, 1.0}


def test_a_cascade_is_saved_loaded_and_averaged_whole(tmp_path):
    models = [cascade(0), cascade(5)]
    save_model(tmp_path / "one", models[0])
    again = load_model(tmp_path / "one")
    wanted = probabilities(models[0], SCAN).array
    np.testing.assert_array_equal(probabilities(again, SCAN).array, wanted)
    both = average_models(models)
    assert (both.recipe.members, both.before.recipe.members) == (2, 2)
    save_model(tmp_path / "both", both)
    loaded = load_model(tmp_path / "both")
    np.testing.assert_array_equal(
        probabilities(loaded, SCAN).array, probabilities(both, SCAN).array
    )


def test_a_recipe_and_the_segmenter_before_it_belong_together():
    before = segmenter(LOW, None, None)
    with pytest.raises(ValueError, match="name the segmenter before"):
        segmenter(FULL, None, None)
    with pytest.raises(ValueError, match="cascade=True"):
        segmenter(LOW, None, None, before=before)
    other = dataclasses.replace(LOW, classes=("background", "b", "a"))
    with pytest.raises(ValueError, match="has the classes"):
        segmenter(FULL, None, None, before=segmenter(other, None, None))


def test_structures_become_a_channel_each():
    found = structure_channels(np.array([0, 2, 1]), 3)
    np.testing.assert_array_equal(found, [[0, 0], [0, 1], [1, 0]])


def test_an_axis_of_spacing_0_is_left_as_it_is():
    recipe = Recipe(
        ("background", "a"), ("x",), (1.0, 1.0, 0.0), (8, 8, 1),
        plan=UNetPlan((2, 4), ((1, 1, 1), (2, 2, 1)), ((3, 3, 1), (3, 3, 1)), (1, 1), (1,)),
    )  # fmt: skip
    model = segmenter(recipe, *start(recipe, 0))
    for gap in (1.0, 7.0):
        affine = np.diag([1.0, 1.0, gap, 1.0])
        scan = Scan(np.tile(IMAGE[:, :, None], (1, 1, 3, 1)), affine, Space((16, 12, 3), affine))
        mask = segment(model, scan).array
        assert mask.shape == (16, 12, 3)
        # A network of slices: equal slices are segmented alike, whatever lies beside them.
        np.testing.assert_array_equal(mask[..., 0], mask[..., 1])
