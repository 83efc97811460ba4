"""Occlusion: the score lost by covering each place."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Network, PyTree
from jaxmed.explain._images import Baseline, absent, each_axis, one_image, per_channel
from jaxmed.explain._passes import sum_over
from jaxmed.explain._target import Target, score, scores, settled


def occlusion(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    window: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    baseline: Baseline = 0.0,
    chunk: int = 8,
) -> Array:
    """By how much the score falls where a window is covered, averaged over the windows of a voxel.

    Args:
        key: not used; part of the common signature.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        window: edge of the window in voxels, one or one an axis.
        stride: voxels between windows, by default half a window; the last window ends with the
            image, so that every voxel is covered.
        baseline: what covers: a number, one a channel, an image, or one a case.
        chunk: how many windows are computed at once; bounds the memory and changes no result but
            by rounding.

    Returns:
        A signed map in the inputs' shape, each channel an equal share.

    Raises:
        ValueError: if a window is larger than the image, or the stride larger than the window.

    References:
        Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, ECCV.
    """
    del key
    images = one_image(inputs, "occlusion")
    cover, spatial = absent(baseline, images), images.shape[1:-1]
    size = each_axis(window, spatial, "window")
    halves = tuple(max(1, n // 2) for n in size)
    step = halves if stride is None else each_axis(stride, spatial, "stride")
    if any(s > n for s, n in zip(step, size, strict=True)):
        raise ValueError(f"a stride of {step} leaves voxels between windows of {size} uncovered")
    axes = [
        sorted({*range(0, n - w + 1, s), n - w})
        for n, w, s in zip(spatial, size, step, strict=True)
    ]
    corners = jnp.asarray(np.array(list(itertools.product(*axes)), np.int32))
    target = settled(network, params, state, images, target)
    before = score(network, params, state, images, target)

    def part(numbers, weights):
        masks = _windows(corners[numbers], size, spatial)
        shown = jnp.where(masks[:, None, ..., None], cover, images)
        lost = before - scores(network, params, state, shown, target)
        return jnp.tensordot((weights[:, None] * lost).T, masks.astype(lost.dtype), 1)

    total = sum_over(part, len(corners), chunk)
    often = np.zeros(spatial, np.float32)
    for corner in itertools.product(*axes):
        often[tuple(slice(c, c + w) for c, w in zip(corner, size, strict=True))] += 1
    return per_channel(total / often, images)


def _windows(corners: Array, size: tuple[int, ...], spatial: tuple[int, ...]) -> Array:
    """Masks ``(windows, *spatial)``."""
    inside = jnp.ones((len(corners), *(1,) * len(spatial)), bool)
    for axis, (n, w) in enumerate(zip(spatial, size, strict=True)):
        at = jnp.arange(n) - corners[:, axis, None]
        shape = [len(corners), *(n if i == axis else 1 for i in range(len(spatial)))]
        inside = inside & ((at >= 0) & (at < w)).reshape(shape)
    return inside
