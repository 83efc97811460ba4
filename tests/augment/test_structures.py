"""Augmentation of images with an earlier network's structures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.augment import brightness, chain, flip, noise, with_structures

IMAGE = jax.random.normal(jax.random.key(0), (3, 12, 12, 1))


def squares(count=3):
    """Two squares that do not touch, a channel each."""
    found = np.zeros((count, 12, 12, 2), np.float32)
    found[:, 2:6, 2:6, 0] = 1
    found[:, 7:11, 7:11, 1] = 1
    return jnp.asarray(found)


def batch():
    image = jnp.concatenate([IMAGE, squares()], axis=-1)
    return {"image": image, "mask": (squares() * jnp.array([1, 2])).sum(-1).astype(jnp.int32)}


def test_structures_move_with_the_mask_and_keep_no_shade():
    steps = chain(flip(), brightness(0.5), noise((0.1, 0.2)))
    found = with_structures(steps, 2, p_rough=0, p_lost=0)(jax.random.key(1), batch())
    assert set(found) == {"image", "mask"}
    channels = np.asarray(found["image"][..., 1:])
    np.testing.assert_array_equal((channels * [1, 2]).sum(-1), found["mask"])
    assert not np.allclose(found["image"][..., :1], IMAGE)


def test_structures_grow_shrink_and_are_lost_each_for_itself():
    view = with_structures(chain(flip(p=0.0)), 2, p_rough=1, p_lost=0)
    sizes = set()
    for seed in range(8):
        channels = np.asarray(view(jax.random.key(seed), batch())["image"][..., 1:])
        for square, low in ((channels[..., 0], 2), (channels[..., 1], 7)):
            for one in square:
                side = round(float(one.sum()) ** 0.5)
                if side:
                    clipped = np.clip([low - (side - 4) // 2, low + 4 + (side - 4) // 2], 0, 12)
                    inside = one[clipped[0] : clipped[1], clipped[0] : clipped[1]]
                    assert inside.all() or side > 6
                sizes.add(side)
    assert {0, 2, 6} <= sizes
    lost = with_structures(chain(flip(p=0.0)), 2, p_rough=0, p_lost=1)
    kept = np.asarray(lost(jax.random.key(0), batch())["image"][..., 1:])
    assert (kept <= np.asarray(squares())).all()
    assert kept.sum() < np.asarray(squares()).sum()


def test_more_structures_than_channels_are_refused():
    with pytest.raises(ValueError, match="cannot be structures"):
        with_structures(chain(flip()), 3)(jax.random.key(0), batch())
    with pytest.raises(ValueError, match="at least 1"):
        with_structures(chain(flip()), 0)
