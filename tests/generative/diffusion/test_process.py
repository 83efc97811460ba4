"""Processes: their schedules as published, what is predicted, and that all say the same."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.generative import ddpm, edm, flow
from jaxmed.generative.diffusion._denoise import image_of

PREDICTS = ("noise", "image", "velocity", "flow", "residual")
PATHS = {"linear": ddpm("linear"), "cosine": ddpm(), "karras": edm(), "straight": flow()}


def test_the_linear_schedule_is_the_limit_of_the_published_steps():
    betas = np.linspace(1e-4, 0.02, 1000)
    discrete = np.sqrt(np.cumprod(1 - betas))
    a, b = ddpm("linear").levels(jnp.asarray((np.arange(1000) + 1) / 1000, jnp.float32))
    np.testing.assert_allclose(a, discrete, rtol=0.04)
    np.testing.assert_allclose(a**2 + b**2, 1, rtol=1e-5)


def test_the_cosine_schedule_is_the_published_one():
    t = np.linspace(0, 0.99, 50)
    f = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2  # noqa: E731
    a, b = ddpm("cosine").levels(jnp.asarray(t, jnp.float32))
    np.testing.assert_allclose(a**2, f(t) / f(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(b**2, 1 - f(t) / f(0), rtol=1e-4, atol=1e-6)


def test_edm_is_karras_table_1():
    process, sigma = edm(data=0.5), np.geomspace(0.002, 80, 9).astype(np.float32)
    skip, gain = process.parts(jnp.asarray(sigma))
    np.testing.assert_allclose(skip, 0.25 / (sigma**2 + 0.25), rtol=1e-5)
    np.testing.assert_allclose(gain, sigma * 0.5 / np.sqrt(0.25 + sigma**2), rtol=1e-5)
    np.testing.assert_allclose(process.input_scale(sigma), (sigma**2 + 0.25) ** -0.5, rtol=1e-5)
    np.testing.assert_allclose(process.told_time(sigma), np.log(sigma) / 4, rtol=1e-5)
    # In units of the image's error: (sigma^2 + data^2) / (sigma data)^2.
    np.testing.assert_allclose(gain**-2.0, (sigma**2 + 0.25) / (0.5 * sigma) ** 2, rtol=1e-5)
    i = np.arange(18)
    grid = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(process.sampling_times(18), [*grid, 0], rtol=1e-5)


@pytest.mark.parametrize(("path", "predicts"), [*itertools.product(PATHS, PREDICTS)])
def test_what_is_predicted_gives_back_the_image(path, predicts):
    process = PATHS[path]._replace(predicts=predicts, data=0.7)
    rng = np.random.default_rng(1)
    images, noise = rng.normal(size=(2, 6, 3, 1)).astype(np.float32)
    t = jnp.asarray(np.linspace(0.1, 0.9, 6) * process.last, jnp.float32)

    @jax.jit
    def back(images, noise):
        x = process.noisy(images, noise, t)
        return image_of(process, x, process.target(images, noise, t), t)

    np.testing.assert_allclose(back(images, noise), images, rtol=2e-3, atol=2e-3)


def test_velocity_is_the_residual_of_unit_images_turned_round():
    """Where signal and noise have a squared sum of 1, up to the sign."""
    t = jnp.linspace(0.1, 0.9, 5)
    images, noise = np.random.default_rng(2).normal(size=(2, 5, 4)).astype(np.float32)
    velocity = ddpm("linear", predicts="velocity").target(images, noise, t)
    residual = ddpm("linear", predicts="residual").target(images, noise, t)
    np.testing.assert_allclose(residual, -velocity, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_slopes_are_derivatives_and_paths_begin_at_the_image(path):
    process = PATHS[path]
    t = jnp.asarray([0.3, 0.6]) * process.last
    a, b = process.levels(jnp.float32(0))
    assert float(a) == pytest.approx(1, abs=1e-6)
    assert float(b) == pytest.approx(0, abs=1e-6)
    h = 1e-2 * process.last
    (a0, b0), (a1, b1) = process.levels(t - h), process.levels(t + h)
    da, db = process.slopes(t)
    np.testing.assert_allclose(da, (a1 - a0) / (2 * h), rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(db, (b1 - b0) / (2 * h), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("path", PATHS)
def test_times_of_sampling_fall_to_zero(path):
    process = PATHS[path]
    times = process.sampling_times(7)
    assert len(times) == 8
    assert times[0] == np.float32(process.last)
    assert times[-1] == 0
    assert (np.diff(times) < 0).all()
    assert process.sampling_times(1).tolist() == [np.float32(process.last), 0]


def test_times_of_training_have_their_distribution():
    u = (np.arange(1000) + 0.5) / 1000
    log = np.log(edm(spread=(-1.2, 1.2)).training_times(u))
    assert log.mean() == pytest.approx(-1.2, abs=1e-3)
    assert log.std() == pytest.approx(1.2, abs=0.01)
    t = np.asarray(flow(spread=(0.5, 1.0)).training_times(u))
    logit = np.log(t / (1 - t))
    assert np.median(logit) == pytest.approx(0.5, abs=1e-2)
    assert np.isfinite(edm().training_times(jnp.array([0.0, 1.0]))).all()
    uniform = np.asarray(flow(times="uniform").training_times(u))
    np.testing.assert_allclose(uniform, 1e-3 + 0.999 * u, rtol=1e-5)


def test_min_snr_cuts_the_weight_of_little_noise():
    t = jnp.linspace(0.01, 0.99, 9)
    for predicts in ("noise", "velocity", "image"):
        process = ddpm("cosine", predicts=predicts, weight="min-snr")
        a, b = process.levels(t)
        snr = (a / b) ** 2
        cut = jnp.minimum(snr, 5)
        expected = {"noise": cut / snr, "velocity": cut / (snr + 1), "image": cut}[predicts]
        np.testing.assert_allclose(process.loss_weight(t), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ddpm("squared"), "schedule is one of 'linear', 'cosine'"),
        (lambda: ddpm(predicts="score"), "predicts is one of"),
        (lambda: ddpm(weight="snr"), "weight is one of"),
        (lambda: edm(lowest=2, highest=1), "0 < lowest < highest"),
        (lambda: edm(data=0), "0 < lowest < highest"),
        (lambda: flow(times="even"), "times is one of"),
        (lambda: flow(spread=(0, 0)), "standard deviation is positive"),
        (lambda: flow().sampling_times(0), "at least one step"),
    ],
)
def test_what_is_wrong_is_said(make, said):
    with pytest.raises(ValueError, match=said):
        make()
