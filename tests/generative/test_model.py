"""A trained generator on disk draws what it drew before."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed.core import from_functions
from jaxmed.generative import (
    GenerativeModel,
    GenerativeRecipe,
    ddpm,
    edm,
    flow,
    load_generative_model,
    save_generative_model,
    timed,
)
from jaxmed.inference import ModelError

KEY = jax.random.key(0)
UNET = networks.denoiser_unet(1, widths=(4,), attention=(), groups=2, embedding=8, classes=2)


def trained(net, shape, noise=0.1):
    params, state = jm.core.as_network(net).init(KEY, jnp.ones((1, *shape)))
    rng = np.random.default_rng(0)
    leaves, tree = jax.tree.flatten(params)
    moved = [leaf + noise * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(tree, moved), state


RECIPES = {
    "diffusion": GenerativeRecipe(
        "diffusion", UNET, (4, 4, 1), {"process": edm(data=0.7), "steps": 2, "guidance": 1.5},
        classes=("benign", "malignant"),
    ),
    "flow of any network": GenerativeRecipe(
        "diffusion",
        timed(jm.from_linen(networks.cnn(None, features=(1,), norm="none"))),
        (4, 4, 1), {"process": flow(), "steps": 2, "method": "euler", "output": "pyramid"},
    ),
    "volumes": GenerativeRecipe(
        "diffusion", networks.denoiser_unet(1, widths=(4,), attention=(), groups=2, embedding=8),
        (2, 3, 4, 1), {"process": ddpm("linear"), "steps": 2, "clip": (-1.0, 1.0)},
        spacing=(1.0, 1.0, 2.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["diffusion", "volumes"])
def test_it_draws_the_same_once_loaded(name, tmp_path):
    recipe = RECIPES[name]
    params, state = trained(recipe.net, recipe.shape)
    path = save_generative_model(tmp_path / "run", recipe, params, state)
    assert path.name == "generator.json"
    model = load_generative_model(tmp_path / "run")
    before = GenerativeModel(recipe, params, state)
    assert model.digest() == before.digest()
    assert model.recipe.spacing == recipe.spacing
    assert model.recipe.options["process"] == recipe.options["process"]
    condition = {"label": np.array([0, 1, 1])} if recipe.classes else None
    drawn = model.draw(KEY, 3, condition=condition)
    assert drawn.shape == (3, *recipe.shape)
    np.testing.assert_array_equal(drawn, before.draw(KEY, 3, condition=condition))
    more = model.draw(KEY, 3, condition=condition, steps=3)
    assert np.abs(more - drawn).max() > 1e-4
    other = GenerativeModel(recipe, jax.tree.map(lambda p: p + 1e-3, params), state)
    assert other.digest() != model.digest()


FAMILIES = {
    "vae": (networks.image_vae((4, 4), latent=2, features=(3,)), {"noise": True}),
    "gan": (networks.style_generator((4, 4), features=(3,), width=4), {"latent": 5}),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_other_families_draw_the_same_once_loaded(kind, tmp_path):
    net, options = FAMILIES[kind]
    given = jnp.ones((1, 5)) if kind == "gan" else jnp.ones((1, 4, 4, 1))
    params, state = jm.from_linen(net).init(KEY, given)
    recipe = GenerativeRecipe(kind, net, (4, 4, 1), options)
    save_generative_model(tmp_path / "run", recipe, params, state)
    drawn = load_generative_model(tmp_path / "run").draw(KEY, 3)
    assert drawn.shape == (3, 4, 4, 1)
    np.testing.assert_allclose(drawn, recipe.draw()(KEY, params, state, 3), atol=1e-5)


def test_a_latent_diffusion_draws_by_its_codec(tmp_path):
    codec = networks.image_vae((4, 4), latent=2, spatial=True, features=(3, 4))
    options = {"codec": codec, "latent": (2, 2, 2), "process": edm(), "steps": 2}
    unet = networks.denoiser_unet(2, widths=(4,), attention=(), groups=2, embedding=8, classes=2)
    recipe = GenerativeRecipe("latent", unet, (4, 4, 1), options, ("benign", "malignant"))
    whole = zip(trained(codec, (4, 4, 1)), trained(unet, (2, 2, 2)), strict=True)
    (codec_params, params), (codec_state, state) = whole
    params = {"net": params, "codec": codec_params, "mean": jnp.ones(2), "deviation": jnp.ones(2)}
    state = {"net": state, "codec": codec_state}
    save_generative_model(tmp_path / "run", recipe, params, state)
    model, condition = load_generative_model(tmp_path / "run"), {"label": np.array([0, 1, 1])}
    drawn = model.draw(KEY, 3, condition=condition)
    assert drawn.shape == (3, 4, 4, 1)
    before = GenerativeModel(recipe, params, state).draw(KEY, 3, condition=condition)
    np.testing.assert_array_equal(drawn, before)
    assert np.abs(model.draw(KEY, 3, condition=condition, steps=3) - drawn).max() > 1e-4
    with pytest.raises(ValueError, match="has the option 'codec'"):
        GenerativeRecipe("latent", unet, (4, 4, 1), {"latent": (2, 2, 2)}).draw()


def test_weights_may_stand_in_dicts_tuples_and_lists(tmp_path):
    recipe = RECIPES["diffusion"]
    params = {"a": [jnp.ones(2), (jnp.zeros((1, 2), jnp.bfloat16),)], "b": {}}
    save_generative_model(tmp_path, recipe, params, {})
    model = load_generative_model(tmp_path)
    assert jax.tree.structure(model.params) == jax.tree.structure(params)
    assert model.params["a"][1][0].dtype == jnp.bfloat16


def test_what_cannot_be_saved_or_read_is_said(tmp_path):
    recipe = RECIPES["diffusion"]
    own = from_functions(lambda key, x: {}, lambda params, x: x)
    with pytest.raises(ModelError, match="functions or NNX modules of one's own"):
        save_generative_model(tmp_path / "own", GenerativeRecipe("diffusion", own, (4, 4, 1),
                              {"process": edm()}), {}, {})  # fmt: skip
    with pytest.raises(ModelError, match="arrays in dicts"):
        save_generative_model(tmp_path / "own", recipe, {"a": "text"}, {})
    assert not (tmp_path / "own").exists()
    with pytest.raises(ValueError, match="kind is one of 'diffusion'"):
        GenerativeRecipe("painting", UNET, (4, 4, 1))
    with pytest.raises(ValueError, match="unexpected keyword argument 'temperature'"):
        GenerativeRecipe("diffusion", UNET, (4, 4, 1), {"temperature": 2}).draw()
    with pytest.raises(ValueError, match="black and then white"):
        GenerativeRecipe("diffusion", UNET, (4, 4, 1), limits=(1.0, 0.0))
    with pytest.raises(ValueError, match="one edge an axis"):
        GenerativeRecipe("diffusion", UNET, (4, 4, 1), spacing=(1.0,))
    with pytest.raises(ModelError, match="there is no folder"):
        load_generative_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="holds no trained generator"):
        load_generative_model(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="draws no images"):
        load_generative_model(tmp_path)
    save_generative_model(tmp_path, recipe, {"w": jnp.ones(1)}, {})
    for change in ({"format": "2"}, {"recipe": {"format": "jaxmed network 1", "call": "os.system",
                    "options": {}}}, {"params": {"shape": "x"}}):  # fmt: skip
        table = json.loads((tmp_path / "generator.json").read_text())
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / "generator.json").write_text(json.dumps({**table, **change}))
        with pytest.raises(ModelError, match="does not describe a generator"):
            load_generative_model(tmp_path / "bad")
