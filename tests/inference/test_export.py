"""A network for serving: one program with its weights, that JAX alone can call."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.cli import main
from jaxmed.inference import (
    ImageRecipe,
    ModelError,
    Recipe,
    TranslationRecipe,
    export_model,
    image_model,
    load_exported,
    save_model,
    segmenter,
    translator,
)
from jaxmed.networks import Conv, UNetPlan, resnet8

ALONE = """
import sys
import jax, numpy as np
program = jax.export.deserialize(bytearray(open(sys.argv[1] + "/network.stablehlo", "rb").read()))
found = program.call(np.load(sys.argv[1] + "/images.npy"))
np.save(sys.argv[1] + "/found.npy", found)
assert "jaxmed" not in sys.modules
"""


def started(recipe, channels):
    images = jnp.ones((1, *getattr(recipe, "patch", getattr(recipe, "shape", ())), channels))
    return recipe.network().init(jax.random.key(0), images)


def test_a_classifier_runs_without_jaxmed_at_any_batch_size(tmp_path):
    recipe = ImageRecipe("binary", ("no", "yes"), ("grey",), (16, 16), resnet8(2), repeat=3)
    model = image_model(recipe, *started(recipe, 3))
    save_model(tmp_path / "run", model)
    out = tmp_path / "out"
    assert main(["export", str(tmp_path / "run"), "-o", str(out), "--platforms", "cpu"]) == 0
    images = np.random.default_rng(0).normal(size=(5, 16, 16, 3)).astype(np.float32)
    np.save(out / "images.npy", images)
    subprocess.run([sys.executable, "-c", ALONE, str(out)], check=True)
    np.testing.assert_allclose(np.load(out / "found.npy"), model.predict(images), atol=1e-5)
    again = load_exported(out)
    assert (again.shape, again.channels) == ((16, 16), 3)
    assert again.call(images[:2]).shape == (2, 2)


def test_a_segmenter_of_several_members_is_exported_whole(tmp_path):
    plan = UNetPlan((2, 4), (1, 2), (3, 3), (1, 1), (1,))
    recipe = Recipe(("background", "a"), ("x",), (1.0, 1.0), (8, 8), plan=plan, mirror=(0,))
    model = segmenter(recipe, *started(recipe, 1))
    assert export_model(tmp_path, model).name == "network.stablehlo"  # for all platforms
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 1)).astype(np.float32)
    found = load_exported(tmp_path).call(images)
    np.testing.assert_allclose(found, model.predict(images), atol=1e-5)


def test_a_translator_is_exported(tmp_path):
    recipe = TranslationRecipe(("t1",), ("t2",), (6, 6), Conv(1), scale=(2.0, 1.0))
    model = translator(recipe, *started(recipe, 1))
    export_model(tmp_path, model, platforms=("cpu",))
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 1)).astype(np.float32)
    found = load_exported(tmp_path).call(images)
    np.testing.assert_allclose(found, model.predict(images), atol=1e-5)


def test_what_is_no_exported_network_is_said(tmp_path):
    with pytest.raises(ModelError, match="holds no exported network"):
        load_exported(tmp_path)
    (tmp_path / "recipe.json").write_text('{"format": "jaxmed export 9"}')
    with pytest.raises(ModelError, match="it has the format 'jaxmed export 9'"):
        load_exported(tmp_path)
