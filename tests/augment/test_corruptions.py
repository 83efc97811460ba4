"""Corruptions: each does more to an image the stronger it is; motion is that of k-space."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.augment import CORRUPTIONS, corruption, motion

KEY = jax.random.key(0)


def drawn(size=32, rank=2):
    """Discs on a grey ground."""
    grid = np.stack(np.meshgrid(*[np.arange(size)] * rank, indexing="ij"), -1)
    image = np.full((size,) * rank, 0.2, np.float32)
    for centre, radius in ((0.3, 0.1), (0.6, 0.2)):
        image[((grid - centre * size) ** 2).sum(-1) < (radius * size) ** 2] = 1
    return jnp.asarray(np.stack([image] * 8)[..., None])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("noise", "motion") else pytest.mark.slow)
        for name in CORRUPTIONS
    ],
)
def test_the_stronger_the_farther_from_the_image(name):
    image = drawn()
    gaps = [
        float(jnp.abs(corruption(name, s, size=64)(KEY, {"image": image})["image"] - image).mean())
        for s in range(1, 6)
    ]
    assert gaps[0] > 0
    # Sampling at other places may chance to fit an edge: what holds is the rise as a whole.
    assert gaps[4] > 1.5 * gaps[0]
    assert all(later > 0.8 * earlier for earlier, later in itertools.pairwise(gaps))


def test_lengths_are_those_of_the_image():
    small, large = drawn(64), drawn(128)
    for name in ("blur", "motion"):
        gaps = [
            float(jnp.abs(corruption(name, 3, size=n)(KEY, {"image": x})["image"] - x).mean())
            for n, x in ((64, small), (128, large))
        ]
        assert gaps[0] == pytest.approx(gaps[1], rel=0.4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_motion_keeps_an_image_that_does_not_move_and_brightens_one_that_does_little(rank):
    image = drawn(16, rank)
    still = motion((0.0, 0.0), axis=-1)(KEY, {"image": image})["image"]
    np.testing.assert_allclose(still, image, atol=1e-5)
    moved = motion((1.0, 1.0), axis=-1)(KEY, {"image": image})["image"]
    assert float(jnp.abs(moved - image).max()) > 0.02
    # The line with the mean is read in place, and an absolute value is no less.
    gain = moved.mean(tuple(range(1, rank + 1))) - image.mean()
    assert bool((gain > -1e-5).all() & (gain < 0.25 * image.mean()).all())
    assert float(jnp.abs(moved[0] - moved[1]).max()) > 1e-3  # each example moves by itself


def test_motion_along_one_line_of_k_space_is_a_ghost_along_the_phase_encoding():
    """Rows of the image that hold nothing get something; columns do where columns are encoded."""
    image = jnp.zeros((4, 32, 32, 1)).at[:, 14:18, 14:18].set(1.0)
    for axis in (0, 1):
        moved = motion((2.0, 2.0), axis=axis)(KEY, {"image": image})["image"][..., 0]
        along = jnp.abs(moved).sum((0, 2 - axis))  # what is spread along the axis
        across = jnp.abs(moved).sum((0, 1 + axis))
        far = np.r_[0:8, 24:32]
        assert float(along[far].sum()) > 2 * float(across[far].sum())


def test_what_there_is_not_is_said():
    with pytest.raises(ValueError, match=r"corruptions are noise, .*got 'fog'"):
        corruption("fog", 1)
    for strength in (0, 6, 2.5, True):
        with pytest.raises(ValueError, match="strengths 1 to 5"):
            corruption("noise", strength)
    with pytest.raises(ValueError, match="size is a side"):
        corruption("noise", 1, size=0)
    with pytest.raises(ValueError, match="segments >= 2"):
        motion(segments=1)
    with pytest.raises(ValueError, match="axis 2 is none"):
        motion(axis=2)(KEY, {"image": drawn()})
