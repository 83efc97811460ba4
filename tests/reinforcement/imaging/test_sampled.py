"""Reading between voxels is as exact in the last of many images as in the first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.reinforcement.imaging._sampled import sampler


def test_the_last_of_many_images_is_read_as_exactly_as_the_first():
    image = np.random.default_rng(0).normal(size=(3, 3, 1)).astype(np.float32)
    n = 200_000
    sample = sampler([image] * n, 0.0)
    at = jnp.array([[0.3, 1.7], [2.0, 2.0], [-0.25, 1.0], [1.5, 2.9], [-4.0, 9.0]])
    first, last = jax.jit(lambda: (sample(0, at), sample(n - 1, at)))()
    np.testing.assert_array_equal(first, last)
    assert first[1] == image[2, 2]
    np.testing.assert_allclose(first[2], 0.75 * image[0, 1], rtol=1e-6)
    assert first[4] == 0
    assert np.isnan(sample(n, at)).all()
    assert np.isnan(sample(-1, at)).all()
    with pytest.raises(ValueError, match="outside"):
        sampler([image], np.nan)
