"""SmoothGrad: gradients averaged over noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Key, Network, PyTree, stream
from jaxmed.explain._passes import check_count, sum_over
from jaxmed.explain._target import Target, settled
from jaxmed.explain.gradients._gradient import gradients


def smooth_grad(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: PyTree,
    target: Target,
    *,
    noise: float = 0.15,
    samples: int = 32,
    chunk: int = 8,
) -> PyTree:
    """Mean gradient over copies of the image with noise.

    Args:
        key: random key of the noise.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``, or a tree of arrays.
        target: a class, one a case, or a function of the endpoints.
        noise: its standard deviation, as a share of the range of each image.
        samples: number of copies.
        chunk: how many are computed at once; bounds the memory and changes no result but by
            rounding.

    Returns:
        A signed map in the inputs' shape.

    Raises:
        ValueError: if the noise is negative, or a number is not positive.

    References:
        Smilkov et al. (2017), SmoothGrad: removing noise by adding noise, arXiv:1706.03825.
    """
    if noise < 0:
        raise ValueError(f"noise is a standard deviation from 0 on, got {noise}")
    check_count(samples, "samples")
    inputs = jax.tree.map(jnp.asarray, inputs)
    leaves, structure = jax.tree.flatten(inputs)
    target = settled(network, params, state, inputs, target)

    def noisy(number):
        seeds = stream(key, "noise", number)
        drawn = [_blurred(stream(seeds, str(i)), leaf, noise) for i, leaf in enumerate(leaves)]
        return jax.tree.unflatten(structure, drawn)

    def part(numbers, weights):
        slopes = gradients(network, params, state, jax.vmap(noisy)(numbers), target)
        return jax.tree.map(lambda g: jnp.tensordot(weights, g, 1), slopes)

    return jax.tree.map(lambda total: total / samples, sum_over(part, samples, chunk))


def _blurred(key, leaf, noise):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    axes = tuple(range(1, leaf.ndim))
    spread = leaf.max(axes, keepdims=True) - leaf.min(axes, keepdims=True)
    return leaf + noise * spread * jax.random.normal(key, leaf.shape, leaf.dtype)
