"""Inpainting and super-resolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_diffusion import PROCESSES, Gaussian

from jaxmed.generative import (
    coarse_map,
    draw_images,
    edm,
    fine_grid,
    inpainting_sampler,
)

KEY = jax.random.key(4)


@pytest.mark.parametrize("name", ["ddpm, velocity", "flow"])
def test_what_is_missing_is_drawn_by_what_is_known(name):
    """Given two of four pixels, the others have the conditional mean and covariance, nearly.

    The method is approximate: correlations that are finer than the noise come late. These are not.
    """
    gaussian, process, n = Gaussian((0.5, 0.8, 1.2, 2.0)), PROCESSES[name], 1000
    known, missing = [0, 2], [1, 3]
    c, m = gaussian.covariance, gaussian.mean
    values = m[known] + np.array([2.0, -1.5])
    gain = c[np.ix_(missing, known)] @ np.linalg.inv(c[np.ix_(known, known)])
    shift = gain @ (values - m[known])
    covariance = c[np.ix_(missing, missing)] - gain @ c[np.ix_(known, missing)]
    image = np.full(4, np.nan, np.float32)
    image[known] = values
    where = np.isfinite(image).reshape(2, 2, 1)
    draw = inpainting_sampler(
        gaussian.network(process), gaussian.shape, process=process, steps=31, rounds=8
    )
    condition = {
        "known": np.broadcast_to(image.reshape(gaussian.shape), (n, *gaussian.shape)),
        "where": np.broadcast_to(where, (n, 2, 2, 1)),
    }
    drawn = draw_images(draw, KEY, {}, {}, n, chunk=n, condition=condition).reshape(n, 4)
    np.testing.assert_array_equal(drawn[:, known], np.tile(image[known], (n, 1)))
    deviation = np.sqrt(np.diag(covariance))
    assert np.abs(shift / deviation).max() > 0.4
    error = (drawn[:, missing].mean(0) - m[missing] - shift) / deviation
    assert (np.abs(error) < 0.2).all(), error
    found = np.cov(drawn[:, missing].T)
    assert (np.abs(found - covariance) / np.outer(deviation, deviation) < 0.25).all()


def test_what_is_wrong_is_said(gaussian):
    process = edm()
    make = lambda **options: inpainting_sampler(  # noqa: E731
        gaussian.network(process), gaussian.shape, process=process, **options
    )
    for options, said in (
        ({"rounds": 0}, "rounds is a whole number"),
        ({"jump": 0}, "jump is a whole number"),
        ({"eta": 2.0}, "eta is from 0 to 1"),
        ({"guidance": 2.0}, "there is none"),
    ):
        with pytest.raises(ValueError, match=said):
            make(**options)
    known, where = np.zeros((2, 2, 2, 1)), np.ones((2, 2, 2, 1))
    for condition, said in (
        ({"known": known}, "draws by a condition 'where'"),
        ({"known": known, "where": where[..., 0]}, r"condition\['where'\] is"),
        ({"known": known[:, :1], "where": where}, r"condition\['known'\] is"),
    ):
        with pytest.raises(ValueError, match=said):
            draw_images(make(), KEY, {}, {}, 2, condition=condition)


@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6)])
def test_a_coarse_map_has_the_means_of_its_voxels(shape):
    images = np.random.default_rng(0).normal(size=(2, *shape, 1)).astype(np.float32)
    seen = coarse_map(2)(KEY, {"image": images})
    assert seen["map"].shape == images.shape
    blocks = images.reshape(2, *(m for n in shape for m in (n // 2, 2)), 1)
    means = blocks.mean(tuple(range(2, 2 + 2 * len(shape), 2)))
    np.testing.assert_allclose(seen["map"], fine_grid(means, 2), rtol=1e-5, atol=1e-6)
    flat = coarse_map((1,) * (len(shape) - 1) + (3,))(KEY, {"image": jnp.ones((1, *shape, 2))})
    np.testing.assert_allclose(flat["map"], 1, rtol=1e-6)
    with pytest.raises(ValueError, match="does not divide"):
        coarse_map(5)(KEY, {"image": images})
