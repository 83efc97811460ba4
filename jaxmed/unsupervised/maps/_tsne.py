"""t-SNE: maps that keep neighbours together."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._distances import squared_distances
from jaxmed.unsupervised._rows import centred, parts, rows
from jaxmed.unsupervised.components._pca import pca

EXACT_ROWS = 5000
"""Beyond this many rows the exact form, which compares all pairs at each step, is not offered."""


class TSNE(NamedTuple):
    """A map of rows; made by :func:`tsne`.

    Attributes:
        map: (n, dimensions).
        divergence: of the map's similarities from the data's (Kullback and Leibler), in nats.
        perplexity: effective number of neighbours.
        method: ``"exact"`` or ``"openTSNE"``.
    """

    map: NDArray[Any]
    divergence: float
    perplexity: float
    method: str


def tsne(
    key: Key,
    x: ArrayLike,
    *,
    perplexity: float = 30,
    dimensions: int = 2,
    start: Literal["pca", "random"] | ArrayLike = "pca",
    method: Literal["auto", "exact", "opentsne"] = "auto",
    steps: int = 1000,
    exaggeration: float = 12,
) -> TSNE:
    """Map rows to a plane so that neighbours stay neighbours.

    Distances between clusters, their sizes and their densities mean nothing in such a map, and
    noise may look like clusters: measure it with :func:`trustworthiness` and try several
    perplexities.

    Args:
        key: random key, for a random start and for openTSNE's approximate neighbours.
        x: (n, ...) rows. With more than some 50 features take components first (:func:`pca`).
        perplexity: effective number of neighbours, from 1 to less than n / 3.
        dimensions: of the map.
        start: ``"pca"``, so that the map's large structure is the data's; ``"random"``; or
            places (n, dimensions).
        method: ``"exact"`` compares all pairs, up to 5,000 rows; ``"opentsne"`` approximates, with
            ``pip install 'jaxmed[embed]'``; ``"auto"`` takes the first where it can.
        steps: of gradient descent.
        exaggeration: by how much similarities are raised in the first quarter of the steps.

    Returns:
        The map.

    Raises:
        ValueError: for NaN, rows that are all equal, a perplexity that the rows do not allow, or
            too many rows for the exact form.
        ImportError: if openTSNE is needed and not installed.

    References:
        van der Maaten and Hinton (2008), Visualizing data using t-SNE, Journal of Machine Learning
        Research 9:2579. Kobak and Berens (2019), The art of using t-SNE for single-cell
        transcriptomics, Nature Communications 10:5416. Policar, Strazar and Zupan (2024), openTSNE:
        a modular Python library for t-SNE dimensionality reduction and embedding, Journal of
        Statistical Software 109.
    """
    given = rows(x, minimum=4)
    n = len(given)
    perplexity = checks.check_number(perplexity, "perplexity", within=(1, np.inf))
    if 3 * perplexity >= n:
        raise ValueError(f"perplexity must be less than a third of {n} rows, but is {perplexity}")
    dimensions = checks.check_whole(dimensions, "dimensions", 1)
    steps = checks.check_whole(steps, "steps", 1)
    if method not in ("auto", "exact", "opentsne"):
        raise checks.unknown("method", method, ("auto", "exact", "opentsne"))
    if (given == given[0]).all():
        raise ValueError("all rows are equal: there is nothing to map")
    if method == "exact" and n > EXACT_ROWS:
        raise ValueError(f'{n} rows are too many for the exact form: give method="opentsne"')
    places = _start(key, given, dimensions, start)
    if method == "opentsne" or n > EXACT_ROWS:
        return _by_opentsne(key, given, perplexity, places, steps, exaggeration)
    shifted, _ = centred(given, np.ones(n))
    # In units of the data's own, so that the search for neighbours begins near its end.
    unit = np.sqrt((shifted.astype(np.float64) ** 2).sum(axis=1).mean())
    similarity = _similarities(jnp.asarray(shifted / unit).astype(shifted.dtype), perplexity)
    early = steps // 4
    rate = max(n / exaggeration / 4, 50)
    found, divergence = _descend(
        similarity, jnp.asarray(places, shifted.dtype), rate, exaggeration, early, steps
    )
    return TSNE(np.asarray(found), float(divergence), perplexity, "exact")


def _start(key: Key, x: NDArray, dimensions: int, start: Any) -> NDArray[np.float64]:
    """Places (n, dimensions) of which the first has the deviation 1e-4 where none are given."""
    if not isinstance(start, str):
        places = rows(start, "start")
        if places.shape != (len(x), dimensions):
            raise ValueError(f"start must be ({len(x)}, {dimensions}), but is {places.shape}")
        return places.astype(np.float64)
    if start == "random":
        drawn = jax.random.normal(stream(key, "start"), (len(x), dimensions))
        return 1e-4 * np.asarray(drawn, np.float64)
    if start != "pca":
        raise checks.unknown("start", start, ("pca", "random", "or the places themselves"))
    parts(dimensions, min(len(x) - 1, x.shape[1]), "dimensions", "directions of the data")
    along = pca(x, dimensions).project(x).astype(np.float64)
    return along / along[:, 0].std() * 1e-4


@jax.jit
def _similarities(x, perplexity):
    """Symmetric probabilities (n, n) of pairs, each row's with the given perplexity."""
    n = len(x)
    squared = jnp.where(jnp.eye(n, dtype=bool), jnp.inf, squared_distances(x, x))
    squared = squared - squared.min(1, keepdims=True)
    wanted = jnp.log(perplexity)

    def shares(precision):
        mass = jnp.where(jnp.isinf(squared), 0, jnp.exp(-squared * precision[:, None]))
        return mass / mass.sum(1, keepdims=True)

    def halved(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        share = shares(jnp.exp(middle))
        entropy = -(share * jnp.log(jnp.where(share > 0, share, 1))).sum(1)
        narrow = entropy > wanted  # too many neighbours
        return jnp.where(narrow, middle, low), jnp.where(narrow, high, middle)

    # The logarithm of the precision, by halves: distances are of the order of 1.
    ends = jnp.full((n,), -30.0, x.dtype), jnp.full((n,), 40.0, x.dtype)
    low, high = jax.lax.fori_loop(0, 40, halved, ends)
    share = shares(jnp.exp((low + high) / 2))
    return (share + share.T) / (2 * n)


@jax.jit
def _descend(similarity, places, rate, exaggeration, early, steps):
    """Gradient descent with momentum and gains: places and the divergence at the end."""
    n = len(places)
    itself = jnp.eye(n, dtype=bool)

    def kernel(places):
        # By differences, for few coordinates: they fuse, and do not cancel.
        squared = sum((c[:, None] - c) ** 2 for c in places.T)
        return jnp.where(itself, 0, 1 / (1 + squared))

    def gradient(places, raised):
        near = kernel(places)
        force = (raised * similarity - near / near.sum()) * near
        return 4 * (force.sum(1)[:, None] * places - force @ places)

    def step(i, carried):
        places, speed, gains = carried
        slope = gradient(places, jnp.where(i < early, exaggeration, 1))
        # Faster where it goes on downhill. At rest, where there is no speed, all are alike, so that
        # a start of components keeps its shape.
        gains = jnp.maximum(jnp.where(speed * slope < 0, gains + 0.2, gains * 0.8), 0.01)
        speed = jnp.where(i < early, 0.5, 0.8) * speed - rate * gains * slope
        places = places + speed
        return places - places.mean(0), speed, gains

    begin = places, jnp.zeros_like(places), jnp.ones_like(places)
    places = jax.lax.fori_loop(0, steps, step, begin)[0]
    near = kernel(places)
    share = jnp.maximum(near / near.sum(), jnp.finfo(places.dtype).tiny)
    ratio = jnp.log(jnp.where(similarity > 0, similarity, 1) / share)
    return places, jnp.where(similarity > 0, similarity * ratio, 0).sum()


def _by_opentsne(key, x, perplexity, places, steps, exaggeration) -> TSNE:
    try:
        import openTSNE  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            f"{len(x)} rows are mapped by openTSNE, which is not installed: "
            f"pip install 'jaxmed[embed]', or map {EXACT_ROWS} rows or fewer"
        ) from None
    early = steps // 4
    found = openTSNE.TSNE(
        n_components=places.shape[1],
        perplexity=perplexity,
        initialization=places,
        early_exaggeration=exaggeration,
        early_exaggeration_iter=early,
        n_iter=steps - early,
        random_state=int(jax.random.randint(stream(key, "neighbours"), (), 0, 2**31 - 1)),
    ).fit(x)
    divergence = float(found.kl_divergence)
    return TSNE(np.asarray(found), divergence, perplexity, "openTSNE")
