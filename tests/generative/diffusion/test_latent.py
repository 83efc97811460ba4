"""Diffusion among latents: divided by their scale when learned, multiplied with it when drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import networks
from jaxmed.core import Network, stateless, weighted_mean
from jaxmed.generative import (
    Codec,
    denoising,
    diffusion_sampler,
    draw_images,
    edm,
    latent,
    latent_network,
    latent_sampler,
    latent_statistics,
    latent_variables,
)

KEY = jax.random.key(6)
GAIN = np.array([5.0, 0.2], np.float32)


def affine():
    """Images of two channels as latents of half the size, four channels, other scales."""

    def apply(params, state, inputs, *, key=None, train=False):
        if "latent" in inputs:
            z = (inputs["latent"] - params["shift"]) / params["gain"]
            return {"logits": jnp.repeat(jnp.repeat(z, 2, 1), 2, 2)}, state
        x = inputs["image"][:, ::2, ::2]
        return {"latent": x * params["gain"] + params["shift"]}, state

    network = Network(lambda key, inputs: ({}, {}), apply)
    return Codec(network, {"gain": jnp.asarray(GAIN), "shift": jnp.asarray([7.0, -2.0])}, {})


def images(n=4000):
    noise = np.random.default_rng(0).normal(size=(n, 1, 1, 2))
    return (0.3 + 0.5 * np.broadcast_to(noise, (n, 4, 4, 2))).astype(np.float32)


def test_statistics_are_those_of_the_latents():
    mean, deviation = latent_statistics(affine(), images())
    np.testing.assert_allclose(mean, 0.3 * GAIN + [7, -2], rtol=0.02)
    np.testing.assert_allclose(deviation, 0.5 * GAIN, rtol=0.03)


def test_the_objective_sees_latents_of_unit_variance():
    codec, seen = affine(), {}

    def loss(network, params, state, batch, key):
        jax.debug.callback(lambda z: seen.update(z=z), batch["image"])
        return weighted_mean(batch["image"].mean((1, 2, 3)), batch.get("weight")), (state, {})

    objective = latent(codec, stateless(loss))
    batch = {"image": jnp.asarray(images())}
    params, state = objective.init(KEY, codec.network, {}, {}, batch)
    jax.jit(
        lambda batch: objective.loss(
            codec.network, {"net": {}, "obj": params}, {"net": {}, "obj": state}, batch, KEY
        )[0]
    )(batch)
    z = np.asarray(seen["z"])
    assert z.shape == (4000, 2, 2, 2)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-4)


def test_drawn_latents_come_back_in_the_scale_of_the_images(gaussian):
    """The best denoiser of unit Gaussians draws images of the training images' mean and spread."""
    codec, process = affine(), edm(data=1.0, highest=20.0)

    def apply(params, state, inputs, *, key=None, train=False):
        sigma = jnp.exp(4 * inputs["time"]).reshape(-1, 1, 1, 1)
        x = inputs["image"] * jnp.sqrt(sigma**2 + 1)
        skip, gain = process.parts(sigma)
        return {"logits": (x / (1 + sigma**2) - skip * x) / gain}, state

    exact = Network(lambda key, inputs: ({}, {}), apply)
    run = jm.learner(
        latent_network(codec, exact), latent(codec, denoising(process)), optax.sgd(0.1)
    )
    state = run.init(KEY, {"image": jnp.asarray(images())})
    draw = latent_sampler(
        diffusion_sampler(exact, (2, 2, 2), process=process, steps=20), codec.network
    )
    drawn = draw_images(draw, KEY, *latent_variables(state), 1500, chunk=1500)
    assert drawn.shape == (1500, 4, 4, 2)
    np.testing.assert_allclose(drawn.mean((0, 1, 2)), 0.3, atol=0.03)
    np.testing.assert_allclose(drawn.std((0, 1, 2)), 0.5, rtol=0.06)


def test_a_real_codec_and_denoiser_go_together():
    """Shapes alone: of a variational autoencoder, a denoiser of its latents, and their average."""
    codec_net = jm.from_linen(
        networks.image_vae((8, 8), latent=2, spatial=True, features=(4, 8), blocks=1)
    )
    net = jm.from_linen(networks.denoiser_unet(2, widths=(4,), attention=(), groups=2, classes=2))
    objective = denoising(edm(data=1.0), label="label", drop=0.1)
    draw = latent_sampler(
        diffusion_sampler(net, (4, 4, 2), process=edm(data=1.0), steps=3, classes=2), codec_net
    )

    def all_of_it(key, batch):
        codec = Codec(codec_net, *codec_net.init(key, batch["image"]))
        run = jm.train.parameter_average(
            jm.learner(latent_network(codec, net), latent(codec, objective), optax.adam(1e-3))
        )
        before = run.init(key, batch)
        state, _ = run.step(before, batch)
        assert jax.tree.structure(state) == jax.tree.structure(before)
        variables = latent_variables(state, run.predicting.get(state))
        return draw(key, *variables, 8, {"label": batch["label"]})

    batch = {"image": jnp.ones((8, 8, 8, 1)), "label": jnp.arange(8) % 2}
    assert jax.eval_shape(all_of_it, KEY, batch).shape == (8, 8, 8, 1)


def test_the_codec_does_not_learn_and_classes_are_checked():
    codec, process = affine(), edm(data=1.0)
    net = jm.from_linen(
        networks.denoiser_unet(2, widths=(2,), attention=(), groups=1, embedding=4, classes=2)
    )
    run = jm.learner(
        latent_network(codec, net), latent(codec, denoising(process)), optax.adam(1e-3)
    )
    batch = {"image": jnp.asarray(images(8))}
    state = jax.jit(lambda key: run.step(run.init(key, batch), batch)[0])(KEY)
    np.testing.assert_array_equal(state.state["obj"]["latent"]["params"]["gain"], GAIN)
    draw = latent_sampler(
        diffusion_sampler(net, (2, 2, 2), process=process, steps=2, classes=2), codec.network
    )
    with pytest.raises(ValueError, match="no class 2"):
        draw_images(draw, KEY, *latent_variables(state), 1, condition={"label": np.array([2])})


def test_what_is_wrong_is_said():
    run = jm.learner(affine().network, denoising(edm()), optax.sgd(0.1))
    with pytest.raises(ValueError, match="not latent"):
        latent_variables(run.init(KEY, {"image": jnp.ones((2, 4, 4, 2))}))
    vectors = Network(
        lambda key, inputs: ({}, {}),
        lambda params, state, inputs, *, key=None, train=False: (
            {"latent": inputs["image"].reshape(len(inputs["image"]), -1)},
            state,
        ),
    )
    with pytest.raises(ValueError, match="latents that are a map"):
        latent_statistics(Codec(vectors, {}, {}), jnp.ones((2, 4, 4, 1)))
