"""Squared distances by products of matrices, and the nearest of few points."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array

# A block of distances that stays in a core's cache; an accelerator wants fewer and larger ones.
_CACHED, _LARGE = 2**18, 2**26


def block_rows(columns: int) -> int:
    """How many rows of distances to ``columns`` points are computed at a time."""
    entries = _CACHED if jax.default_backend() == "cpu" else _LARGE
    return max(32, entries // max(columns, 1))


def squared_distances(a: Array, b: Array) -> Array:
    """``|a|^2 + |b|^2 - 2ab`` of rows (n, d) and (m, d): (n, m), not below 0.

    Right to rounding of ``|a|^2 + |b|^2``: centre the rows first.
    """
    # On a GPU the default precision rounds products to ten bits, which changes who is nearest.
    product = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * product, 0)


def nearest(x: Array, centres: Array) -> tuple[Array, Array]:
    """The index of each row's nearest centre, the lowest of equal ones, and its squared distance.

    Args:
        x: (n, d).
        centres: (k, d).

    Returns:
        int32 (n,) and (n,). A row with NaN has the index k.
    """
    product = jnp.matmul(centres, x.T, precision=jax.lax.Precision.HIGHEST)
    score = (centres**2).sum(1)[:, None] - 2 * product
    # (k, n), and two reductions of one number in place of XLA's argmin, a loop over pairs on a CPU:
    # both run along n, as vectors.
    least = score.min(0)
    k = centres.shape[0]
    place = jnp.where(score <= least, jnp.arange(k, dtype=jnp.int32)[:, None], k).min(0)
    return place, jnp.maximum(least + (x**2).sum(1), 0)


def in_blocks(x: Array, size: int) -> Array:
    """Rows (n, ...) as (blocks, size, ...), filled up behind with zeros."""
    size = min(size, x.shape[0])
    padding = [(0, -x.shape[0] % size)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding).reshape(-1, size, *x.shape[1:])


def sums_by_label(x: Array, labels: Array, k: int) -> Array:
    """The sum (k, ...) of the rows (n, ...) of each label; labels outside 0..k-1 are left out."""

    def scattered(x, labels):
        return jax.ops.segment_sum(x, labels, k)

    def by_product(x, labels):
        # Zeros behind the last row add nothing, whichever label they are given.
        size = max(1, _LARGE // k)

        def add(total, block):
            chosen = jax.nn.one_hot(block[1], k, dtype=x.dtype)
            product = jnp.tensordot(chosen, block[0], (0, 0), precision=jax.lax.Precision.HIGHEST)
            return total + product, None

        start = jnp.zeros((k, *x.shape[1:]), x.dtype)
        return jax.lax.scan(add, start, (in_blocks(x, size), in_blocks(labels, size)))[0]

    return jax.lax.platform_dependent(x, labels, cpu=scattered, default=by_product)
