"""Weighted mean over overlapping windows, accumulated on the host or on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def mean_on_host(
    predict: Callable[[Any], Any],
    image: np.ndarray,
    starts: np.ndarray,
    weight: np.ndarray,
    size: int,
) -> np.ndarray:
    """Average over windows, each copied to ``predict`` and back.

    Args:
        predict: (size, *window, channels) -> (size, *window, classes).
        image: (*spatial, channels).
        starts: (windows, ndim) the windows' first voxels.
        weight: (*window, 1) weight of each voxel of a window.
        size: windows predicted at once.

    Returns:
        (*spatial, classes) float32.
    """
    window = weight.shape[:-1]
    total = norm = np.zeros(0, np.float32)
    for some, count in _batches(starts, size):
        places = [
            tuple(slice(a, a + w) for a, w in zip(start, window, strict=True)) for start in some
        ]
        batch = np.stack([image[place] for place in places])
        found = np.asarray(predict(batch))
        _check(found, batch)
        if not total.size:
            total = np.zeros((*image.shape[:-1], found.shape[-1]), np.float32)
            norm = np.zeros((*image.shape[:-1], 1), np.float32)
        for place, one in zip(places[:count], found, strict=False):
            total[place] += weight * one
            norm[place] += weight
    return total / norm


def mean_on_device(
    predict: Callable[[Any], Any],
    image: np.ndarray,
    starts: np.ndarray,
    weight: np.ndarray,
    size: int,
) -> np.ndarray:
    """Average as :func:`mean_on_host`, with the image and the sums on JAX's default device."""
    pixels, weights = jnp.asarray(image), jnp.asarray(weight)
    total = norm = jnp.zeros(0)
    for some, count in _batches(starts, size):
        batch = _windows(pixels, some, weights.shape[:-1])
        found = jnp.asarray(predict(batch))
        _check(found, batch)
        if not total.size:
            total = jnp.zeros((*image.shape[:-1], found.shape[-1]), jnp.float32)
            norm = jnp.zeros((*image.shape[:-1], 1), jnp.float32)
        total, norm = _add(total, norm, found, weights, some, count)
    return np.asarray(total / norm)


def _batches(starts: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield windows in groups of ``size``, and the number of valid ones.

    The last group is padded, so that one compiled program suffices.
    """
    for first in range(0, len(starts), size):
        some = starts[first : first + size]
        filled = np.concatenate([some, np.repeat(some[:1], size - len(some), axis=0)])
        yield filled, len(some)


def _check(found: Any, batch: Any) -> None:
    if found.shape[:-1] != batch.shape[:-1]:
        raise ValueError(
            f"predict must map (batch, *window, channels) {batch.shape} to the same voxels, "
            f"got {found.shape}"
        )


@partial(jax.jit, static_argnames="window")
def _windows(image: jax.Array, starts: jax.Array, window: tuple[int, ...]) -> jax.Array:
    sizes = (*window, image.shape[-1])
    return jax.vmap(lambda start: jax.lax.dynamic_slice(image, (*start, 0), sizes))(starts)


@partial(jax.jit, donate_argnames=("total", "norm"))
def _add(
    total: jax.Array,
    norm: jax.Array,
    found: jax.Array,
    weight: jax.Array,
    starts: jax.Array,
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """Add the first ``count`` windows one by one, since they may overlap."""

    def add_at(sums: jax.Array, start: jax.Array, values: jax.Array) -> jax.Array:
        at = (*start, 0)
        old = jax.lax.dynamic_slice(sums, at, values.shape)
        return jax.lax.dynamic_update_slice(sums, old + values, at)

    def one(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return (
            add_at(sums[0], starts[i], weight * found[i].astype(jnp.float32)),
            add_at(sums[1], starts[i], weight),
        )

    return jax.lax.fori_loop(0, count, one, (total, norm))
