"""Images translated: from pairs and without, both ways."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed import networks
from jaxmed.core import from_functions, from_linen
from jaxmed.generative.adversarial._pool import empty_pool, through_pool
from jaxmed.testing import check_learner, check_network

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def images(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


PAIRS = {"source": images(8, 8, 6, 2), "target": images(8, 8, 6, 1)}
KINDS = {"image_a": images(8, 8, 6, 1), "image_b": images(8, 8, 6, 1)}
RATE = optax.adam(1e-3, b1=0.5)


def unet(outputs=1, **options):
    plan = networks.UNetPlan((4, 6), (1, 2), (3, 3), (1, 1), (1,))
    return networks.unet(outputs, plan=plan, **options)


def critic():
    return networks.patch_critic(features=(4, 6))


def paired(**options):
    return gen.pix2pix(unet(dropout=0.5), critic(), RATE, RATE, **options)


def unpaired(**options):
    return gen.cycle(unet(), unet(), critic(), critic(), RATE, RATE, **options)


def test_pix2pix_keeps_the_laws():
    held = check_learner(paired(r1=0.1), PAIRS, inputs="source")
    assert "several devices equal one" in held


@pytest.mark.slow
@pytest.mark.parametrize("pool", [0, 10])
def test_cycle_keeps_the_laws(pool):
    held = check_learner(
        unpaired(pool=pool), KINDS | {"weight": np.ones(8)}, inputs=("image_a", "image_b")
    )
    assert "the state can be donated" in held


def test_two_way_keeps_the_laws_of_networks():
    network = gen.two_way(unet(), unet())
    assert check_network(network, KINDS)
    again = jm.inference.build(jm.inference.describe(network))
    params, state = network.init(KEY, KINDS)
    there, back = (
        net.apply(params, state, {"image_a": KINDS["image_a"]})[0] for net in (network, again)
    )
    assert set(there) == {"image_b"}
    np.testing.assert_array_equal(there["image_b"], back["image_b"])
    alone = from_linen(unet()).apply(params["a_to_b"], state["a_to_b"], KINDS["image_a"])[0]
    np.testing.assert_allclose(there["image_b"], alone["logits"], atol=1e-6)
    with pytest.raises(ValueError, match=r"takes \{'image_a', 'image_b'\}"):
        network.apply(params, state, KINDS["image_a"])


def scaled(start):
    return from_functions(
        lambda key, x: {"w": jnp.asarray(start)}, lambda params, x: params["w"] * x
    )


def test_the_loss_of_both_ways_is_its_formula():
    """Generators that scale by 2 and 3, critics that sum."""
    total = from_functions(lambda key, x: {}, lambda params, x: x.sum((1, 2, 3)))
    run = gen.cycle(
        scaled(2.0), scaled(3.0), total, total, optax.sgd(0.0), optax.sgd(0.0),
        kind="least-squares", weight=10.0, identity=0.5, pool=0,
    )  # fmt: skip
    batch = KINDS | {"weight": np.float32([1] * 5 + [0] * 3)}
    _, metrics = jax.jit(lambda: run.step(run.init(KEY, batch), batch))()
    a, b = (KINDS[name][:5] for name in ("image_a", "image_b"))
    sums_a, sums_b = a.sum((1, 2, 3)), b.sum((1, 2, 3))
    back = 5 * (np.abs(a).mean() + np.abs(b).mean())
    same = 1 * np.abs(b).mean() + 2 * np.abs(a).mean()
    made = ((2 * sums_a - 1) ** 2).mean() + ((3 * sums_b - 1) ** 2).mean()
    np.testing.assert_allclose(metrics["generator/loss"], made + 10 * back + 5 * same, rtol=1e-4)
    judged = ((sums_a - 1) ** 2 + (3 * sums_b) ** 2).mean() + (
        (sums_b - 1) ** 2 + (2 * sums_a) ** 2
    ).mean()
    np.testing.assert_allclose(metrics["critic/loss"], judged, rtol=1e-4)


def test_a_pool_hands_out_what_it_was_given():
    """Nothing is lost or made up: what goes in comes out, or is still there."""

    @jax.jit
    def handed(steps):
        def step(pool, t):
            batch = (4.0 * t + jnp.arange(4.0))[:, None]
            weight = jnp.array([1.0, 1.0, 1.0, 0.0])
            out, pool = through_pool(jax.random.fold_in(KEY, t), pool, batch, weight)
            return pool, out

        return jax.lax.scan(step, empty_pool(6, jnp.zeros((1, 1))), steps)

    pool, out = handed(jnp.arange(20))
    out, kept = np.asarray(out)[..., 0], np.asarray(pool["images"])[:, 0]
    assert pool["filled"].all()
    np.testing.assert_array_equal(out[:, 3], 4.0 * np.arange(20) + 3)  # padding passes by
    older = (out[:, :3] // 4 < np.arange(20)[:, None]).mean()
    assert 0.2 < older < 0.6
    real = {4 * t + i for t in range(20) for i in range(3)}
    assert set(out[:, :3].ravel()) | set(kept) <= real
    with pytest.raises(ValueError, match="smaller than a batch"):
        through_pool(KEY, empty_pool(2, jnp.zeros((1, 1))), jnp.zeros((4, 1)), None)


def test_batches_that_are_no_pairs_are_refused():
    for bad, error, told in (
        ({"source": PAIRS["source"]}, KeyError, "learns from pairs.*no 'target'.*cycle"),
        (PAIRS | {"target": PAIRS["target"][:7]}, ValueError, "voxel on voxel"),
        (PAIRS | {"target": PAIRS["target"][:, :7]}, ValueError, "voxel on voxel"),
    ):
        with pytest.raises(error, match=told):
            paired().init(KEY, bad)
        with pytest.raises(error, match=told):
            paired().step(None, bad)
    with pytest.raises(KeyError, match="no 'image_b'"):
        unpaired().init(KEY, {"image_a": KINDS["image_a"]})
    with pytest.raises(ValueError, match="not be negative"):
        paired(weight=-1.0)


def test_translations_are_the_networks():
    """And by dropout each key has its own."""
    network = from_linen(unet(dropout=0.5))
    params, state = network.init(KEY, PAIRS["source"])
    expected = jax.jit(lambda x: network.apply(params, state, x)[0]["logits"])(PAIRS["source"])
    found = gen.translate_images(network, params, state, PAIRS["source"], chunk=3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for dropout in (False, True):
        draw = gen.translation_sampler(network, 2, dropout=dropout)
        same = {"map": PAIRS["source"][:1].repeat(4, 0)}
        drawn = gen.draw_images(draw, KEY, params, state, 4, condition=same, chunk=4)
        part = gen.draw_images(
            draw, KEY, params, state, 3, chunk=2, condition={"map": same["map"][:3]}
        )
        np.testing.assert_allclose(part, drawn[:3], atol=1e-6)
        assert (np.abs(drawn[0] - drawn[1]).max() > 1e-3) == dropout
    with pytest.raises(ValueError, match="channel"):
        gen.draw_images(draw, KEY, params, state, 8, condition={"map": PAIRS["target"]})
    with pytest.raises(ValueError, match="not finite"):
        gen.translate_images(network, params, state, PAIRS["source"] * np.nan)


class Shade(nn.Module):
    """A generator that is a factor and a shift."""

    @nn.compact
    def __call__(self, x):
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        return x * self.param("factor", ones, ()) + self.param("shift", zeros, ())


@pytest.mark.slow
def test_a_shade_is_learned_from_pairs_and_without():
    """Images of kind B are darker ones of kind A, of other images where there are no pairs."""
    ramp = np.linspace(0, 1, 8, dtype=np.float32)
    shapes = ramp[None, :, None, None] ** RNG.uniform(0.5, 3, (400, 1, 1, 1)).astype(np.float32)
    shapes = np.repeat(shapes, 8, 2)
    first, other = shapes[:200], 0.5 * shapes[200:] + 0.3
    rate, slow = optax.adam(5e-3, b1=0.5), optax.adam(2e-3, b1=0.5)
    bounded = [gen.spectral_norm(critic()) for _ in range(2)]
    both_ways = gen.cycle(
        Shade(), Shade(), *bounded, rate, slow, kind="hinge", weight=1.0, identity=0.0, pool=0
    )
    for run, source, at in (
        (
            gen.pix2pix(Shade(), critic(), rate, rate),
            {"source": first, "target": 0.5 * first + 0.3},
            (),
        ),
        (both_ways, {"image_a": first, "image_b": other}, ("a_to_b",)),
    ):
        result = jm.fit(run, jm.data.batches(source, 20, seed=0), seed=0, steps=800)
        params = run.predicting.get(result.state).params
        for name in at:
            params = params[name]
        assert abs(float(params["factor"]) - 0.5) < 0.05
        assert abs(float(params["shift"]) - 0.3) < 0.05
