"""Where k-means begins: k-means++ and plain draws."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, stream
from jaxmed.unsupervised._distances import squared_distances

_BLOCK = 512


def plus_plus(key: Key, x: Array, weight: Array, k: int) -> Array:
    """Draw k rows far from each other: greedy k-means++.

    A round draws ``2 + log(k)`` rows, each with probability by its squared distance from those
    drawn before, and keeps the one that leaves the least sum of distances.

    Args:
        key: random key.
        x: (n, d), centred.
        weight: (n,), not negative; a row of weight 0 is never drawn.
        k: how many.

    Returns:
        (k, d). Where fewer than k rows differ, some are drawn twice.

    References:
        Arthur and Vassilvitskii (2007), k-means++: the advantages of careful seeding, SODA.
    """
    tries = 2 + int(math.log(k))
    uniform = jax.random.uniform(stream(key, "k-means++"), (k, tries), x.dtype)
    first = x[_drawn(weight, uniform[0, :1])]
    centres = jnp.zeros((k, x.shape[1]), x.dtype).at[:1].set(first)

    def add(i, carried):
        centres, least = carried
        mass = weight * least
        rows = x[_drawn(jnp.where(mass.any(), mass, weight), uniform[i])]
        # (tries, n): reductions over the long axis.
        left = jnp.minimum(least, squared_distances(rows, x))
        best = (left @ weight).argmin()
        return centres.at[i].set(rows[best]), left[best]

    return jax.lax.fori_loop(1, k, add, (centres, squared_distances(first, x)[0]))[0]


def plain(key: Key, x: Array, weight: Array, k: int) -> Array:
    """Draw k different rows by their weights."""
    noise = jax.random.gumbel(stream(key, "plain"), weight.shape, x.dtype)
    return x[jax.lax.top_k(jnp.log(weight) + noise, k)[1]]


def _drawn(mass: Array, uniform: Array) -> Array:
    """The indices (m,) drawn from unnormalised probabilities by uniform numbers (m,).

    First a block, then a place in it: XLA sums cumulatively in many passes, here over few numbers.
    """
    blocks = jnp.pad(mass, (0, -mass.shape[0] % _BLOCK)).reshape(-1, _BLOCK)
    ends = jnp.cumsum(blocks.sum(1))

    def one(uniform):
        target = uniform * ends[-1]
        block = _first_above(ends, target)
        before = jnp.where(block > 0, ends[jnp.maximum(block - 1, 0)], 0)
        return block * _BLOCK + _first_above(jnp.cumsum(blocks[block]), target - before)

    return jax.vmap(one)(uniform)


def _first_above(ends: Array, target: Array) -> Array:
    """The first index whose cumulative sum is above the target; rounding may not pass the last."""
    last = jnp.searchsorted(ends, ends[-1], side="left")  # the last of positive mass
    return jnp.minimum(jnp.searchsorted(ends, target, side="right"), last)
