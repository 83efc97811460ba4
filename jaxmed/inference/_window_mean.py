"""Weighted mean over overlapping windows, accumulated on the host or on the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.inference._window_sums import WindowSums


def mean_on_host(
    predict: Callable[[Any], Any],
    read: Callable[[np.ndarray], np.ndarray],
    shape: Sequence[int],
    starts: np.ndarray,
    weight: np.ndarray,
    size: int,
) -> Iterator[tuple[tuple[tuple[int, int], ...], np.ndarray]]:
    """Average over windows, each copied to ``predict`` and back, block by block.

    Args:
        predict: (size, *window, channels) -> (size, *window, classes).
        read: from a window's first voxel (ndim,) to its voxels (*window, channels).
        shape: the spatial shape that the windows cover.
        starts: (windows, ndim) the windows' first voxels, the last axis varying fastest.
        weight: (*window, 1) weight of each voxel of a window.
        size: windows predicted at once.

    Yields:
        Each block as soon as no further window touches it: its ``(begin, end)`` along the first
        one or two axes, and its mean (*block, classes) float32.
    """
    with contextlib.closing(WindowSums(starts, weight.shape[:-1], shape)) as sums:
        for first, (some, count) in enumerate(_batches(starts, size)):
            batch = np.stack([read(start) for start in some])
            found = np.asarray(predict(batch))
            _check(found, batch)
            for start, one in zip(some[:count], found, strict=False):
                sums.add(start, one, weight)
            done = first * size + count
            yield from sums.finished(starts[done] if done < len(starts) else None)


def mean_on_device(
    predict: Callable[[Any], Any],
    image: np.ndarray,
    starts: np.ndarray,
    weight: np.ndarray,
    size: int,
) -> np.ndarray:
    """Average over windows, with the image and the sums on JAX's default device.

    Args:
        predict: as for :func:`mean_on_host`.
        image: (*spatial, channels).
        starts: as for :func:`mean_on_host`.
        weight: likewise.
        size: likewise.

    Returns:
        (*spatial, classes) float32.
    """
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
