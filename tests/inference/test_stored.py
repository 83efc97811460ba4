"""Models that earlier versions saved: each still loads, and predicts what it did.

``stored/NAME`` is a folder as `save_model` of that time left it, with ``images`` and the
``predictions`` of then in ``asked.npz``. A new format gets a folder of its own by
``python tests/inference/test_stored.py NAME FOLDER``, and none is ever made anew. (Checkpoints keep
the path of where they were made, so make them in a FOLDER that says nothing, and copy them.)
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import inference, networks
from jaxmed.inference import ImageRecipe, Recipe

STORED = Path(__file__).with_name("stored")
PLAN = networks.UNetPlan((2, 4), ((1, 1), (2, 2)), (3, 3), (1, 1), (1,))


def models():
    """One of each kind, small, with drawn weights."""
    low = Recipe(("background", "a"), ("x",), (2.0, 2.0), (8, 8), PLAN, mirror=(0,))
    full = Recipe(
        ("background", "a"), ("x",), (1.0, 1.0), (8, 8), PLAN,
        options={"deep_supervision": True}, cascade=True,
    )  # fmt: skip
    classes = ImageRecipe(
        "multi-class", ("a", "b", "c"), ("grey",), (8, 8),
        networks.ResNet(3, (1, 1), "basic", width=4, stem="small"), "linear", repeat=3,
    )  # fmt: skip
    age = ImageRecipe("regression", ("age",), ("grey",), (8, 8), networks.mlp(1, hidden=(4,)))
    before = inference.segmenter(low, *_start(low, 0))
    return {
        "cascade": inference.segmenter(full, *_start(full, 1), before=before),
        "classes": inference.average_models(
            [inference.image_model(classes, *_start(classes, seed)) for seed in (2, 3)]
        ),
        "age": inference.image_model(age, *_start(age, 4)),
    }


def _start(recipe, seed):
    spatial = recipe.patch if isinstance(recipe, Recipe) else recipe.shape
    image = jnp.zeros((1, *spatial, recipe.inputs))
    return recipe.network().init(jax.random.key(seed), image)


def asked(model):
    """Images for a model's network, and for that of a cascade's first."""
    recipe = model.recipe
    spatial = recipe.patch if isinstance(recipe, Recipe) else recipe.shape
    return np.random.default_rng(0).normal(size=(2, *spatial, recipe.inputs)).astype(np.float32)


def make(name, place):
    """Store today's models as those of a version."""
    for kind, model in models().items():
        folder = Path(place) / f"{name}-{kind}"
        if folder.exists():
            raise SystemExit(f"{folder} is there: what a version stored is not made anew")
        inference.save_model(folder, model)
        images = asked(model)
        np.savez(folder / "asked.npz", images=images, predictions=model.predict(images))


FOLDERS = sorted(folder for folder in STORED.iterdir() if folder.is_dir())


def test_every_kind_is_stored():
    assert {folder.name.rpartition("-")[2] for folder in FOLDERS} >= {"cascade", "classes", "age"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_stored_model_predicts_what_it_did(folder, tmp_path):
    model = inference.load_model(folder)
    kept = np.load(folder / "asked.npz")
    np.testing.assert_allclose(model.predict(kept["images"]), kept["predictions"], atol=1e-4)
    # And what was loaded is saved as today's version saves.
    again = inference.load_model(inference.save_model(tmp_path / "today", model).parent)
    np.testing.assert_array_equal(again.predict(kept["images"]), model.predict(kept["images"]))
    if getattr(model, "before", None) is not None:
        first = np.asarray(kept["images"][..., :1])
        np.testing.assert_array_equal(again.before.predict(first), model.before.predict(first))


if __name__ == "__main__":
    make(*sys.argv[1:])
