"""Generators and critics: shapes of any rank, half precision, styles and projections by formula."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed import networks, ops
from jaxmed.core import from_linen
from jaxmed.inference import build, describe
from jaxmed.testing import check_network

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(3, 5)).astype(np.float32)
LABEL = np.int32([0, 1, 1])


@pytest.mark.parametrize("make", [networks.dcgan_generator, networks.style_generator])
@pytest.mark.parametrize("shape", [(7,), (7, 6), (5, 4, 6)])
def test_generators_make_images_of_any_shape(make, shape):
    network = from_linen(make(shape, 2, features=(8, 6, 4), classes=2, dtype=jnp.bfloat16))

    def made(noise, label):
        given = {"noise": noise, "label": label}
        params, state = network.init(KEY, given)
        return params, network.apply(params, state, given, train=True)[0]["logits"]

    params, image = jax.eval_shape(made, NOISE, LABEL)
    assert image.shape == (3, *shape, 2)
    assert image.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert describe(build(describe(network))) == describe(network)
    for noise, told in ((NOISE[:, None], "one vector an image"), (NOISE, "2 classes")):
        given = {"noise": noise, "label": LABEL} if noise.ndim == 3 else noise
        with pytest.raises(ValueError, match=told):
            jax.eval_shape(network.init, KEY, given)


def test_a_styled_generator_keeps_the_laws():
    network = from_linen(networks.style_generator((5, 4), features=(4, 3), width=6))
    assert check_network(network, NOISE[:2])


def test_a_styled_convolution_has_a_kernel_for_each_image():
    module = networks.ModulatedConv(4, 3)
    x = RNG.normal(size=(3, 5, 6, 2)).astype(np.float32)
    params = module.init(KEY, x, NOISE)["params"]
    found = module.apply({"params": params}, x, NOISE)
    scale = NOISE @ np.asarray(params["style"]["kernel"]) + np.asarray(params["style"]["bias"])
    kernel = np.asarray(params["kernel"]) / np.sqrt(3 * 3 * 2)
    for i in range(3):
        own = kernel * scale[i][:, None]
        own = own / np.sqrt((own**2).sum((0, 1, 2)) + 1e-8)
        expected = ops.conv(x[i : i + 1], own, stride=(1, 1), padding=[(1, 1)] * 2)
        np.testing.assert_allclose(found[i : i + 1], expected, rtol=1e-4, atol=1e-5)


PATCHES = {(16,): (4,), (9, 16): (3, 4), (8, 8, 8): (2, 2, 2)}


@pytest.mark.parametrize("shape", PATCHES)
@pytest.mark.parametrize("pooled", [False, True])
def test_critics_score_each_patch(shape, pooled):
    critic = networks.patch_critic(features=(4, 6), pooled=pooled)
    ends, _ = jax.eval_shape(critic.init_with_output, KEY, jnp.ones((2, *shape, 1)))
    assert ends["logits"].shape == ((2, 1) if pooled else (2, *PATCHES[shape], 1))
    assert ends["features"].shape == (2, 6)


def test_a_class_enters_by_its_inner_product_with_the_features():
    critic = from_linen(networks.patch_critic(features=(4, 6), classes=2, pooled=True))
    image = RNG.normal(size=(3, 8, 8, 1)).astype(np.float32)
    params, state = critic.init(KEY, {"image": image, "label": LABEL})
    score = jax.jit(lambda label: critic.apply(params, state, {"image": image, "label": label})[0])
    ends, other = score(LABEL), score(1 - LABEL)
    table = np.asarray(params["label"]["table"])
    product = ((table[LABEL] - table[1 - LABEL]) * np.asarray(ends["features"])).sum(-1)
    np.testing.assert_allclose(
        (ends["logits"] - other["logits"])[:, 0], product / np.sqrt(6), rtol=1e-4, atol=1e-5
    )
    assert np.isnan(score(LABEL + 1)["logits"][1:]).all()


def test_critics_refuse_what_they_cannot_see():
    critic = from_linen(networks.patch_critic(features=(4, 6, 8, 8)))
    image = jnp.ones((2, 4, 16, 1))
    with pytest.raises(ValueError, match="too few"):
        jax.eval_shape(critic.init, KEY, image)
    pair = from_linen(networks.patch_critic(features=(4,)))
    with pytest.raises(ValueError, match="voxel on voxel"):
        jax.eval_shape(pair.init, KEY, {"image": image, "map": image[:, 1:]})
    with pytest.raises(ValueError, match=r"not \['noise'\]"):
        jax.eval_shape(pair.init, KEY, {"image": image, "noise": image})
