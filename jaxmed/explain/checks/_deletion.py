"""Deletion and insertion: does the score follow the voxels that a map names first."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import trapezoid

from jaxmed.core import Array, Key, Network, PyTree, stream
from jaxmed.explain._compiled import split_target
from jaxmed.explain._images import Baseline, absent, one_image
from jaxmed.explain._passes import check_count, each_of
from jaxmed.explain._target import Target, scores, settled


class Curve(NamedTuple):
    """Scores as voxels go or come.

    Attributes:
        shares: (points,), of voxels changed, from 0 to 1.
        scores: (points, batch).
        area: (batch,), under the curve of each case, by trapezoids.
    """

    shares: np.ndarray
    scores: np.ndarray
    area: np.ndarray


def deletion(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    attribution: Array | np.ndarray,
    *,
    fill: Baseline | Literal["linear"] = 0.0,
    least_first: bool = False,
    points: int = 20,
    chunk: int = 8,
) -> Curve:
    """Scores as voxels are taken away, those with the largest values first.

    A good map's score falls early: a small area. What stands in for a voxel decides much: zeros are
    themselves a sign that something is missing. ``fill="linear"`` is ROAD's: each missing voxel is
    the mean of its neighbours and a little noise, solved together, so that the shape of the hole
    tells little.

    Args:
        key: random key of the noise, and of the order of voxels with equal values.
        network: any network.
        params: its parameters.
        state: its state.
        inputs: ``(batch, *spatial, channels)``.
        target: a class, one a case, or a function of the endpoints.
        attribution: the map, in the inputs' shape; channels are added up and go together.
        fill: a number, one a channel, an image, or ``"linear"``.
        least_first: whether the smallest values go first.
        points: parts of the curve.
        chunk: how many images a case are computed at once.

    Returns:
        The curve.

    Raises:
        ValueError: if the map has another shape than the images.

    References:
        Petsiuk et al. (2018), RISE, BMVC. Rong et al. (2022), A consistent and efficient evaluation
        strategy for attribution methods, ICML.
    """
    return _curve(
        key, network, params, state, inputs, target, attribution, fill, least_first, points, chunk,
        insert=False,
    )  # fmt: skip


def insertion(
    key: Key,
    network: Network,
    params: PyTree,
    state: PyTree,
    inputs: Array,
    target: Target,
    attribution: Array | np.ndarray,
    *,
    fill: Baseline | Literal["linear"] = 0.0,
    points: int = 20,
    chunk: int = 8,
) -> Curve:
    """Scores as voxels are shown, those with the largest values first: a large area is good.

    Args:
        key: as of :func:`deletion`, and so are all others.
        network: likewise.
        params: likewise.
        state: likewise.
        inputs: likewise.
        target: likewise.
        attribution: likewise.
        fill: likewise, what is seen of voxels that are not shown yet.
        points: likewise.
        chunk: likewise.

    Returns:
        The curve.

    References:
        Petsiuk et al. (2018), as of :func:`deletion`.
    """
    return _curve(
        key, network, params, state, inputs, target, attribution, fill, False, points, chunk,
        insert=True,
    )  # fmt: skip


def _curve(
    key, network, params, state, inputs, target, attribution, fill, least_first, points, chunk,
    *, insert,
):  # fmt: skip
    images = one_image(inputs, "a deletion curve")
    if np.shape(attribution) != images.shape:
        raise ValueError(f"a map has the images' shape {images.shape}, got {np.shape(attribution)}")
    check_count(points, "points")
    if isinstance(fill, str) and fill != "linear":
        raise ValueError(f'fill is numbers or "linear", got {fill!r}')
    fixed, given = split_target(target)
    baseline = None if isinstance(fill, str) else absent(fill, images)
    found = np.asarray(
        _along(
            key, params, state, images, given, jnp.asarray(attribution), baseline,
            network=network, fixed=fixed, least_first=least_first, insert=insert, points=points,
            chunk=chunk,
        )
    )  # fmt: skip
    shares = np.asarray(_many(images, points)) / math.prod(images.shape[1:-1])
    return Curve(shares, found, trapezoid(found, shares, axis=0))


def _many(images: Array, points: int) -> Array:
    """How many voxels are changed at each point of a curve."""
    return jnp.round(jnp.linspace(0, math.prod(images.shape[1:-1]), points + 1)).astype(jnp.int32)


@partial(jax.jit, static_argnames=("network", "fixed", "least_first", "insert", "points", "chunk"))
def _along(
    key, params, state, images, given, attribution, baseline,
    *, network, fixed, least_first, insert, points, chunk,
):  # fmt: skip
    """Scores (points + 1, batch); of neighbours in place of a baseline where that is None."""
    target = given if fixed is None else fixed
    target = settled(network, params, state, images, target)
    values = attribution.sum(-1).reshape(len(images), -1)
    values = values if least_first else -values
    tie = jax.random.uniform(stream(key, "ties"), values.shape)
    rank = jnp.lexsort((tie, values), axis=-1).argsort(-1).reshape(images.shape[:-1])
    many = _many(images, points)

    def part(numbers):
        def shown(number):
            first = rank < many[number]
            gone = ~first if insert else first
            seen = _linear(stream(key, "noise"), images, gone) if baseline is None else baseline
            return jnp.where(gone[..., None], seen, images)

        return scores(network, params, state, jax.vmap(shown)(numbers), target)

    return each_of(part, points + 1, chunk)


def _linear(key: Key, images: Array, gone: Array, noise: float = 0.01) -> Array:
    """Voxels that are gone as the mean of their neighbours, near ones counting more.

    The equations of all of them are those of a resistor network, symmetric and positive, and are
    solved by conjugate gradients. Where nothing is left it is the image's mean.
    """
    axes = tuple(range(1, images.ndim - 1))
    offsets = [o for o in itertools.product((-1, 0, 1), repeat=len(axes)) if any(o)]
    weights = [1 / sum(map(abs, offset)) for offset in offsets]

    def neighbours(x):
        """Sum over the neighbours inside the image."""
        padded = jnp.pad(x, [(0, 0), *[(1, 1)] * len(axes), (0, 0)])
        total = jnp.zeros_like(x)
        for offset, weight in zip(offsets, weights, strict=True):
            part = padded
            for axis, move in zip(axes, offset, strict=True):
                part = jax.lax.slice_in_dim(part, 1 + move, 1 + move + x.shape[axis], axis=axis)
            total += weight * part
        return total

    hole = gone[..., None].astype(images.dtype)
    mean = images.mean(axes, keepdims=True)
    centred = (images - mean) * (1 - hole)
    degree = neighbours(jnp.ones_like(images))
    # A touch of the mean, so that an image that is wholly gone has a solution as well.
    tiny = 1e-6

    def equations(x):
        x = x * hole
        return hole * ((degree + tiny) * x - neighbours(x)) + (1 - hole) * x

    solved, _ = jax.scipy.sparse.linalg.cg(
        equations, hole * neighbours(centred), tol=1e-4, maxiter=200
    )
    spread = images.std(axes, keepdims=True)
    return mean + solved + noise * spread * jax.random.normal(key, images.shape, images.dtype)
