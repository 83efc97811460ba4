"""A bridge as a network from image to image: of several channels, described, kept."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmed as jm
from jaxmed import inference
from jaxmed.core import Network
from jaxmed.data import Scan, Space
from jaxmed.generative import bridge_network, timed


def halves():
    """A bridge whose every source leads to half of itself, whatever the noise."""

    def apply(params, state, inputs, *, key=None, train=False):
        t = inputs["time"].reshape(-1, 1, 1, 1)
        scale = jnp.sqrt(t**2 + 0.5**2 * t * (1 - t))
        return {"logits": (inputs["image"] - inputs["map"] / 2) / scale}, state

    return Network(lambda key, inputs: ({}, {}), apply)


def test_what_is_made_of_several_channels_is_averaged():
    source = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    network = bridge_network(halves(), 2, steps=4)
    made = jax.jit(lambda x: network.apply({}, {}, x)[0]["logits"])(source)
    want = (source[..., :2] + source[..., 2:4] + source[..., 4:]) / 6
    np.testing.assert_allclose(made, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"6 channel\(s\), no multiple of the target's 4"):
        bridge_network(halves(), 4).apply({}, {}, source)
    with pytest.raises(ValueError, match="at least one step"):
        bridge_network(halves(), 1, steps=0)
    with pytest.raises(ValueError, match="at least one channel"):
        bridge_network(halves(), 0)


def test_a_bridge_translates_scans_and_is_kept(tmp_path):
    plan = jm.networks.plan_unet((16, 16), base_features=4)
    net = timed(jm.from_linen(jm.networks.unet(2, plan=plan)))
    recipe = inference.TranslationRecipe(
        ("pre", "post"), ("flair",), (16, 16), bridge_network(net, 1, steps=3, clip=(-1.0, 1.0)),
        normalisation="linear", bounds=(-1.0, 1.0),
    )  # fmt: skip
    variables = jax.jit(recipe.network().init)(jax.random.key(0), jnp.zeros((1, 16, 16, 2)))
    model = inference.translator(recipe, *variables)
    inference.save_model(tmp_path, model)
    kept = inference.load_model(tmp_path)
    array = np.random.default_rng(0).normal(size=(18, 16, 2)).astype(np.float32)
    scan = Scan(array, np.eye(3), Space((18, 16), np.eye(3)))
    first, again = (inference.translate(m, scan).array for m in (model, kept))
    assert first.shape == (18, 16, 1)
    np.testing.assert_array_equal(first, again)
