"""Styles mixed behind named layers: the formula, the partners, training alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import Tiny, make_batch

import jaxmed as jm
from jaxmed.inference import build, describe
from jaxmed.paradigms import mixstyle
from jaxmed.paradigms.adaptation._mix_style import mix_styles, with_style

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def features(n=6, shape=(5, 4), channels=3):
    scale = RNG.uniform(0.5, 3, (n, *[1] * len(shape), channels))
    return jnp.asarray(scale * RNG.normal(size=(n, *shape, channels)) + 2 * scale, jnp.float32)


def style(x):
    spatial = tuple(range(1, x.ndim - 1))
    return np.concatenate([np.mean(x, spatial), np.std(x, spatial)], -1)


@pytest.mark.parametrize("shape", [(9,), (5, 4), (3, 4, 3)])
def test_a_share_of_none_is_the_partners_style_and_of_all_ones_own(shape):
    x = features(4, shape)
    other = x[::-1]
    np.testing.assert_allclose(style(with_style(x, other, jnp.zeros(4))), style(other), rtol=1e-3)
    np.testing.assert_array_equal(with_style(x, other, jnp.ones(4)), x)
    share = jnp.array([0.1, 0.5, 0.7, 0.9])
    found = style(with_style(x, other, share))
    mixed = np.asarray(share)[:, None] * style(x) + (1 - np.asarray(share))[:, None] * style(other)
    np.testing.assert_allclose(found, mixed, rtol=1e-3)


def test_no_gradient_goes_through_statistics():
    x, other, share = features(2), features(2), jnp.array([0.3, 0.6])
    gradient = jax.grad(lambda x: with_style(x, other, share).sum())(x)
    own, theirs = np.std(x, (1, 2)), np.std(other, (1, 2))
    scale = np.asarray(share)[:, None] + (1 - np.asarray(share))[:, None] * theirs / own
    np.testing.assert_allclose(gradient, np.broadcast_to(scale[:, None, None], x.shape), rtol=1e-3)


def whose(made, x, row):
    """Who may have lent a row its style: between the row's own and theirs, on one line."""
    own, found = style(x)[row], style(made)[row]
    fits = []
    for j in range(len(x)):
        step = style(x)[j] - own
        t = step @ (found - own) / max(step @ step, 1e-12)
        fits.append(np.abs(found - own - t * step).max())
    return int(np.argmin(fits))


def test_partners_are_of_another_domain_and_never_padding():
    x = features()
    domain, weight = jnp.array([0, 0, 0, 1, 1, 1]), jnp.array([1.0, 1, 1, 1, 1, 0])
    mix = jax.jit(lambda key: mix_styles(key, x, alpha=1.0, p=1.0, domain=domain, weight=weight))
    made = [mix(jax.random.key(i)) for i in range(20)]
    assert {whose(one, x, 0) for one in made} == {3, 4}
    assert {whose(one, x, 4) for one in made} == {0, 1, 2}


def test_predictions_and_parameters_are_those_of_the_network():
    plain = jm.from_linen(Tiny())
    network, batch = mixstyle(plain, at="Conv_0"), make_batch((6, 6))
    told = {"image": batch["image"], "domain": batch["label"], "weight": batch["weight"]}
    params, state = network.init(KEY, told)
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(KEY, batch["image"])[0])
    expected = plain.apply(params, state, batch["image"])[0]["logits"]
    for inputs in (told, batch["image"]):
        np.testing.assert_array_equal(network.apply(params, state, inputs)[0]["logits"], expected)


def trained(network, batch, inputs, key=KEY):
    params, state = network.init(KEY, batch["image"])
    given = batch[inputs] if isinstance(inputs, str) else {name: batch[name] for name in inputs}
    return network.apply(params, state, given, key=key, train=True)[0]


def test_training_mixes_at_some_steps_behind_the_layer_that_is_named():
    plain, batch = jm.from_linen(Tiny()), make_batch((6, 6))
    network = mixstyle(plain, at="Conv_0", alpha=1.0)
    expected = trained(plain, batch, "image")["pyramid"][0]
    still = 0
    for i in range(20):
        found = trained(network, batch, "image", jax.random.key(i))["pyramid"][0]
        still += bool((found == expected).all())
    assert 4 <= still <= 16
    always = mixstyle(plain, at="Conv_0", alpha=1.0, p=1.0)
    one = {**batch, "domain": jnp.zeros(8, int)}
    same = trained(always, one, ("image", "domain"))["pyramid"][0]
    np.testing.assert_array_equal(same, expected)


def test_padding_does_not_count_where_weights_are_told():
    inputs = ("image", "weight")
    network = mixstyle(jm.from_linen(Tiny()), at="Conv_0", alpha=1.0, p=1.0)
    objective = jm.supervised(jm.losses.cross_entropy, inputs=inputs)
    run = jm.learner(network, objective, optax.sgd(0.1), inputs=inputs)
    batch = make_batch((6, 6))
    first, step = run.init(KEY, batch), jax.jit(run.step)
    other = {**batch, "image": batch["image"].at[-2:].set(50.0)}
    jax.tree.map(
        np.testing.assert_array_equal, step(first, other)[0].params, step(first, batch)[0].params
    )


def test_it_is_written_down_and_made_again():
    network = mixstyle(jm.from_linen(jm.networks.resnet8(2)), at="stage1_block1", p=0.3)
    again = build(describe(network))
    x = jnp.ones((2, 8, 8, 1))
    params, state = network.init(KEY, x)
    np.testing.assert_array_equal(
        again.apply(params, state, x)[0]["logits"], network.apply(params, state, x)[0]["logits"]
    )


@pytest.mark.parametrize(
    ("at", "key", "told"),
    [
        ("stage9", KEY, r"none of the network's Linen modules \['Conv_0', 'head'\]"),
        ("head", KEY, r"no \(batch, \*spatial, channels\): \(8, 3\)"),
        ("Conv_0", None, "was given no key"),
    ],
)
def test_mistakes_are_told_where_it_is_traced(at, key, told):
    with pytest.raises(ValueError, match=told):
        trained(mixstyle(jm.from_linen(Tiny()), at=at), make_batch((6, 6)), "image", key)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"alpha": float("nan")}, "alpha must be positive and finite"),
        ({"alpha": float("inf")}, "alpha must be positive and finite"),
        ({"p": 2.0}, "probability"),
    ],
)
def test_mistakes_are_told(options, told):
    with pytest.raises(ValueError, match=told):
        mixstyle(jm.from_linen(Tiny()), at="Conv_0", **options)
