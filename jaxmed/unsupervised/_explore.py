"""A first look at a data set's features: clusters, near duplicates, outliers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.core import Key, stream
from jaxmed.stats import checks
from jaxmed.unsupervised._neighbours import nearest_rows
from jaxmed.unsupervised._rows import rows
from jaxmed.unsupervised._seed import numpy_seed
from jaxmed.unsupervised.clusters._agreement import (
    adjusted_rand,
    normalised_mutual_information,
)
from jaxmed.unsupervised.clusters._choose_k import ChosenK, choose_k

_CHOSEN_ON = 3000  # Rows on which the number of clusters is chosen: time grows with their square.


class NearPair(NamedTuple):
    """Two rows that lie much nearer to each other than rows usually do.

    Attributes:
        first: position of one.
        second: position of the other, behind it.
        distance: between them.
        ratio: the distance over the median distance of a row to its nearest other; 0 for copies.
        across: whether they lie in different splits.
    """

    first: int
    second: int
    distance: float
    ratio: float
    across: bool


class Exploration(NamedTuple):
    """What is to be seen in features; made by :func:`explore`.

    Attributes:
        chosen: the number of clusters, and what speaks for it.
        clusters: (n,) cluster of each row.
        pairs: near duplicates, those across splits first, then by distance.
        outliers: (n,) rows from the most outlying one.
        isolation: (n,) distance of each row to its k-th nearest other, over the median.
        agreement: of clusters with labels, if there are labels: name to estimate.
    """

    chosen: ChosenK
    clusters: NDArray[np.int32]
    pairs: tuple[NearPair, ...]
    outliers: NDArray[np.intp]
    isolation: NDArray[np.float64]
    agreement: dict[str, stats.Estimate]


def explore(
    key: Key,
    x: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    splits: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    ks: Iterable[int] = range(2, 9),
    near: float = 0.25,
    k: int = 10,
    pixels: ArrayLike | None = None,
) -> Exploration:
    """Look at features for clusters, near duplicates and outliers.

    Args:
        key: random key.
        x: (n, ...) features, or the images themselves.
        labels: (n,) classes, with which the clusters are compared.
        splits: (n,) split of each row: near duplicates across splits come first.
        groups: (n,) patient of each row. Two images of one patient within a split are no
            duplicates to speak of, and are left out; across splits they are told.
        ks: numbers of clusters tried, by their silhouettes on at most 3,000 rows.
        near: a pair is a near duplicate if its distance is less than this share of the median
            distance of a row to its nearest other.
        k: the neighbour whose distance tells an outlier.
        pixels: (n, ...) in which near duplicates are looked for, if not in ``x``: a network's
            features tell two crops of one image apart by more than its pixels do.

    Returns:
        What was found. Distances are those of the features as they are: scale them first where
        they differ in units.

    Raises:
        ValueError: for NaN, other lengths, or fewer rows than 4 and ``k + 1``.

    References:
        Ramaswamy, Rastogi and Shim (2000), Efficient algorithms for mining outliers from large
        data sets, SIGMOD.
    """
    k = checks.check_whole(k, "k", 1)
    given = rows(x, minimum=max(4, k + 1))
    n = len(given)
    checks.check_rate(near, "near")
    checks.same_length(x=given, labels=labels, splits=splits, groups=groups)
    order = np.random.default_rng(numpy_seed(key, "subset")).permutation(n)[:_CHOSEN_ON]
    some = given[np.sort(order)]
    wanted = [number for number in ks if number < len(some)]
    chosen = choose_k(stream(key, "clusters"), some, wanted)
    clusters = chosen.models[chosen.k].assign(given).labels
    place, distance = _nearest(given, k)
    far = distance[:, -1]
    isolation = far / max(float(np.median(far)), np.finfo(float).tiny)
    agreement = {}
    if labels is not None and len(set(np.asarray(labels).tolist())) > 1:
        for measure in (adjusted_rand, normalised_mutual_information):
            found = measure(labels, clusters, groups=groups)
            agreement[found.name] = found
    compared = given
    if pixels is not None:
        compared = rows(pixels, "pixels")
        checks.same_length(x=given, pixels=compared)
        place, distance = _nearest(compared, k)
    return Exploration(
        chosen,
        clusters,
        _near_pairs(compared, place, distance, near, splits, groups),
        np.argsort(-isolation, kind="stable"),
        isolation,
        agreement,
    )


def _nearest(x: NDArray, k: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    place, squared = nearest_rows(x, k)
    return place, np.sqrt(np.maximum(squared.astype(np.float64), 0))


def _near_pairs(x, place, distance, near, splits, groups) -> tuple[NearPair, ...]:
    """Pairs among the nearest rows, each once."""
    typical = float(np.median(distance[:, 0]))
    split = None if splits is None else np.asarray(splits)
    group = None if groups is None else np.asarray(groups)
    found = {}
    for i, j in zip(*np.nonzero(distance <= near * typical), strict=True):
        a, b = sorted((int(i), int(place[i, j])))
        # The product form of a distance is rounded: what is kept is a difference's.
        exact = float(np.sqrt(((x[a].astype(np.float64) - x[b]) ** 2).sum()))
        across = split is not None and bool(split[a] != split[b])
        if group is not None and group[a] == group[b] and not across:
            continue
        ratio = exact / typical if typical > 0 else 0.0
        found[a, b] = NearPair(a, b, exact, ratio, across)
    return tuple(sorted(found.values(), key=lambda p: (not p.across, p.distance, p.first)))
