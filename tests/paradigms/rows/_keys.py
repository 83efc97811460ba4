"""Random keys that compile fast."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl


def _mixed(x):
    """The last steps of MurmurHash3: each bit of a word depends on all."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _streams(key, shape):
    """A word for each place of ``shape``."""
    place = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _mixed(key[0] + jnp.uint32(0x9E3779B9) * (place + jnp.uint32(1)))


def _word(x):
    return jnp.asarray(x).astype(jnp.uint32)


# Threefry is half of what a tiny program compiles: loops within loops, for every key that is
# derived. Where a computation's structure and its laws are tested, a plain hash draws as well.
QUICK = define_prng_impl(
    key_shape=(1,),
    seed=lambda seed: _mixed(_word(seed) + jnp.uint32(1)).reshape(1),
    split=lambda key, shape: _streams(key, shape)[..., None],
    random_bits=lambda key, width, shape: _mixed(_streams(key, shape)).astype(f"uint{width}"),
    fold_in=lambda key, data: _mixed(key * jnp.uint32(31) + _word(data)),
    name="quick",
)


def quick_key(seed: int = 0) -> jax.Array:
    """A key as `jax.random.key` makes it; all that is derived from it is quick too."""
    return jax.random.key(seed, impl=QUICK)
