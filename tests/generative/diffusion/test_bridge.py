"""Bridges between pairs whose targets, given the source, are known in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.core import Network
from jaxmed.generative import bridge_sampler, bridging, draw_images

KEY = jax.random.key(2)
RHO, SHAPE = 0.6, (2, 2, 1)
LEFT = 1 - RHO**2  # the target's variance given the source


def exact(noise):
    """The best guess, of targets and sources with unit variance and a correlation."""

    def apply(params, state, inputs, *, key=None, train=False):
        x, source = inputs["image"], inputs["map"]
        t = inputs["time"].reshape(-1, 1, 1, 1)
        gain = LEFT / ((1 - t) * LEFT + noise**2 * t + 1e-9)
        target = RHO * source + gain * (x - t * source - (1 - t) * RHO * source)
        return {"logits": (x - target) / jnp.sqrt(t**2 + noise**2 * t * (1 - t))}, state

    return Network(lambda key, inputs: ({}, {}), apply)


def test_draws_have_the_distribution_of_targets_given_the_source():
    n = 6000
    sources = np.broadcast_to(np.array([1.5, -0.5]), (n // 2, 2)).reshape(n, 1, 1, 1)
    sources = np.broadcast_to(sources, (n, *SHAPE)).astype(np.float32)
    draw = bridge_sampler(exact(0.8), SHAPE, noise=0.8, steps=240)
    drawn = draw_images(draw, KEY, {}, {}, n, chunk=n, condition={"map": sources})
    for source in (1.5, -0.5):
        of = drawn[sources[:, 0, 0, 0] == np.float32(source)]
        assert of.mean() == pytest.approx(RHO * source, abs=0.03)
        assert of.var() == pytest.approx(LEFT, rel=0.06)
        values = of.reshape(len(of), -1)
        assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.08


def test_without_noise_the_way_is_straight_and_fixed():
    source = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    to_half = Network(
        lambda key, inputs: ({}, {}),
        lambda params, state, inputs, *, key=None, train=False: (
            {"logits": inputs["map"] / 2},
            state,
        ),
    )
    for steps in (1, 7):
        draw = bridge_sampler(to_half, SHAPE, noise=0.0, steps=steps)
        drawn = draw_images(draw, KEY, {}, {}, 3, condition={"map": source})
        np.testing.assert_allclose(drawn, source / 2, rtol=1e-4, atol=1e-5)


def test_the_best_guess_has_the_loss_of_the_closed_form():
    rng, n, noise = np.random.default_rng(1), 20_000, 0.8
    source = rng.normal(size=(n, *SHAPE)).astype(np.float32)
    target = RHO * source + np.sqrt(LEFT) * rng.normal(size=source.shape).astype(np.float32)
    objective = bridging(noise=noise)
    found = jax.jit(
        lambda batch: objective.loss(
            exact(noise), {"net": {}, "obj": {}}, {"net": {}, "obj": {}}, batch, KEY
        )[0]
    )({"image": target, "source": source})
    t = 1e-3 + 0.999 * (np.arange(n) + 0.5) / n
    left = LEFT * noise**2 * t / ((1 - t) * LEFT + noise**2 * t)
    assert float(found) == pytest.approx((left / (t**2 + noise**2 * t * (1 - t))).mean(), rel=0.03)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="noise is at least 0"):
        bridging(noise=-1)
    with pytest.raises(ValueError, match="at least one step"):
        bridge_sampler(exact(0.1), SHAPE, steps=0)
    draw = bridge_sampler(exact(0.1), SHAPE)
    with pytest.raises(ValueError, match="draws by a condition 'map'"):
        draw_images(draw, KEY, {}, {}, 2)
    wrap = {"net": {}, "obj": {}}
    batch = {"image": jnp.ones((2, *SHAPE))}
    with pytest.raises(KeyError, match="has no 'source'"):
        bridging().loss(exact(0.1), wrap, wrap, batch, KEY)
    with pytest.raises(ValueError, match="between pairs of one shape"):
        bridging().loss(exact(0.1), wrap, wrap, {**batch, "source": jnp.ones((3, *SHAPE))}, KEY)
