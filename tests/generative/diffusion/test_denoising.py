"""The objective, against the errors of the best guess there is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from exact_diffusion import PROCESSES

import jaxmed as jm
from jaxmed import networks
from jaxmed.generative import (
    ddpm,
    denoising,
    diffusion_sampler,
    draw_images,
    edm,
    flow,
    timed,
)
from jaxmed.testing import check_network

KEY = jax.random.key(5)


def loss_of(objective, network, batch, key=KEY, params=(), state=()):
    run = jax.jit(
        lambda batch: objective.loss(
            network, {"net": dict(params), "obj": {}}, {"net": dict(state), "obj": {}}, batch, key
        )[0]
    )
    return float(run(batch))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_best_guess_has_the_loss_of_the_closed_form(name, gaussian):
    process = PROCESSES[name]
    rng = np.random.default_rng(0)
    n = 20_000
    images = rng.multivariate_normal(gaussian.mean, gaussian.covariance, n)
    batch = {"image": images.reshape(n, *gaussian.shape).astype(np.float32)}
    found = loss_of(denoising(process), gaussian.network(process), batch)
    # The variance that is left of each component, in the units of what is predicted.
    t = process.training_times((np.arange(n) + 0.5) / n)
    a, b = (np.asarray(level, float)[:, None] for level in process.levels(t))
    gain = np.asarray(process.parts(t)[1], float)[:, None]
    left = gaussian.values * b**2 / (a**2 * gaussian.values + b**2) / gain**2
    assert found == pytest.approx(left.mean(), rel=0.03)


def test_weights_multiply_each_examples_error(gaussian):
    process = ddpm("linear", predicts="noise")
    batch = {"image": np.ones((64, 2, 2, 1), np.float32)}
    seen = {}

    def apply(params, state, inputs, *, key=None, train=False):
        seen["t"] = inputs["time"]
        return {"logits": inputs["image"]}, state

    network = gaussian.network(process)._replace(apply=apply)
    plain = loss_of(denoising(process), network, batch)
    weighted = loss_of(denoising(process._replace(weight="min-snr")), network, batch)
    assert 0 < weighted < plain


def test_times_are_spread_evenly_and_new_at_each_step():
    told = []

    def apply(params, state, inputs, *, key=None, train=False):
        jax.debug.callback(lambda t: told.append(np.sort(t)), inputs["time"])
        return {"logits": inputs["image"]}, state

    network = jm.core.Network(lambda key, inputs: ({}, {}), apply)
    batch = {"image": np.ones((8, 2, 2, 1), np.float32)}
    for seed in range(3):
        loss_of(denoising(flow(times="uniform")), network, batch, jax.random.key(seed))
    for times in told:
        assert (np.floor(8 * (times - 1e-3) / 0.999) == np.arange(8)).all() or np.allclose(
            np.diff(times), 0.999 / 8, atol=1e-5
        )
    assert not np.allclose(told[0], told[1])


def test_conditions_reach_the_network_and_are_withheld_at_their_rate():
    seen = {}

    def apply(params, state, inputs, *, key=None, train=False):
        jax.debug.callback(lambda given: seen.update(given), inputs)
        return {"logits": inputs["image"]}, state

    network = jm.core.Network(lambda key, inputs: ({}, {}), apply)
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.normal(size=(1000, 2, 1)).astype(np.float32),
        "grade": np.arange(1000) % 5,
        "mask": rng.normal(size=(1000, 2, 3)).astype(np.float32),
    }
    loss_of(denoising(edm(), label="grade", map="mask", drop=0.2), network, batch)
    np.testing.assert_array_equal(seen["label"], batch["grade"])
    np.testing.assert_array_equal(seen["map"], batch["mask"])
    assert seen["known"].mean() == pytest.approx(0.8, abs=0.04)
    seen.clear()
    loss_of(denoising(edm(), label="grade"), network, batch)
    assert sorted(seen) == ["image", "label", "time"]


PLAN = networks.UNetPlan((4, 8), (1, 2), (3, 3), (1, 1), (1,))
NETWORKS = {
    "denoiser_unet": lambda: jm.from_linen(
        networks.denoiser_unet(2, widths=(4, 8), attention=(1,), heads=2, classes=3, groups=2,
                               embedding=8, dropout=0.2)
    ),
    "timed": lambda: timed(
        jm.from_linen(networks.unet(2, plan=PLAN)),
        classes=3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("spatial", [(7, 6), (5, 4, 6)])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_told_time_class_and_map(name, spatial):
    network = NETWORKS[name]()
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, *spatial, 2)).astype(np.float32)
    maps = rng.normal(size=(2, *spatial, 1)).astype(np.float32)
    given = {
        "image": jnp.asarray(image),
        "time": jnp.full(2, 0.3),
        "label": jnp.array([0, 2]),
        "map": jnp.asarray(maps),
        "known": jnp.ones(2),
    }
    params, state = jax.jit(network.init)(KEY, given)
    # The last layers begin at 0, and would hide what the network is told.
    leaves, tree = jax.tree.flatten(params)
    params = jax.tree.unflatten(
        tree, [x + 0.1 * rng.normal(size=x.shape).astype(np.float32) for x in leaves]
    )
    run = jax.jit(lambda given: network.apply(params, state, given)[0]["logits"])
    others = {
        "time": {**given, "time": jnp.full(2, 0.6)},
        "label": {**given, "label": jnp.array([1, 1])},
        "map": {**given, "map": given["map"] + 1},
        "withheld": {**given, "known": jnp.zeros(2)},
    }
    plain = run(given)
    assert plain.shape == image.shape
    assert plain.dtype == jnp.float32
    for what, other in others.items():
        assert float(jnp.abs(run(other) - plain).max()) > 1e-3, what
    withheld = {**given, "known": jnp.zeros(2), "label": jnp.array([1, 1]), "map": 5 * given["map"]}
    np.testing.assert_allclose(run(withheld), run(others["withheld"]), rtol=1e-4, atol=1e-5)
    unknown = {**given, "known": jnp.zeros(2), "label": jnp.array([-1, -1])}
    np.testing.assert_allclose(run(unknown), run(others["withheld"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_they_keep_the_laws_of_a_network(name):
    given = {
        "image": jax.random.normal(KEY, (3, 4, 4, 2)),
        "time": jnp.array([0.1, 0.5, 0.9]),
        "label": jnp.array([0, 1, -1]),
    }
    network = NETWORKS[name]()
    if name == "denoiser_unet":  # one level has all that could break a law
        options = {"widths": (4,), "attention": (0,), "heads": 2, "groups": 2, "embedding": 8}
        network = jm.from_linen(networks.denoiser_unet(2, classes=3, dropout=0.2, **options))
    check_network(network, given)


@pytest.mark.parametrize("option", [{"remat": True}, {"dtype": jnp.bfloat16}], ids=str)
def test_half_precision_and_recomputation_change_little(option):
    options = {"widths": (4,), "attention": (0,), "heads": 2, "groups": 2, "embedding": 8}
    given = {"image": jax.random.normal(KEY, (2, 4, 4, 1)), "time": jnp.array([0.2, 0.7])}

    @jax.jit
    def run(given):
        found = []
        for more in ({}, option):
            network = jm.from_linen(networks.denoiser_unet(1, **options, **more))
            params, state = network.init(KEY, given)
            params = jax.tree.map(lambda p: p + 0.1, params)

            def loss(params, network=network, state=state):
                logits = network.apply(params, state, given)[0]["logits"]
                return logits.sum(), logits

            found.append(jax.grad(loss, has_aux=True)(params))
        return found

    (slope, whole), (other_slope, other) = run(given)
    half = "dtype" in option
    assert other.dtype == jnp.float32
    np.testing.assert_allclose(
        other, whole, rtol=0.05 if half else 1e-4, atol=0.05 if half else 1e-5
    )
    if not half:
        for one, two in zip(*map(jax.tree.leaves, (slope, other_slope)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)


def test_a_trained_network_draws_the_image_of_its_class():
    images = np.stack([np.full((4, 4, 1), -0.8), np.full((4, 4, 1), 0.8)]).astype(np.float32)
    batch = {"image": jnp.asarray(np.repeat(images, 16, 0)), "label": jnp.repeat(jnp.arange(2), 16)}
    network = jm.from_linen(
        networks.denoiser_unet(1, widths=(8,), attention=(), classes=2, groups=2, embedding=16)
    )
    process = edm(data=0.8, highest=10.0)
    run = jm.learner(network, denoising(process, label="label", drop=0.1), optax.adam(1e-2))

    @jax.jit
    def train(state):
        return jax.lax.scan(lambda state, _: run.step(state, batch), state, None, length=300)[0]

    state = train(run.init(KEY, batch))
    draw = diffusion_sampler(network, (4, 4, 1), process=process, steps=8, classes=2, guidance=1.5)
    labels = np.arange(12) % 2
    drawn = draw_images(
        draw, KEY, state.params["net"], state.state["net"], 12, condition={"label": labels}
    )
    np.testing.assert_allclose(drawn.mean((1, 2, 3)), images[labels].mean((1, 2, 3)), atol=0.3)
    assert drawn.std((1, 2, 3)).max() < 0.3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: denoising(edm(), drop=0.1), "there are none"),
        (lambda: denoising(edm(), label="label", drop=1.0), r"probability in \[0, 1\)"),
        (lambda: timed(NETWORKS["timed"](), classes=-1), "at least 0"),
    ],
)
def test_wrong_options_are_told(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_wrong_arrays_are_told_when_traced():
    network = NETWORKS["denoiser_unet"]()
    image = jnp.ones((2, 6, 6, 2))

    def fail(batch, objective, error, said):
        with pytest.raises(error, match=said):
            jax.eval_shape(
                lambda params, state, batch: objective.loss(
                    network, {"net": params, "obj": {}}, {"net": state, "obj": {}}, batch, KEY
                ),
                params,
                state,
                batch,
            )

    params, state = jax.eval_shape(network.init, KEY, image)
    batch = {"image": image, "mask": jnp.ones((2, 6, 6), int), "label": jnp.zeros((2, 1), int)}
    fail(batch, denoising(edm(), map="mask"), ValueError, "jax.nn.one_hot")
    fail(batch, denoising(edm(), label="grade"), KeyError, "has no 'grade'")
    fail(batch, denoising(edm(), label="label"), ValueError, "'label' is one number an image")
    lying = {"image": image, "mask": jnp.ones((2, 6, 6, 1))}
    fail(lying, denoising(edm(), map="mask"), ValueError, r"inputs=\('image', 'map'\)")
    fail(batch, denoising(edm(), output="features"), ValueError, "must have the shape")
    fail(batch, denoising(edm(), output="image"), KeyError, "network has no 'image'")
    wide = {"image": jnp.ones((2, 6, 6, 3))}
    network = jm.from_linen(networks.denoiser_unet(1, widths=(4,), attention=()))
    params, state = jax.eval_shape(network.init, KEY, wide["image"])
    fail(wide, denoising(edm()), ValueError, "must have the shape")
    with pytest.raises(ValueError, match="made without classes"):
        network.init(KEY, {"image": image, "label": jnp.zeros(2, int)})
    with pytest.raises(ValueError, match="does not lie on images"):
        network.init(KEY, {"image": image, "map": jnp.zeros((2, 5, 6, 1))})
    with pytest.raises(ValueError, match="attention is at levels 0 to 0"):
        jm.from_linen(networks.denoiser_unet(1, widths=(4,))).init(KEY, image)
