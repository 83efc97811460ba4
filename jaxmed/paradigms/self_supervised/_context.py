"""Context prediction: where does a tile belong? Relative position and jigsaw."""

from __future__ import annotations

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Key, Objective, network_inputs, stream
from jaxmed.networks import ProjectionHead
from jaxmed.paradigms.base._views import View, apply_view, row_weights, vectors
from jaxmed.paradigms.self_supervised._embedding import Head, embedding
from jaxmed.paradigms.self_supervised._rotation import answered


def relative_position(
    *,
    margin: float = 0.25,
    view: View | None = None,
    head: Head | None = None,
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    """Tell on which side of the image's middle tile another tile lies.

    The image is cut into three along each axis; the network sees the middle and one of its
    neighbours (8 in two dimensions, 26 in three), and a head reads both.

    Args:
        margin: share of a cell's edge that its tile leaves out, at a random place: without one,
            edges that go on tell the answer.
        view: of each tile by itself, such as a change of contrast.
        head: what gives a logit a neighbour, from two vectors in a row; a perceptron with one
            hidden layer by default, a parameter of the objective.
        output: the endpoint, ``(batch, features)``; the network must take images as small as
            a tile.
        inputs: the batch's images, ``(batch, *spatial, channels)``.

    Returns:
        The objective, with metrics ``cross_entropy`` and ``accuracy``.

    Raises:
        ValueError: if ``margin`` is outside [0, 1); when traced, if an axis has fewer than three
            voxels, or the endpoint has not one vector per example.

    References:
        Doersch, Gupta and Efros (2015), Unsupervised visual representation learning by context
        prediction, ICCV.
    """

    def task(key: Key, images: Array):
        rank = images.ndim - 2
        cells = tiles(stream(key, "tiles"), images, 3, margin)
        middle = 3**rank // 2
        answer = jax.random.randint(stream(key, "side"), (len(images),), 0, 3**rank - 1)
        other = jnp.where(answer >= middle, answer + 1, answer)
        return _chosen(cells, jnp.stack([jnp.full_like(other, middle), other], axis=1)), answer

    return _puzzle(
        task, lambda rank: (2, 3**rank - 1), margin, view, head, output, inputs, "relative_position"
    )


def jigsaw(
    *,
    grid: int = 2,
    permutations: int = 24,
    margin: float = 0.25,
    view: View | None = None,
    head: Head | None = None,
    output: str = "features",
    inputs: str = "image",
) -> Objective:
    """Tell in which order the image's tiles are shown.

    Orders are drawn from a fixed set in which any two differ in many places, chosen greedily.

    Args:
        grid: cells along each axis: 2 for four tiles in two dimensions and eight in three; the
            paper has 3.
        permutations: how many orders there are, as far as there are so many.
        margin: share of a cell's edge that its tile leaves out, at a random place.
        view: of each tile by itself, such as a change of contrast.
        head: what gives a logit an order, from the tiles' vectors in a row; a perceptron with one
            hidden layer by default, a parameter of the objective.
        output: the endpoint, ``(batch, features)``; the network must take images as small as
            a tile.
        inputs: the batch's images, ``(batch, *spatial, channels)``.

    Returns:
        The objective, with metrics ``cross_entropy`` and ``accuracy``.

    Raises:
        ValueError: if ``grid`` or ``permutations`` is below 2 or ``margin`` outside [0, 1); when
            traced, if an axis has fewer voxels than cells, or the endpoint has not one vector an
            example.

    References:
        Noroozi and Favaro (2016), Unsupervised learning of visual representations by solving jigsaw
        puzzles, ECCV.
    """
    if grid < 2 or permutations < 2:
        raise ValueError(f"grid and permutations must be at least 2, got {grid}, {permutations}")

    def task(key: Key, images: Array):
        table = jnp.asarray(orders(grid ** (images.ndim - 2), permutations))
        answer = jax.random.randint(stream(key, "order"), (len(images),), 0, len(table))
        cells = tiles(stream(key, "tiles"), images, grid, margin)
        return _chosen(cells, table[answer]), answer

    def sizes(rank: int) -> tuple[int, int]:
        return grid**rank, len(orders(grid**rank, permutations))

    return _puzzle(task, sizes, margin, view, head, output, inputs, "jigsaw")


def _puzzle(task, sizes, margin, view, head, output: str, inputs: str, name: str) -> Objective:
    if not 0 <= margin < 1:
        raise ValueError(f"margin must be in [0, 1), got {margin}")

    def embed(images: Array):
        shown, classes = sizes(images.ndim - 2)

        def in_a_row(endpoints, output):
            features = vectors(endpoints, output)
            return features.reshape(-1, shown * features.shape[-1])

        made = ProjectionHead(classes, hidden=(128,), norm="none") if head is None else head
        return embedding({"head": made}, output, read=in_a_row)

    def flat(shown: Array) -> Array:
        return shown.reshape(-1, *shown.shape[2:])

    def init(key, network, params, state, batch):
        images = network_inputs(batch, inputs)
        shown, _ = task(key, images)
        return embed(images).init(key, network, params, state, flat(shown))

    def loss(network, params, state, batch, key):
        key, images = stream(key, name), network_inputs(batch, inputs)
        shown, answer = task(key, images)
        shown = apply_view(view, stream(key, "view"), flat(shown))
        outputs, state = embed(images).apply(network, params, state, shown, stream(key, "network"))
        return answered(outputs["head"], answer, row_weights(batch, inputs), state)

    return Objective(init, loss)


def tiles(key: Key, images: Array, grid: int, margin: float) -> Array:
    """A tile at a random place of each cell: ``(batch, grid^rank, *tile, channels)``, row-major.

    Raises:
        ValueError: if an axis has fewer voxels than cells.
    """
    size, *spatial, channels = images.shape
    if not spatial or min(spatial) < grid:
        raise ValueError(f"{grid} cells along each axis do not fit into the images {images.shape}")
    cell = [n // grid for n in spatial]
    edge = [max(1, int(n * (1 - margin))) for n in cell]
    room = jnp.asarray([c - e + 1 for c, e in zip(cell, edge, strict=True)])
    corners = np.stack(np.meshgrid(*[np.arange(grid) * c for c in cell], indexing="ij"), -1)
    corners = jnp.asarray(corners.reshape(-1, len(spatial)))
    draws = jax.random.uniform(key, (size * len(corners) * len(spatial),))
    places = jnp.floor(draws.reshape(size, len(corners), -1) * room).astype(jnp.int32) + corners

    def cut(image, place):
        return jax.lax.dynamic_slice(image, [*place, 0], (*edge, channels))

    return jax.vmap(jax.vmap(cut, (None, 0)))(images, places)


def _chosen(cells: Array, which: Array) -> Array:
    """The tiles ``which (batch, k)`` of each example, in that order."""
    return jnp.take_along_axis(cells, which.reshape(*which.shape, *[1] * (cells.ndim - 2)), axis=1)


@functools.lru_cache
def orders(n: int, count: int) -> np.ndarray:
    """Orders of n things that differ in many places, ``(at most count, n)``, the same each time.

    Greedy: each next one is farthest, in its least Hamming distance, from those chosen; out of
    all orders of up to six things, and of 2000 random ones of more.

    >>> orders(3, 2).tolist()
    [[0, 1, 2], [1, 2, 0]]
    """
    if n <= 6:
        pool = np.array(list(itertools.permutations(range(n))))
    else:
        draws = np.random.default_rng(0).random((max(2000, 20 * count), n))
        pool = np.concatenate([np.arange(n)[None], draws.argsort(1)])
    count = min(count, len(pool), math.factorial(n))
    chosen, distance = [0], np.full(len(pool), n + 1)
    while len(chosen) < count:
        distance = np.minimum(distance, (pool != pool[chosen[-1]]).sum(1))
        chosen.append(int(distance.argmax()))
    return pool[chosen]
