"""Samplers, of Gaussian images with the exact denoiser: what they should draw is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_diffusion import PROCESSES

from jaxmed.core import stream
from jaxmed.generative import ddpm, diffusion_sampler, draw_images, edm, flow

KEY = jax.random.key(7)
ODE = ("ddim", "euler", "heun")


def drawn(gaussian, process, count=64, *, condition=None, key=KEY, bias=0.0, **options):
    draw = diffusion_sampler(
        gaussian.network(process, bias), gaussian.shape, process=process, **options
    )
    return np.asarray(
        jax.jit(draw, static_argnums=3)(key, {}, {}, count, condition), float
    ).reshape(count, -1)


def exact(gaussian, process, count=64):
    """Where the noise that each image begins with flows to, by the closed form."""
    start = jax.vmap(lambda i: jax.random.normal(stream(KEY, "image", i, "start"), (4,)))(
        jnp.arange(count)
    )
    a, b = (float(level) for level in process.levels(jnp.float32(process.last)))
    x = b * np.asarray(start, float)
    part = (x - a * gaussian.mean) @ gaussian.basis
    scale = np.sqrt(gaussian.values / (a**2 * gaussian.values + b**2))
    return gaussian.mean + (part * scale) @ gaussian.basis.T


@pytest.mark.parametrize("method", ODE)
@pytest.mark.parametrize("name", PROCESSES)
def test_each_image_is_where_its_noise_flows_to(name, method, gaussian):
    process = PROCESSES[name]
    error = np.abs(
        drawn(gaussian, process, steps=200, method=method) - exact(gaussian, process)
    ).max()
    assert error < (0.01 if method == "heun" else 0.15)


@pytest.mark.parametrize("name", ["ddpm, velocity", "edm", "flow"])
def test_the_orders_of_convergence(name, gaussian):
    """Half the step is half the error of Euler and DDIM, a quarter of Heun's."""
    process = PROCESSES[name]
    truth = exact(gaussian, process)
    second = 1.5 if name.startswith("ddpm") else 2
    for method, order in (("ddim", 1), ("euler", 1), ("heun", second)):
        errors = [
            np.sqrt(np.square(drawn(gaussian, process, steps=n, method=method) - truth).mean())
            for n in (16, 32)
        ]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3), method


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm, noise", {"method": "ancestral"}),
        ("ddpm, velocity", {"method": "ancestral"}),
        ("edm", {"method": "ancestral"}),
        ("flow", {"method": "ancestral"}),
        ("flow", {"method": "ddim", "eta": 0.5}),
        ("edm", {"method": "heun", "churn": 20.0}),
        ("edm", {"method": "heun"}),
    ],
)
def test_draws_have_the_mean_and_covariance_of_the_images(name, options, gaussian):
    n = 8000
    found = drawn(gaussian, PROCESSES[name], n, steps=150, **options)
    deviation = np.sqrt(np.diag(gaussian.covariance))
    assert (np.abs(found.mean(0) - gaussian.mean) < 5 * deviation / np.sqrt(n) + 0.02).all()
    error = np.abs(np.cov(found.T) - gaussian.covariance) / np.outer(deviation, deviation)
    assert error.max() < 0.09


@pytest.mark.parametrize("process", [edm(highest=20.0), flow()], ids=["edm", "flow"])
def test_euler_is_ddim_on_straight_paths(process, gaussian):
    one = drawn(gaussian, process, steps=9, method="euler")
    two = drawn(gaussian, process, steps=9, method="ddim")
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def test_ancestral_is_the_published_posterior(gaussian):
    """One step by Ho et al.'s formula of the posterior's mean and variance."""
    from jaxmed.generative.diffusion._sampler import ddim_step

    process = ddpm("linear", predicts="image")
    x, image, z = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    t, s = jnp.float32(0.6), jnp.float32(0.55)
    alphas = [float(process.levels(v)[0]) ** 2 for v in (t, s)]
    beta = 1 - alphas[0] / alphas[1]
    mean = (
        np.sqrt(alphas[1]) * beta / (1 - alphas[0]) * image
        + np.sqrt(1 - beta) * (1 - alphas[1]) / (1 - alphas[0]) * x
    )
    deviation = np.sqrt(beta * (1 - alphas[1]) / (1 - alphas[0]))
    found = ddim_step(process, lambda x, t: jnp.asarray(image), x, t, s, 1.0, z)
    np.testing.assert_allclose(found, mean + deviation * z, rtol=1e-3, atol=1e-4)


def test_neither_count_nor_chunk_changes_a_draw(gaussian):
    process = edm(highest=20.0)
    draw = diffusion_sampler(
        gaussian.network(process), gaussian.shape, process=process, steps=4, method="ancestral"
    )
    whole = draw_images(draw, KEY, {}, {}, 7, chunk=7)
    np.testing.assert_allclose(draw_images(draw, KEY, {}, {}, 5, chunk=2), whole[:5], rtol=1e-5)
    again = draw_images(draw, jax.random.key(8), {}, {}, 7)
    assert np.abs(again - whole).max() > 0.1


def test_guidance_weighs_the_condition(gaussian):
    process, labels = edm(highest=20.0), np.array([0, 1, 2, 1])
    options = {"classes": 3, "steps": 12, "method": "ddim", "bias": 0.5}

    def draws(guidance, condition, **more):
        return drawn(gaussian, process, 4, condition=condition, guidance=guidance, **options,
                     **more)  # fmt: skip

    label = {"label": jnp.asarray(labels)}
    one, none, two = draws(1.0, label), draws(0.0, None), draws(2.0, label)
    without = drawn(gaussian, process, 4, steps=12, method="ddim")
    np.testing.assert_allclose(none, without, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(draws(0.0, label), without, rtol=1e-4, atol=1e-4)
    # The denoiser is linear, its bias too, so that an image moves by the weight of the guidance.
    np.testing.assert_allclose(two - none, 2 * (one - none), rtol=1e-3, atol=2e-3)
    assert (np.abs(one - none).max(1) > 0.3 * (labels + 1)).all()
    np.testing.assert_allclose(draws(2.0, None, optional=True), without, rtol=1e-4, atol=1e-4)


def test_bounds_hold_at_the_end(gaussian):
    process = flow()
    clipped = drawn(gaussian, process, steps=5, method="ddim", clip=(-0.5, 0.4))
    assert clipped.min() == pytest.approx(-0.5)
    assert clipped.max() == pytest.approx(0.4)
    threshold = drawn(gaussian, process, steps=5, method="ddim", quantile=0.75)
    assert np.abs(threshold).max() <= 1.0
    plain = drawn(gaussian, process, steps=5, method="ddim")
    assert np.abs(plain).max() > 1.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "rk4"}, "method is one of"),
        ({"method": "heun", "eta": 0.5}, "eta, from 0 to 1"),
        ({"method": "ddim", "eta": 1.5}, "eta, from 0 to 1"),
        ({"method": "ancestral", "churn": 3.0}, "churn, at least 0"),
        ({"process": flow(), "churn": 3.0}, "churn, at least 0"),
        ({"guidance": 2.0}, "there is none"),
        ({"steps": 0}, "at least one step"),
        ({"clip": (1, -1)}, "a lower and a higher bound"),
        ({"quantile": 1.0}, r"quantile is in \(0, 1\)"),
    ],
)
def test_what_is_wrong_is_said(options, said, gaussian):
    options = {"process": edm(), **options}
    with pytest.raises(ValueError, match=said):
        jax.eval_shape(
            lambda: diffusion_sampler(
                gaussian.network(options["process"]), gaussian.shape, **options
            )(KEY, {}, {}, 2)
        )
