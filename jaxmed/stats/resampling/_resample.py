"""Resampling as counts: how often each row enters each resample, drawn in bounded chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.stats.checks import Floats, as_array, group_codes, same_length, unknown

# Rows x resamples drawn at a time: keeps a chunk near the cache size and memory bounded.
CHUNK = 2_000_000
SCHEMES = ("ordinary", "bayesian", "hierarchical", "subsample")


def chunk_sizes(n_resamples: int, n: int) -> list[int]:
    """Split the resamples so that a chunk has about `CHUNK` entries."""
    size = max(1, min(n_resamples, CHUNK // max(n, 1)))
    whole, rest = divmod(n_resamples, size)
    return [size] * whole + ([rest] if rest else [])


def multinomial_counts(rng: np.random.Generator, size: int, n: int, draws: int) -> NDArray:
    """Return (size, n) counts of `draws` draws with replacement from n."""
    kind = np.uint16 if n < 65536 else np.int64
    index = rng.integers(0, n, (size, draws), dtype=kind).astype(np.intp)
    index += (np.arange(size, dtype=np.intp) * n)[:, None]
    return np.bincount(index.ravel(), minlength=size * n).reshape(size, n)


def _unit_weights(
    rng: np.random.Generator,
    size: int,
    members: list[NDArray[np.intp]],
    n: int,
    scheme: str,
    fraction: float,
) -> Floats:
    """Return (size, n) weights of n units, drawn stratum by stratum."""
    weights = np.zeros((size, n))
    for index in members:
        m = index.size
        if scheme == "bayesian":
            drawn = rng.standard_exponential((size, m))
            drawn *= m / drawn.sum(axis=1, keepdims=True)
        elif scheme == "subsample":
            keep = max(1, round(fraction * m))
            order = np.argpartition(rng.random((size, m)), keep - 1, axis=1)[:, :keep]
            drawn = np.zeros((size, m))
            np.put_along_axis(drawn, order, 1.0, axis=1)
        else:
            drawn = multinomial_counts(rng, size, m, m)
        weights[:, index] = drawn
    return weights


def _within(rng: np.random.Generator, counts: NDArray, codes: NDArray[np.intp]) -> Floats:
    """Draw rows inside each drawn group: the second stage of the hierarchical bootstrap."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=counts.shape[1])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    n = codes.size
    weights = np.empty((counts.shape[0], n))
    for row, drawn in enumerate(counts.astype(np.intp)):
        copies = np.repeat(np.arange(drawn.size), drawn)
        lengths = sizes[copies]
        begin = np.repeat(starts[copies], lengths)
        offset = (rng.random(begin.size) * np.repeat(lengths, lengths)).astype(np.intp)
        weights[row] = np.bincount(order[begin + offset], minlength=n)
    return weights


def resample_weights(
    rng: np.random.Generator,
    n: int,
    n_resamples: int,
    *,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    scheme: str = "ordinary",
    fraction: float = 0.632,
) -> Iterator[Floats]:
    """Yield chunks (b, n) of weights: how often each of n rows enters each resample.

    Args:
        rng: source of randomness.
        n: number of rows.
        n_resamples: resamples in all.
        strata: (n,) rows (or whole groups) are drawn inside each stratum.
        groups: (n,) whole groups are drawn, as patients with all their rows.
        scheme: `ordinary`; `bayesian` (Dirichlet weights, Rubin 1981); `hierarchical` (groups,
            then rows inside them); `subsample` (without replacement).
        fraction: share of units kept by `subsample`.

    Yields:
        Weights, one row per resample.

    Raises:
        ValueError: for an unknown scheme, a group in two strata, or hierarchical without groups.
    """
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    codes, k = group_codes(groups, n)
    if scheme == "hierarchical" and codes is None:
        raise ValueError("scheme 'hierarchical' needs groups=: the patient of each row")
    if strata is None:
        members = [np.arange(k)]
    else:
        names, layer = np.unique(as_array(strata, "strata"), return_inverse=True)
        same_length(data=range(n), strata=layer)
        if codes is not None:
            unit_layer = np.full(k, -1)
            unit_layer[codes] = layer
            if (unit_layer[codes] != layer).any():
                raise ValueError("a group has rows in two strata: stratify by a group's property")
            layer = unit_layer
        members = [np.flatnonzero(layer == s) for s in range(len(names))]
    for size in chunk_sizes(n_resamples, max(n, k)):
        units = _unit_weights(rng, size, members, k, scheme, fraction)
        if codes is None:
            yield units
        elif scheme == "hierarchical":
            yield _within(rng, units, codes)
        else:
            yield units[:, codes]
