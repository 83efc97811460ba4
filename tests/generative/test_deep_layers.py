"""Layers of a deep Boltzmann machine, one by one: copies, steps, and what is made of them."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, logsumexp

import jaxmed as jm
from jaxmed.core import Variables
from jaxmed.generative import (
    as_rbm,
    contrastive_divergence,
    deep_boltzmann,
    deep_from_rbms,
    deep_layers,
    fit_layers,
    log_likelihood,
    log_partition,
    rbm,
)

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 2, (6, 3)).astype(np.float32)


def states(n):
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)), np.float32)


def restricted(pixels, hidden, seed):
    rng = np.random.default_rng(seed)
    return {
        "kernel": np.float32(rng.normal(size=(pixels, hidden))),
        "visible_bias": np.float32(rng.normal(size=pixels)),
        "hidden_bias": np.float32(rng.normal(size=hidden)),
    }


def shares(log_weights):
    return np.exp(log_weights - logsumexp(log_weights))


def test_the_deep_machine_is_the_root_of_the_product_of_its_machines():
    """In its hidden layers; each machine by its own copies, summed out by hand."""
    one, two, three = restricted(2, 3, 1), restricted(3, 2, 2), restricted(2, 3, 3)
    h1, h2 = states(3), states(2)
    # Two images of the lowest machine, two top layers of the uppermost, each drawn by itself.
    lowest = h1 @ one["hidden_bias"]
    lowest += 2 * np.logaddexp(0, one["visible_bias"] + h1 @ one["kernel"].T).sum(1)
    uppermost = h2 @ three["visible_bias"]
    uppermost += 2 * np.logaddexp(0, three["hidden_bias"] + h2 @ three["kernel"]).sum(1)
    between = h1 @ two["kernel"] @ h2.T
    between += (h1 @ two["visible_bias"])[:, None] + h2 @ two["hidden_bias"]
    expected = shares(0.5 * (lowest[:, None] + between + uppermost))

    deep = deep_from_rbms([one, two, three])
    found = h1 @ deep["kernels"]["1"] @ h2.T
    found += (h1 @ deep["biases"]["1"])[:, None] + h2 @ deep["biases"]["2"]
    found += np.logaddexp(0, deep["biases"]["0"] + h1 @ deep["kernels"]["0"].T).sum(1)[:, None]
    found += np.logaddexp(0, deep["biases"]["3"] + h2 @ deep["kernels"]["2"]).sum(1)
    np.testing.assert_allclose(shares(np.asarray(found)), expected, rtol=1e-5)

    single = as_rbm(deep_from_rbms([one]))
    for name, value in one.items():
        np.testing.assert_array_equal(single[name], value)


@pytest.mark.parametrize("copies", [(2, 1), (1, 2)])
@pytest.mark.parametrize("centre", [False, True])
def test_a_step_is_the_copies_mean_and_centred_by_hand(copies, centre):
    """Data minus chains, of each pair of copies, with the offsets of the wide machine."""
    visible, hidden = copies
    params = restricted(3, 2, 4)
    w, c = params["kernel"], params["hidden_bias"]
    batch, rng = {"image": IMAGES}, np.random.default_rng(1)
    objective = contrastive_divergence(
        copies=copies, centre=centre, chains=5, offset_rate=0.0, binarise="none"
    )
    _, own = jax.jit(lambda p: objective.init(KEY, rbm(2), p, {}, batch))(params)
    assert own["chains"].shape == (5, 3 * visible)
    own["chains"] = jnp.asarray(rng.integers(0, 2, (5, 3 * visible)), jnp.float32)
    mu = lam = np.zeros(())
    if centre:
        mu, lam = rng.uniform(size=3), rng.uniform(size=2)
        own["offsets"] = {
            "visible": jnp.float32(np.tile(mu, visible)),
            "hidden": jnp.float32(np.tile(lam, hidden)),
        }

    def loss(net):
        state = {"net": {}, "obj": own}
        return objective.loss(rbm(2), {"net": net, "obj": {}}, state, batch, KEY)[0]

    found = jax.jit(jax.grad(loss))(params)

    def moments(rows):
        """Means of pixels, units and centred products, over rows and copies."""
        parts = rows.reshape(len(rows), visible, 3)
        h = expit(c + parts.sum(1) @ w)
        v = parts.mean(1)
        return v.mean(0), h.mean(0), (v - mu).T @ (h - lam) / len(rows)

    data, model = moments(np.tile(IMAGES, (1, visible))), moments(np.asarray(own["chains"]))
    kernel = model[2] - data[2]
    by_pixel, by_unit = model[0] - data[0], model[1] - data[1]
    if centre:  # Biases of the centred machine are moved; the kernel's step moves them back.
        by_pixel = by_pixel - hidden * kernel @ lam
        by_unit = by_unit - visible * kernel.T @ mu
    np.testing.assert_allclose(found["kernel"], kernel, atol=1e-5)
    np.testing.assert_allclose(found["visible_bias"], by_pixel, atol=1e-5)
    np.testing.assert_allclose(found["hidden_bias"], by_unit, atol=1e-5)


def test_the_layers_see_what_the_paper_says():
    """Doubled weights up from the pixels; two top layers down upon the one between."""
    first, last = deep_layers((2, 4), optax.sgd(0.1), chains=5)
    batch = {"image": IMAGES}
    state = jax.jit(first.init)(KEY, batch)
    params = restricted(3, 2, 5)
    state = first.predicting.set(state, Variables(params, {}))
    seen = first.predict(state, IMAGES.reshape(6, 3, 1))["features"]
    expected = expit(params["hidden_bias"] + 2 * IMAGES @ params["kernel"])
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    top = jax.eval_shape(lambda x: last.init(KEY, {"image": x}), seen)
    assert top.state["obj"]["chains"].shape == (5, 2)
    assert top.state["obj"]["offsets"]["hidden"].shape == (8,)  # both copies' units
    assert top.params["net"]["kernel"].shape == (2, 4)


@pytest.mark.slow
def test_layers_begin_nearer_to_the_images_than_chance_does():
    """Exactly: log Z is a sum over all states, and so is the bound's."""
    rng = np.random.default_rng(0)
    patterns = np.zeros((2, 12), np.float32)
    patterns[0, :6], patterns[1, 6:] = 1, 1
    images = np.float32(rng.uniform(size=(80, 12)) < 0.05 + 0.9 * patterns[np.arange(80) % 2])
    network = deep_boltzmann((4, 3))
    bias = np.log(images.mean(0) / (1 - images.mean(0)))

    def bound(params):
        log_z = log_partition(None, as_rbm(params))
        variables = Variables(params, {})
        return log_likelihood(network, variables, images, log_z, binarise="none").value

    start = network.init(KEY, images)[0]
    chance = bound({**start, "biases": {**start["biases"], "0": jnp.asarray(bias)}})
    layers = deep_layers((4, 3), optax.sgd(0.2, momentum=0.5), chains=40)
    batches = jm.data.batches({"image": images}, 20, seed=0)
    done = fit_layers(layers, batches, epochs=25, seed=0, progress=False)
    begun = bound(deep_from_rbms([one.state.params["net"] for one in done]))
    assert begun > chance + 1.0
    assert begun < 0


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="layers of at least one unit"):
        deep_layers((3, 0), optax.sgd(0.1))
    with pytest.raises(ValueError, match="layers of at least one unit"):
        deep_layers((3.5, 2), optax.sgd(0.1))  # pyright: ignore
    with pytest.raises(ValueError, match="two numbers of at least 1"):
        contrastive_divergence(copies=(0, 1))
    with pytest.raises(ValueError, match="at least one layer"):
        deep_from_rbms([])
    with pytest.raises(ValueError, match="layer 1 has 5 pixels, the one below it 4"):
        deep_from_rbms([restricted(3, 4, 0), restricted(5, 2, 0)])
    gaussian = {**restricted(3, 4, 0), "visible_log_scale": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match="layer 0 has Gaussian pixels"):
        deep_from_rbms([gaussian])
    with pytest.raises(ValueError, match="Gaussian pixels stand alone"):
        contrastive_divergence(copies=(2, 1)).init(KEY, rbm(4), gaussian, {}, {"image": IMAGES})
