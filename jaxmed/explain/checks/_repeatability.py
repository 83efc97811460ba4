"""Repeatability: the same map from another seed, or from an image moved by a voxel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Network, PyTree, Variables, stream
from jaxmed.explain._images import one_image
from jaxmed.explain._target import Target
from jaxmed.explain.checks._likeness import rank_correlation


def repeatability(
    key: Key,
    method: Callable,
    network: Network,
    trained: Variables | Sequence[Variables],
    inputs: PyTree,
    target: Target,
    *,
    seeds: int = 2,
    absolute: bool = False,
) -> np.ndarray:
    """Mean rank correlation between maps of other seeds: of the method, or of the training.

    Args:
        key: random key.
        method: a method with the common signature.
        network: any network.
        trained: its parameters and state, with which the method draws anew ``seeds`` times; or
            those of several trainings, each explained once.
        inputs: what it takes.
        target: a class, one a case, or a function of the endpoints.
        seeds: how often a method draws.
        absolute: whether signs are left out.

    Returns:
        (batch,), the mean over all pairs; NaN where a map is constant.

    Raises:
        ValueError: if there is only one map.
    """
    if isinstance(trained, Variables):
        runs = [(stream(key, "seed", i), trained) for i in range(seeds)]
    else:
        runs = [(stream(key, "method"), variables) for variables in trained]
    if len(runs) < 2:
        raise ValueError("repeatability is between at least two seeds or trainings")
    maps = [method(own, network, v.params, v.state, inputs, target) for own, v in runs]
    pairs = itertools.combinations(maps, 2)
    return np.mean([rank_correlation(a, b, absolute=absolute) for a, b in pairs], axis=0)


def shift_repeatability(
    key: Key,
    method: Callable,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    *,
    voxels: int = 1,
    absolute: bool = False,
) -> np.ndarray:
    """Rank correlation between a map and that of the image moved by some voxels, moved back.

    The image goes on at its border as it ends, and the voxels that came from there are left out.
    Movements along each axis are averaged.

    Args:
        key: random key of the method, the same for both maps.
        method: a method with the common signature.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        voxels: by how many the image is moved.
        absolute: whether signs are left out.

    Returns:
        (batch,); NaN where a map is constant.

    Raises:
        ValueError: if the image is no larger than the movement.
    """
    images = one_image(inputs, "shift_repeatability")
    if not 1 <= voxels < min(images.shape[1:-1]):
        raise ValueError(f"images of {images.shape[1:-1]} cannot be moved by {voxels} voxel(s)")
    before = method(key, network, params, state, images, target)
    found = []
    for axis in range(1, images.ndim - 1):
        size = images.shape[axis]
        at = jnp.clip(jnp.arange(size) - voxels, 0, size - 1)
        after = method(key, network, params, state, jnp.take(images, at, axis), target)
        kept = np.take(np.asarray(before), np.arange(size - voxels), axis)
        back = np.take(np.asarray(after), np.arange(voxels, size), axis)
        found.append(rank_correlation(kept, back, absolute=absolute))
    return np.mean(found, axis=0)
