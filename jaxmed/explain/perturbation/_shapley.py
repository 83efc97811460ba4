"""Shapley values of regions: exact, and by weighted least squares over sampled coalitions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.explain._images import Baseline, absent, one_image
from jaxmed.explain._passes import check_count, each_of, sum_over
from jaxmed.explain._target import Target, score, scores, settled
from jaxmed.explain.perturbation._regions import (
    coalition_images,
    every_coalition,
    map_of_regions,
    players,
    shapley_weights,
)

_MOST_EXACT = 16


def exact_shapley(
    key: Key | None,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    regions: Array | np.ndarray,
    baseline: Baseline = 0.0,
    chunk: int = 16,
) -> Array:
    """Shapley values of regions, by asking for all of their subsets.

    The mean, over all orders in which regions are uncovered, of what each adds to the score. They
    sum to the score less that of the baseline.

    Args:
        key: not used; part of the common signature.
        network: any network; it is only asked, 2 to the number of regions times.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        regions: numbers from 0 on, at most 16 of them: (*spatial), as :func:`grid_regions` makes,
            or one map a case.
        baseline: what covers a region.
        chunk: how many coalitions are computed at once; bounds the memory.

    Returns:
        A signed map in the inputs' shape: a region's value is its sum over the region.

    Raises:
        ValueError: if there are too many regions, or they do not fit the images.

    References:
        Shapley (1953), A value for n-person games. Lundberg and Lee (2017), A unified approach to
        interpreting model predictions, NeurIPS.
    """
    del key
    images = one_image(inputs, "exact_shapley")
    cover = absent(baseline, images)
    owned, count = players(regions, images)
    target = settled(network, params, state, images, target)
    if count > _MOST_EXACT:
        raise ValueError(
            f"{count} regions have 2^{count} coalitions; take at most {_MOST_EXACT}, or kernel_shap"
        )
    shown = every_coalition(count)
    weights, shown = jnp.asarray(shapley_weights(shown), jnp.float32), jnp.asarray(shown)

    def part(numbers, kept):
        seen = coalition_images(shown[numbers], owned, images, cover)
        worth = scores(network, params, state, seen, target).astype(jnp.float32)
        return (kept[:, None] * worth).T @ weights[numbers]

    values = sum_over(part, len(shown), chunk)
    return map_of_regions(values, owned, images)


def kernel_shap(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    regions: Array | np.ndarray,
    baseline: Baseline = 0.0,
    samples: int = 512,
    chunk: int = 16,
) -> Array:
    """Shapley values of many regions, by least squares over random coalitions.

    Coalitions are drawn by the kernel's weights, each with its complement, and the values sum
    exactly to the score less that of the baseline.

    Args:
        key: random key of the coalitions, the same for all cases of a batch.
        network: any network; it is only asked.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        regions: numbers from 0 on: (*spatial), as :func:`grid_regions` makes, or one map a case.
        baseline: what covers a region.
        samples: number of coalitions, an even number of at least twice the regions.
        chunk: how many are computed at once; bounds the memory and changes no result but by
            rounding.

    Returns:
        A signed map in the inputs' shape: a region's value is its sum over the region.

    Raises:
        ValueError: if there are too few samples, or the regions do not fit the images.

    References:
        Lundberg and Lee (2017), as of :func:`exact_shapley`. Covert and Lee (2021), Improving
        KernelSHAP: practical Shapley value estimation using linear regression, AISTATS.
    """
    images = one_image(inputs, "kernel_shap")
    cover = absent(baseline, images)
    owned, count = players(regions, images)
    target = settled(network, params, state, images, target)
    check_count(samples, "samples")
    nothing = score(network, params, state, cover, target).astype(jnp.float32)
    everything = score(network, params, state, images, target).astype(jnp.float32)
    owed = everything - nothing
    if count == 1:
        return map_of_regions(owed[:, None], owned, images)
    if samples % 2 or samples < 2 * count:
        raise ValueError(
            f"samples is an even number of at least twice the {count} regions, got {samples}"
        )
    shown = _coalitions(key, count, samples)

    def part(numbers):
        seen = coalition_images(shown[numbers], owned, images, cover)
        return scores(network, params, state, seen, target).astype(jnp.float32)

    worth = each_of(part, samples, chunk) - nothing
    joined = shown.astype(jnp.float32)
    products = joined.T @ joined / samples + 1e-6 * jnp.eye(count)
    with_worth = joined.T @ worth / samples
    ones = jnp.ones((count, 1))
    solved = jnp.linalg.solve(products, jnp.concatenate([with_worth, ones], 1))
    free, unit = solved[:, :-1], solved[:, -1:]
    values = free - unit * ((free.sum(0) - owed) / unit.sum())
    return map_of_regions(values.T, owned, images)


def _coalitions(key: Key, count: int, samples: int) -> Array:
    """Random subsets, neither none nor all, each followed by its complement."""
    sizes = np.arange(1, count)
    chance = 1 / (sizes * (count - sizes))
    half = samples // 2
    chosen = jax.random.choice(
        stream(key, "size"), sizes, (half,), p=jnp.asarray(chance / chance.sum())
    )
    order = jax.random.uniform(stream(key, "order"), (half, count)).argsort(1).argsort(1)
    first = order < chosen[:, None]
    return jnp.stack([first, ~first], 1).reshape(samples, count)
