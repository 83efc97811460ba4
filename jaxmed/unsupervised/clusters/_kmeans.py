"""k-means by Lloyd's iterations."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Array, Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._distances import block_rows, in_blocks, nearest, sums_by_label
from jaxmed.unsupervised._rows import (
    centred,
    computed_in,
    parts,
    row_weights,
    rows,
    same_features,
)
from jaxmed.unsupervised.clusters._starts import plain, plus_plus


class Assigned(NamedTuple):
    """The cluster of each row.

    Attributes:
        labels: (n,) int32, the nearest centre's index, the lowest of equally near ones.
        distances: (n,) squared distance to it.
    """

    labels: NDArray[np.int32]
    distances: NDArray[Any]


class KMeans(NamedTuple):
    """Clusters of rows around centres; made by :func:`kmeans`.

    Attributes:
        centres: (k, ...) in the shape of the rows that were fitted.
        counts: (k,) weight of each cluster's rows.
        inertia: sum over rows of weight times squared distance to the nearest centre.
        steps: iterations made.
        converged: whether the centres had come to rest before ``max_steps``.
        moved: how often an empty cluster was moved to the row farthest from its centre.
    """

    centres: NDArray[Any]
    counts: NDArray[Any]
    inertia: float
    steps: int
    converged: bool
    moved: int

    def assign(self, x: ArrayLike) -> Assigned:
        """Find the nearest centre of each row.

        Args:
            x: (n, ...) rows of the shape that was fitted.

        Raises:
            ValueError: for NaN, or another number of features.
        """
        given = rows(x)
        flat = self.centres.reshape(len(self.centres), -1)
        same_features(given, flat.shape[1], "x", "k-means")
        origin = flat.mean(axis=0, dtype=np.float64)
        kind = computed_in()
        labels, distances = _assign(
            jnp.asarray((given - origin).astype(kind)),
            jnp.asarray((flat - origin).astype(kind)),
            chunk=block_rows(len(flat)),
        )
        return Assigned(np.asarray(labels), np.asarray(distances))


def kmeans(
    key: Key,
    x: ArrayLike,
    k: int,
    *,
    start: Literal["++", "random"] | ArrayLike = "++",
    restarts: int = 1,
    max_steps: int = 300,
    tolerance: float = 1e-4,
    weight: ArrayLike | None = None,
    chunk: int | None = None,
) -> KMeans:
    """Divide rows into k clusters of least squared distance to their means.

    Distances are computed about the data's mean, so that an offset costs no precision, in float32,
    or in float64 under ``jax.enable_x64``.

    Args:
        key: random key, for the starts.
        x: (n, ...) rows, such as features or images; an image's axes count as one.
        k: the number of clusters.
        start: ``"++"`` draws centres far from each other, ``"random"`` draws rows; or the
            centres (k, ...) themselves.
        restarts: how many starts are tried; the one of least inertia is kept.
        max_steps: most iterations.
        tolerance: stop once the sum of the centres' squared shifts is at most this share of the
            features' mean variance.
        weight: (n,) how much each row counts; one of weight 0 not at all.
        chunk: rows whose distances are in memory at a time; by default as many as suit the device.

    Returns:
        The clusters. Those that become empty are moved to the rows farthest from their centres,
        and ``moved`` counts it.

    Raises:
        ValueError: for NaN, more clusters than rows, or another count or shape of centres.

    References:
        Lloyd (1982), Least squares quantization in PCM, IEEE Transactions on Information Theory.
        Arthur and Vassilvitskii (2007), k-means++: the advantages of careful seeding, SODA.

    Examples:
        >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
        >>> found = kmeans(jax.random.key(0), x, 2)
        >>> found.inertia, sorted(found.centres.tolist())
        (1.0, [[0.0, 0.5], [9.0, 8.5]])
        >>> found.assign([[1.0, 1.0], [8.0, 8.0]]).distances.round(2)
        array([1.25, 1.25], dtype=float32)
    """
    given = rows(x)
    w = row_weights(weight, len(given))
    k = parts(k, int((w > 0).sum()))
    restarts = checks.check_whole(restarts, "restarts", 1)
    max_steps = checks.check_whole(max_steps, "max_steps", 1)
    tolerance = checks.check_number(tolerance, "tolerance", within=(0, np.inf))
    chunk = block_rows(k) if chunk is None else checks.check_whole(chunk, "chunk", 1)
    shifted, origin = centred(given, w)
    points, mass = jnp.asarray(shifted), jnp.asarray(w / w.max(), shifted.dtype)
    squares = np.einsum("ij,ij->i", shifted, shifted).astype(np.float64)
    spread = float(w @ squares / w.sum() / shifted.shape[1])
    begins: list[Array]
    if isinstance(start, str):
        if start not in ("++", "random"):
            raise checks.unknown("start", start, ("++", "random", "or the centres themselves"))
        draw = _begin[start]
        begins = [draw(stream(key, "start", i), points, mass, k) for i in range(restarts)]
    else:
        if restarts != 1:
            raise ValueError(f"restarts is {restarts}, but centres were given: there is one start")
        centres = rows(start, "start")
        same_features(centres, given.shape[1], "start", "x")
        if len(centres) != k:
            raise ValueError(f"start has {len(centres)} centres, but k is {k}")
        begins = [jnp.asarray((centres - origin).astype(shifted.dtype))]
    best: tuple[float, tuple[Any, ...]] | None = None
    for begin in begins:
        ended = _lloyd(
            points, None if weight is None else mass, begin, tolerance * spread,
            max_steps=max_steps, chunk=chunk,
        )  # fmt: skip
        inertia = float(np.asarray(ended[1], np.float64) @ w)
        if best is None or inertia < best[0]:
            best = (inertia, ended)
    assert best is not None
    inertia, (labels, _, centres, steps, resting, moved) = best
    counts = np.bincount(np.asarray(labels), w, minlength=k)
    if (counts == 0).any():
        warnings.warn(
            f"{int((counts == 0).sum())} of {k} clusters are empty: fewer rows differ than k asks "
            "for, or max_steps ended before they could be moved",
            stacklevel=2,
        )
    shape = np.shape(x)[1:]
    found = (np.asarray(centres, np.float64) + origin).astype(given.dtype)
    return KMeans(
        found.reshape(k, *shape) if shape else found,
        counts.astype(given.dtype),
        inertia,
        int(steps),
        bool(resting),
        int(moved),
    )


_begin = {
    "++": jax.jit(plus_plus, static_argnames="k"),
    "random": jax.jit(plain, static_argnames="k"),
}


@partial(jax.jit, static_argnames="chunk")
def _assign(x: Array, centres: Array, *, chunk: int) -> tuple[Array, Array]:
    labels, distances = jax.lax.map(lambda block: nearest(block, centres), in_blocks(x, chunk))
    return labels.reshape(-1)[: len(x)], distances.reshape(-1)[: len(x)]


@partial(jax.jit, static_argnames=("max_steps", "chunk"))
def _lloyd(x, weight, centres, tolerance, *, max_steps, chunk):
    """Iterate to rest: labels, distances, centres, steps, whether at rest, clusters moved.

    ``weight`` is None where all rows count alike, which saves a pass over them.
    """
    n, k = x.shape[0], centres.shape[0]
    mass = jnp.ones((n,), x.dtype) if weight is None else weight
    blocks = in_blocks(x, chunk)

    def sums(labels):
        """The weighted sum (k, d) and the weight (k,) of each cluster's rows."""
        rows = x if weight is None else x * mass[:, None]
        return sums_by_label(rows, labels, k), sums_by_label(mass, labels, k)

    def relocated(centres, labels, empty):
        """Give each empty cluster one of the rows that lie farthest from their centres."""
        distances = ((x - centres[labels]) ** 2).sum(1)
        order = jnp.where(mass > 0, distances, -1)
        chosen = jax.lax.top_k(order, k)[1][jnp.cumsum(empty) - 1]
        taken = empty & (order[chosen] > 0)  # a row on its centre would make a second one there
        numbers = jnp.arange(k, dtype=labels.dtype)
        labels = labels.at[jnp.where(taken, chosen, n)].set(numbers, mode="drop")
        return sums(labels), taken.sum(dtype=jnp.int32)

    def step(carried):
        centres, steps, moved, _ = carried
        labels = jax.lax.map(lambda block: nearest(block, centres)[0], blocks).reshape(-1)[:n]
        total, counts = sums(labels)
        empty = counts == 0
        (total, counts), taken = jax.lax.cond(
            empty.any(),
            lambda: relocated(centres, labels, empty),
            lambda: ((total, counts), none),
        )
        # A donor that gave its last row keeps its place, to be moved in the next step.
        held = counts[:, None] > 0
        new = jnp.where(held, total / jnp.where(held, counts[:, None], 1), centres)
        resting = (((new - centres) ** 2).sum() <= tolerance) & (taken == 0)
        return new, steps + 1, moved + taken, resting

    def goes_on(carried):
        return ~carried[3] & (carried[1] < max_steps)

    none = jnp.zeros((), jnp.int32)
    centres, steps, moved, resting = jax.lax.while_loop(
        goes_on, step, (centres, none, none, jnp.zeros((), bool))
    )
    labels, distances = _assign(x, centres, chunk=chunk)
    return labels, distances, centres, steps, resting, moved
