"""RISE: the score of an image seen through random masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.explain._images import Baseline, absent, one_image, per_channel
from jaxmed.explain._passes import check_count, sum_over
from jaxmed.explain._target import Target, scores, settled


def rise(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    samples: int = 1000,
    cells: int | tuple[int, ...] = 7,
    keep: float = 0.5,
    baseline: Baseline = 0.0,
    chunk: int = 16,
) -> Array:
    r"""Covariance of the score with whether each voxel is shown, over random smooth masks.

    .. math:: \frac{1}{N p (1 - p)} \sum_m (f(x_m) - \bar f)\, m

    The paper's map is the mean of :math:`f(x_m) m / p`; with the mean score subtracted the map has
    a sign, and no trace of how often each voxel happened to be shown.

    Args:
        key: random key of the masks, the same for all cases of a batch.
        network: any network; it is only asked, never differentiated.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints; probabilities, as in the
            paper, are ``class_score(label, of="probability")``.
        samples: number of masks.
        cells: of the coarse grid of a mask along each axis, before it is enlarged and shifted.
        keep: the share p of the cells that are shown.
        baseline: what is seen elsewhere.
        chunk: how many are computed at once; bounds the memory and changes no result but by
            rounding.

    Returns:
        A signed map in the inputs' shape, each channel an equal share.

    Raises:
        ValueError: if ``keep`` is not between 0 and 1, or a number is not positive.

    References:
        Petsiuk et al. (2018), RISE: randomized input sampling for explanation of black-box models,
        BMVC.
    """
    images = one_image(inputs, "rise")
    cover, spatial = absent(baseline, images), images.shape[1:-1]
    if not 0 < keep < 1:
        raise ValueError(f"keep is a share between 0 and 1, got {keep}")
    grid = (cells,) * len(spatial) if isinstance(cells, int) else tuple(cells)
    if len(grid) != len(spatial) or min(grid) < 1:
        raise ValueError(f"cells is one number or one an axis of {spatial}, got {cells!r}")
    check_count(samples, "samples", 2)
    target = settled(network, params, state, images, target)

    def part(numbers, weights):
        masks = jax.vmap(lambda i: smooth_mask(stream(key, "mask", i), spatial, grid, keep))(
            numbers
        )
        shown = cover + masks[:, None, ..., None].astype(images.dtype) * (images - cover)
        found = scores(network, params, state, shown, target).astype(jnp.float32)
        both = jnp.tensordot((weights[:, None] * found).T, masks, 1)
        return both, weights @ found, jnp.tensordot(weights, masks, 1)

    both, found, masks = sum_over(part, samples, chunk)
    mean = found.reshape(-1, *(1,) * len(spatial)) / samples
    values = (both - mean * masks) / (samples * keep * (1 - keep))
    return per_channel(values.astype(images.dtype), images)


def smooth_mask(key: Key, spatial: tuple[int, ...], cells: tuple[int, ...], keep: float) -> Array:
    """A coarse random grid, enlarged linearly and shifted by less than a cell: in [0, 1]."""
    grid = jax.random.bernoulli(stream(key, "grid"), keep, tuple(c + 1 for c in cells))
    mask = grid.astype(jnp.float32)
    for axis, (n, c) in enumerate(zip(spatial, cells, strict=True)):
        shift = jax.random.uniform(stream(key, "shift", axis))
        at = (jnp.arange(n) + shift * (n / c)) * (c / n)
        near = jnp.maximum(0, 1 - jnp.abs(jnp.clip(at, 0, c)[:, None] - jnp.arange(c + 1)))
        mask = jnp.moveaxis(jnp.tensordot(near, mask, (1, axis)), 0, axis)
    return mask
