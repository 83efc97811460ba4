"""The nearest other rows of each row."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxmed.core import Array
from jaxmed.unsupervised._distances import block_rows, in_blocks, squared_distances
from jaxmed.unsupervised._rows import centred


def nearest_rows(x: NDArray, k: int) -> tuple[NDArray[np.int32], NDArray]:
    """The k nearest other rows of each (n, k), nearest first, and their squared distances."""
    points = jnp.asarray(centred(x, np.ones(len(x)))[0])
    place, squared = nearest_others(points, k=k, block=block_rows(len(x)))
    return np.asarray(place), np.asarray(squared)


def to_others(points: Array, here: Array, x: Array) -> Array:
    """Squared distances of the rows ``points``, which stand at ``here``, to all others of ``x``."""
    squared = squared_distances(points, x)
    return jnp.where(here[:, None] == jnp.arange(len(x)), jnp.inf, squared)


@partial(jax.jit, static_argnames=("k", "block"))
def nearest_others(x: Array, *, k: int, block: int) -> tuple[Array, Array]:
    """As :func:`nearest_rows`, of centred rows, ``block`` rows at a time."""
    n = len(x)

    def of_block(some):
        points, here = some
        squared = to_others(points, here, x)
        negative, place = jax.lax.top_k(-squared, k)  # the first of equal ones first
        return place, -negative

    place, squared = jax.lax.map(of_block, (in_blocks(x, block), in_blocks(jnp.arange(n), block)))
    return place.reshape(-1, k)[:n], squared.reshape(-1, k)[:n]
