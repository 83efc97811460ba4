"""Models on disk: saved whole or not at all, loaded to the bit, old folders too."""

from __future__ import annotations

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed.data import Scan, Space
from jaxmed.inference import (
    ImageRecipe,
    ModelError,
    Recipe,
    SegmenterError,
    image_model,
    load_model,
    load_segmenter,
    prepare_image,
    save_model,
    save_segmenter,
    segmenter,
)
from jaxmed.train import save

PLAN = networks.plan_unet((8, 8), base_features=2)
UNET = Recipe(("background", "bright"), ("grey",), (1.0, 1.0), (8, 8), PLAN)
NORM = functools.partial(networks.GroupNorm, groups=2)
PYRAMID = jm.with_heads(
    jm.from_linen(networks.cnn(features=(4, 4), norm=NORM)),
    {"logits": jm.paradigms.Head(networks.PyramidHead(2, 1, width=2), "pyramid")},
)
CLASSES = ImageRecipe(
    "multi-class", ("a", "b", "c"), ("grey",), (6, 5), networks.mlp(3, hidden=(4,)), "linear",
    (2.0, -1.0),
)  # fmt: skip


def made(recipe, make):
    spatial = recipe.patch if isinstance(recipe, Recipe) else recipe.shape
    image = jnp.linspace(-1, 1, int(np.prod(spatial))).reshape(1, *spatial, 1)
    params, state = jax.jit(recipe.network().init)(jax.random.key(0), image)
    return make(recipe, params, state), image


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        (dataclasses.replace(UNET, options={"dtype": jnp.bfloat16, "norm": NORM}), segmenter),
        (
            Recipe(
                ("background", "bright"), ("grey",), (1.0, 1.0), (8, 8), net=PYRAMID,
                normalisation="linear", linear=(2.0, -1.0), mirror=(0,),
            ),
            segmenter,
        ),
        (CLASSES, image_model),
        (
            dataclasses.replace(
                CLASSES, task="regression", outputs=("age",), target=(10.0, 50.0),
                net=jm.paradigms.lora(jm.from_linen(networks.mlp(1, hidden=(4,))), rank=1),
            ),
            image_model,
        ),
    ],
    ids=["unet in half precision", "heads on a trunk", "classifier", "regressor of low rank"],
)  # fmt: skip
def test_a_model_comes_back_from_disk_to_the_bit(recipe, make, tmp_path):
    model, image = made(recipe, make)
    path = save_model(tmp_path, model)
    assert path == tmp_path / "model.json"
    back = load_model(tmp_path)
    assert type(back) is type(model)
    plain = {f.name for f in dataclasses.fields(recipe)} - {"net", "options"}
    assert all(getattr(back.recipe, name) == getattr(recipe, name) for name in plain)
    jax.tree.map(np.testing.assert_array_equal, back.params, model.params)
    np.testing.assert_array_equal(back.predict(image), model.predict(image))
    save_model(tmp_path, back)  # what was loaded can be saved


def test_a_folder_of_the_first_format_still_loads(tmp_path):
    model, image = made(dataclasses.replace(UNET, options={"dropout": 0.1}), segmenter)
    recipe = model.recipe
    table = {
        "format": "jaxmed segmenter 1",
        "classes": recipe.classes, "channels": recipe.channels, "spacing": recipe.spacing,
        "patch": recipe.patch, "plan": dataclasses.asdict(recipe.plan),
        "options": dict(recipe.options), "normalisation": "zscore", "over": "all", "mirror": [1],
        "overlap": 0.25,
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(table))
    save(tmp_path / "model", 0, {"params": model.params, "state": model.state}, {}, keep=1)
    back = load_segmenter(tmp_path)
    assert back.recipe == dataclasses.replace(recipe, mirror=(1,), overlap=0.25)
    plain = segmenter(recipe, back.params, back.state)
    np.testing.assert_array_equal(plain.predict(image), model.predict(image))


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    odd = dataclasses.replace(UNET, options={"norm": lambda **options: networks.NoNorm()})
    with pytest.raises(ModelError, match=r"cannot be saved: options\.norm is the function"):
        save_model(tmp_path / "run", segmenter(odd, {}, {}))
    model, _ = made(UNET, segmenter)
    with pytest.raises(ModelError, match="weights are not those of the recipe's network"):
        save_model(tmp_path / "run", model._replace(params={}))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model.params)
    with pytest.raises(ModelError, match=r"float32\[.*where they have bfloat16"):
        save_segmenter(tmp_path / "run", model._replace(params=half))
    assert not (tmp_path / "run").exists()


def test_folders_without_a_model_are_told_apart(tmp_path):
    for folder, written, told in (
        ("future", '{"format": "jaxmed model 3"}', "this version reads 'jaxmed model 2'"),
        ("empty", "{}", "does not describe a model"),
        ("cut", '{"format": "jaxm', "does not describe a model"),
        ("other", '{"format": "jaxmed model 2", "recipe": {"format": "jaxmed network 1", '
         '"call": "jaxmed.networks.MLP", "options": {}}}', "a MLP is no recipe"),
    ):  # fmt: skip
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.json").write_text(written)
        with pytest.raises(ModelError, match=told):
            load_model(tmp_path / folder)
        with pytest.raises(SegmenterError, match=told):
            load_segmenter(tmp_path / folder)
    save_model(tmp_path / "classes", made(CLASSES, image_model)[0])
    with pytest.raises(SegmenterError, match="a model for multi-class, not a segmenter"):
        load_segmenter(tmp_path / "classes")


def test_a_recipe_has_one_network():
    # A segmenter around a function of one's own needs none.
    with pytest.raises(ValueError, match="names no network: give plan"):
        Recipe(("a", "b"), ("T1",), (1.0,), (8,)).network()
    with pytest.raises(ValueError, match="either plan, of a U-Net, or net"):
        dataclasses.replace(UNET, net=networks.mlp())
    with pytest.raises(ValueError, match="net has its own"):
        dataclasses.replace(UNET, plan=None, net=networks.mlp(), options={"bias": False})


def answers(task, outputs, logits):
    recipe = dataclasses.replace(
        CLASSES, task=task, outputs=outputs, target=(10.0, 50.0),
        net=jm.from_functions(lambda key, x: {}, lambda params, x: jnp.array(logits)[None]),
    )  # fmt: skip
    return np.asarray(image_model(recipe, {}, {}).predict(jnp.zeros((1, 6, 5, 1))))[0]


def test_logits_become_what_the_task_asks_for():
    p = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(answers("binary", ("no", "yes"), [0.0, 1.0]), [1 - p, p], rtol=1e-6)
    np.testing.assert_allclose(answers("binary", ("no", "yes"), [1.0]), [1 - p, p], rtol=1e-6)
    np.testing.assert_allclose(answers("multi-label", ("a", "b"), [0.0, 1.0]), [0.5, p], rtol=1e-6)
    np.testing.assert_allclose(answers("ordinal", ("0", "1", "2"), [0.0] * 3), [1 / 3] * 3)
    np.testing.assert_allclose(answers("regression", ("age", "dose"), [0.5, -1.0]), [55, 40])
    with pytest.raises(ValueError, match=r"logits of shape \(2,\) an image.*3 outputs"):
        answers("multi-class", ("a", "b", "c"), [0.0, 1.0])
    for task, outputs in (("binary", ("a", "b", "c")), ("multi-class", ("a",)), ("guess", ("a",))):
        with pytest.raises(ValueError, match=r"outputs of a|task is one of"):
            dataclasses.replace(CLASSES, task=task, outputs=outputs)


def scan(array):
    return Scan(array, np.eye(array.ndim), Space(array.shape[:-1], np.eye(array.ndim)))


def test_an_image_comes_to_the_networks_shape_and_intensities():
    image = np.random.default_rng(0).random((6, 5, 1)).astype(np.float32)
    np.testing.assert_array_equal(prepare_image(CLASSES, scan(image)), 2 * image - 1)
    large = np.kron(image[..., 0], np.ones((3, 2)))[..., None].astype(np.float32)
    small = prepare_image(CLASSES, scan(large))
    assert small.shape == (6, 5, 1)
    assert abs(small.mean() - (2 * image - 1).mean()) < 0.05
    plain = dataclasses.replace(CLASSES, normalisation="zscore")
    assert prepare_image(plain, scan(image)).std() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="2 spatial axes"):
        prepare_image(CLASSES, scan(np.zeros((6, 5, 4, 1), np.float32)))
    with pytest.raises(ValueError, match=r"1 channel\(s\) \(grey\), the image has 3"):
        prepare_image(CLASSES, scan(np.zeros((6, 5, 3), np.float32)))
