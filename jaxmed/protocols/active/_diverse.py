"""Acquisitions that cover the cases: by their features, with or without a model's doubt."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from jaxmed.core import Key, stream
from jaxmed.protocols.active._pool import Floats, Pool, generator, wanted
from jaxmed.unsupervised import kmeans
from jaxmed.unsupervised._neighbours import nearest_rows

Places = NDArray[np.intp]
_NEAR = 20  # Neighbours by which a case is typical.
_CLUSTERS = 500


def ask_core_set(key: Key, pool: Pool, n: int) -> Places:
    """Ask for cases so that each has a labelled one near: greedy k-centre cover.

    Each is the case farthest from all labelled and chosen ones, so that the largest distance that
    is left is at most twice the least possible. Outliers come first, where there are any.

    References:
        Sener and Savarese (2018), Active learning for convolutional neural networks: a core-set
        approach, ICLR.
    """
    x, n = pool.places(), wanted(pool, n)
    if pool.labelled is not None and len(pool.labelled):
        least = _nearest(x, pool.labelled)
        chosen: list[int] = []
    else:
        chosen = [int(generator(key, "core set").integers(len(x)))]
        least = ((x - x[chosen[0]]) ** 2).sum(1)
    while len(chosen) < n:
        least[chosen] = -1
        chosen.append(int(np.argmax(least)))
        least = np.minimum(least, ((x - x[chosen[-1]]) ** 2).sum(1))
    return np.array(chosen[:n], np.intp)


def ask_badge(key: Key, pool: Pool, n: int) -> Places:
    """Ask for cases whose gradients are long and of different directions: BADGE.

    The gradient of the last layer's weights, if the most probable class were the true one, is the
    outer product of the features and of what the probabilities lack; cases are drawn by k-means++
    among these gradients, which are never written out.

    References:
        Ash et al. (2020), Deep batch active learning by diverse, uncertain gradient lower bounds,
        ICLR.
    """
    x, p, n = pool.places(), pool.mean, wanted(pool, n)
    lack = p - np.eye(p.shape[1])[p.argmax(1)]
    rng = generator(key, "badge")
    length = (x**2).sum(1) * (lack**2).sum(1)

    def to(i: int) -> Floats:
        inner = (x @ x[i]) * (lack @ lack[i])
        return np.maximum(length + length[i] - 2 * inner, 0)

    chosen = [int(np.argmax(length))]
    least = to(chosen[0])
    while len(chosen) < n:
        least[chosen] = 0
        total = least.sum()
        if total > 0:
            chosen.append(int(rng.choice(len(x), p=least / total)))
        else:  # All that is left is a copy of what was chosen.
            rest = np.setdiff1d(np.arange(len(x)), chosen)
            chosen.append(int(rng.choice(rest)))
        least = np.minimum(least, to(chosen[-1]))
    return np.array(chosen, np.intp)


def ask_typical(key: Key, pool: Pool, n: int) -> Places:
    """Ask for typical cases of different kinds: for few labels or none, and no model.

    All cases, labelled ones too, are divided by k-means into as many clusters as there will be
    labels (at most 500). Of the largest clusters without a label each gives its most typical case,
    the one with the least mean distance to its 20 nearest.

    References:
        Hacohen, Dekel and Weinshall (2022), Active learning on a budget: opposite strategies suit
        high and low budgets, ICML.
    """
    x, n = pool.places(), wanted(pool, n)
    known = pool.labelled if pool.labelled is not None else x[:0]
    everyone = np.concatenate([x, known])
    count = min(len(known) + n, _CLUSTERS, len(everyone))
    with warnings.catch_warnings():  # of copies, which leave clusters empty
        warnings.filterwarnings("ignore", message=".*clusters are empty", category=UserWarning)
        found = kmeans(stream(key, "typical"), everyone, count, restarts=1)
    cluster = np.asarray(found.assign(everyone).labels)
    near = min(_NEAR, len(everyone) - 1)
    density = (
        -np.sqrt(np.maximum(nearest_rows(everyone, near)[1], 0)).mean(1) if near else 0 * x[:, 0]
    )
    labels_in = np.bincount(cluster[len(x) :], minlength=count)
    size = np.bincount(cluster, minlength=count)
    waiting = np.ones(len(x), bool)
    chosen: list[int] = []
    while len(chosen) < n:
        here = np.bincount(cluster[: len(x)][waiting], minlength=count)
        # Fewest labels first, then the largest; a cluster gives again once all others have given.
        order = np.lexsort((-size, labels_in + np.where(here > 0, 0, len(everyone))))
        rows = np.flatnonzero(waiting & (cluster[: len(x)] == order[0]))
        best = int(rows[np.argmax(density[rows])])
        chosen.append(best)
        waiting[best] = False
        labels_in[order[0]] += 1
    return np.array(chosen, np.intp)


def _nearest(x: Floats, known: Floats) -> Floats:
    """The squared distance (cases,) of each row to the nearest known one."""
    least = np.full(len(x), np.inf)
    for row in known:
        least = np.minimum(least, ((x - row) ** 2).sum(1))
    return least
