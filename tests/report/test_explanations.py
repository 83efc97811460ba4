"""The section of a report on why cases were answered so, and which cases it shows."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._common.explained import explanations
from jaxmed import report
from jaxmed.inference import ImageRecipe, image_model
from jaxmed.networks import cnn

RESULTS = report.classification(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.3, 0.2]))


def _case(name, **change):
    maps = {"occlusion": np.eye(6)}
    return report.ExplainedCase(name, "yes, right.", np.zeros((6, 6, 1)), maps)._replace(**change)


def test_a_report_has_the_maps_and_says_what_they_are_not():
    shown = report.Explanations(
        [_case("first"), _case("second")],
        {"occlusion": "How the score falls. It is not an outline."},
        {"occlusion": {"random network": "0.123"}},
    )
    page = report.html(dataclasses.replace(RESULTS, explanations=shown))
    section = page[page.index('id="explanations"') :]
    for words in (
        "first: yes, right.",
        "It is not an outline.",
        "random network 0.123",
        "Red speaks",
    ):
        assert section.count(words) >= 1, words
    assert 'id="explanations"' not in report.html(RESULTS)


def test_a_map_of_another_shape_is_refused():
    shown = report.Explanations([_case("odd", maps={"occlusion": np.eye(5)})], {})
    with pytest.raises(ValueError, match=r"odd: the map of occlusion has the shape \(5, 5\)"):
        report.html(dataclasses.replace(RESULTS, explanations=shown))


def test_the_surest_answers_are_explained_wrong_ones_first():
    network = cnn(2, features=(2,), norm="none")
    recipe = ImageRecipe("binary", ("no", "yes"), ("grey",), (8, 8), network)
    params, state = recipe.network().init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    model = image_model(recipe, params, state)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
    yes = np.array([0.9, 0.2, 0.7, 0.95, 0.4])
    labels = np.array([1, 1, 1, 0, 0])  # the second and the fourth are wrong
    said, names = np.stack([1 - yes, yes], 1), list("abcde")
    found = explanations(model, images, said, labels, names, count=4, seed=0)
    assert found is not None
    assert [case.name for case in found.cases] == ["d", "b", "a", "c"]
    assert [case.caption.split()[-1] for case in found.cases] == ["wrong."] * 2 + ["right."] * 2
    for case in found.cases:
        assert set(case.maps) == set(found.meanings) == set(found.tests)
    assert explanations(model, images, said, labels, names, count=0, seed=0) is None
