"""Averages of several networks, regions that overlap, intensities fixed by a data set."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.data import Scan, Space
from jaxmed.inference import (
    ImageRecipe,
    Recipe,
    average_models,
    image_model,
    load_model,
    prepare,
    prepare_image,
    save_model,
    segment,
    segmenter,
)
from jaxmed.networks import UNetPlan, mlp

PLAN = UNetPlan((2, 4), (1, 2), (3, 3), (1, 1), (1,))
RECIPE = Recipe(("background", "a"), ("x",), (1.0, 1.0), (8, 8), plan=PLAN)


def start(recipe, seed, channels=1):
    image = jnp.ones((1, *getattr(recipe, "patch", getattr(recipe, "shape", ())), channels))
    return recipe.network().init(jax.random.key(seed), image)


def test_an_average_is_of_probabilities_and_comes_back_from_disk(tmp_path):
    models = [segmenter(RECIPE, *start(RECIPE, seed)) for seed in range(3)]
    both = average_models(models)
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    wanted = np.mean([model.predict(images) for model in models], axis=0)
    np.testing.assert_allclose(both.predict(images), wanted, atol=1e-6)
    save_model(tmp_path, both)
    again = load_model(tmp_path)
    assert again.recipe == both.recipe
    np.testing.assert_array_equal(again.predict(images), both.predict(images))


def test_models_that_are_not_of_one_kind_are_not_averaged():
    one = segmenter(RECIPE, *start(RECIPE, 0))
    other = dataclasses.replace(RECIPE, overlap=0.25)
    with pytest.raises(ValueError, match="different recipes"):
        average_models([one, segmenter(other, *start(other, 0))])
    with pytest.raises(ValueError, match="no models"):
        average_models([])


def test_averages_of_averages_are_averages_of_all():
    one, two, three, four = (segmenter(RECIPE, *start(RECIPE, seed)) for seed in range(4))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)
    nested = average_models([average_models([one, two]), average_models([three, four])])
    assert nested.recipe.members == 4
    flat = average_models([one, two, three, four])
    np.testing.assert_allclose(nested.predict(images), flat.predict(images), atol=1e-6)


def scan(array):
    affine = np.eye(array.ndim)
    return Scan(np.asarray(array, np.float32), affine, Space(array.shape[:-1], affine))


def test_regions_are_painted_in_order_where_each_is_more_probable_than_not():
    recipe = dataclasses.replace(RECIPE, classes=("background", "edge", "core"), regions=(1, 2))
    model = segmenter(recipe, *start(recipe, 0))
    given = np.zeros((8, 8, 2), np.float32)
    given[2:6, 2:6, 0], given[3:5, 3:5, 1] = 0.9, 0.7
    answers = model._replace(apply=lambda params, state, images: jnp.asarray(given)[None])
    mask = segment(answers, scan(np.ones((8, 8, 1)))).array
    assert mask[3, 3] == 2
    assert mask[2, 2] == 1
    assert mask[0, 0] == 0
    assert (mask > 0).sum() == 16
    # And the network itself has one output for each, between 0 and 1 for itself.
    soft = np.asarray(model.predict(jnp.ones((1, 8, 8, 1))))
    assert soft.shape == (1, 8, 8, 2)
    assert not np.allclose(soft.sum(-1), 1)


def test_ct_numbers_are_clipped_and_standardised_alike_in_every_scan():
    recipe = dataclasses.replace(
        RECIPE, normalisation="fixed", intensities=((-100.0, 200.0, 50.0, 25.0),)
    )
    values = np.array([[-1000.0, 50.0], [75.0, 3000.0]])[..., None]
    found = prepare(recipe, scan(values)).array[..., 0]
    np.testing.assert_allclose(found, [[-6, 0], [1, 6]])
    with pytest.raises(ValueError, match=r"needs .low, high, mean, sd. of each of the channels"):
        dataclasses.replace(RECIPE, normalisation="fixed")


def test_weights_of_classes_are_taken_back_from_the_probabilities():
    recipe = ImageRecipe("binary", ("no", "yes"), ("x",), (2, 2), mlp(2, hidden=()))
    weighted = dataclasses.replace(recipe, offsets=(float(np.log(0.5)), float(np.log(4.0))))
    params, state = start(recipe, 0)
    images = jax.random.normal(jax.random.key(0), (5, 2, 2, 1))
    plain = np.asarray(image_model(recipe, params, state).predict(images))
    wanted = plain / np.array([0.5, 4.0])
    wanted /= wanted.sum(1, keepdims=True)
    found = image_model(weighted, params, state).predict(images)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_grey_image_for_a_network_of_colours():
    recipe = ImageRecipe("binary", ("no", "yes"), ("grey",), (2, 2), mlp(2), "linear", repeat=3)
    image = prepare_image(recipe, scan(np.arange(4.0).reshape(2, 2, 1)))
    assert image.shape == (2, 2, 3)
    assert np.all(image == image[..., :1])
    with pytest.raises(ValueError, match="repeat is of a single channel"):
        dataclasses.replace(recipe, channels=("red", "green", "blue"))
