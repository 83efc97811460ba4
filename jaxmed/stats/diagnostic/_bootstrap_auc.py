"""Vectorised bootstrap of the AUC: counts over ranks that are sorted once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed.quantities import placements, weighted_auc
from jaxmed.quantities._ranks import negatives_below
from jaxmed.stats.checks import Floats
from jaxmed.stats.resampling._bootstrap import acceleration, interval_from_replicates
from jaxmed.stats.resampling._resample import chunk_sizes, resample_weights


def _draw(stream: np.random.SFC64, n: int, size: int) -> NDArray[np.intp]:
    """Draw indices below n: 32 random bits times n, of which the upper bits are kept.

    Each index's relative probability error is at most n / 2^32: 2e-6 for ten thousand cases.
    """
    words = stream.random_raw((size + 1) // 2).view(np.uint32)[:size]
    wide = np.multiply(words, np.uint64(n), dtype=np.uint64)
    wide >>= np.uint64(32)
    return wide.view(np.intp)


def stratified_auc_replicates(
    positive: NDArray[np.bool_], scores: Floats, n_resamples: int, seed: int
) -> Floats:
    """Return AUC on stratified resamples.

    Each resample counts how often each negative was drawn, sums these counts in rank order, and
    reads the sums at the ranks of the positives drawn: no sorting and no table of n x resamples.
    """
    low, high = negatives_below(positive, scores)
    n1, n0 = low.size, scores.size - low.size
    tied = bool((low != high).any())
    bits = np.random.SFC64(seed)
    total = np.zeros(n0 + 1, dtype=np.int64)
    values = np.empty(n_resamples)
    # One thread: with calls this short a second one waits for the interpreter and doubles the time.
    for i in range(n_resamples):
        counts = np.bincount(_draw(bits, n0, n0), minlength=n0)
        np.cumsum(counts, out=total[1:])
        below = total.take(low)
        if tied:
            below += total.take(high)
        values[i] = below.take(_draw(bits, n1, n1)).sum()
    return values / (n1 * n0 * (2 if tied else 1))


def auc_replicates(
    positive: NDArray[np.bool_],
    scores: Floats,
    codes: NDArray[np.intp] | None,
    n_resamples: int,
    stratified: bool,
    seed: int,
) -> Floats:
    """Return AUC on each resample of cases, of cases within class, or of groups."""
    if codes is None and stratified:
        return stratified_auc_replicates(positive, scores, n_resamples, seed)
    rng = np.random.default_rng(seed)
    chunks = resample_weights(rng, scores.size, n_resamples, groups=codes)
    return np.concatenate([weighted_auc(positive, scores, weights) for weights in chunks])


def bootstrap_auc_limits(
    positive: NDArray[np.bool_],
    scores: Floats,
    codes: NDArray[np.intp] | None,
    k: int,
    n_resamples: int,
    stratified: bool,
    seed: int,
    level: float,
    method: str,
) -> tuple[float, float, float, dict[str, Any]]:
    """Return lower, upper, standard error and details for `auc`."""
    values = auc_replicates(positive, scores, codes, n_resamples, stratified, seed)
    good = values[np.isfinite(values)]
    if good.size < n_resamples / 2:
        raise ValueError(f"a class is missing in {n_resamples - good.size} resamples")
    parts = placements(positive, scores)
    a = 0.0
    if method == "bca":
        if codes is None:
            a = _acceleration(parts.positives, parts.negatives, stratified)
        else:
            left_out = []
            for size in chunk_sizes(k, scores.size):
                done = len(left_out) and sum(map(len, left_out))
                units = np.arange(done, done + size)
                weights = (codes[None, :] != units[:, None]).astype(np.float64)
                left_out.append(weighted_auc(positive, scores, weights))
            kept = np.concatenate(left_out)
            a = acceleration(kept[np.isfinite(kept)])
    low, high = interval_from_replicates(
        parts.auc,
        good,
        method="bca" if method == "bca" else "percentile",
        level=level,
        accelerate=a,
    )
    extra = {"failed_resamples": n_resamples - good.size, "median": float(np.median(good))}
    return low, high, float(good.std(ddof=1)), extra


def _acceleration(v10: Floats, v01: Floats, stratified: bool) -> float:
    """Compute the acceleration from the AUC's influence values, without re-sorting."""
    n1, n0 = v10.size, v01.size
    area = v10.mean()
    out1 = (n1 * area - v10) / max(n1 - 1, 1)
    out0 = (n0 * area - v01) / max(n0 - 1, 1)
    values = np.concatenate([out1, out0])
    return acceleration(values, np.repeat([0, 1], [n1, n0]) if stratified else None)
