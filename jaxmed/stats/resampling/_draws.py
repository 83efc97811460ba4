"""Resamples drawn once and used for every metric of every model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from jaxmed.quantities import deviation
from jaxmed.stats._result import TestResult
from jaxmed.stats.checks import Floats, as_array, check_level, group_codes, spelled, unknown
from jaxmed.stats.resampling._bootstrap import Replicates, interval_from_replicates
from jaxmed.stats.resampling._resample import multinomial_counts

_CHUNK = 250_000  # Entries of a chunk, as float32 a megabyte: it stays in a core's cache.
_KEPT = (
    200_000_000  # Counts kept in memory, one byte each; beyond this, they are redrawn each time.
)


@dataclasses.dataclass(frozen=True)
class Draws:
    """Resamples of the same rows; made by `draw_resamples`.

    Attributes:
        n: rows.
        k: units that are drawn: rows, or groups.
        n_resamples: number of resamples.
        seed: they are drawn from.
        unit: name of the unit.
        codes: (n,) unit of each row, or None if each row is its own unit.
    """

    n: int
    k: int
    n_resamples: int
    seed: int
    unit: str
    codes: NDArray[np.intp] | None = None
    kept: tuple[NDArray[np.uint8], ...] = ()

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Yield (b, n) float32 weights: how often each row enters each resample."""
        for counts in self.kept or _counts(self.k, self.n_resamples, self.n, self.seed):
            yield self._weights(counts)

    def _weights(self, counts: NDArray) -> NDArray[np.float32]:
        weights = counts.astype(np.float32)
        return weights if self.codes is None else weights[:, self.codes]


def draw_resamples(
    n: int,
    n_resamples: int = 2000,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    unit: str | None = None,
) -> Draws:
    """Draw resamples of n rows once, for reuse by several metrics.

    Args:
        n: rows.
        n_resamples: number of resamples.
        groups: (n,) patient of each row: whole patients are drawn.
        seed: same seed, same resamples.
        unit: name of the drawn unit.

    Returns:
        The resamples, for `replicates_on`. Their counts are kept in memory up to 200 MB.

    Raises:
        ValueError: fewer than two units, or no resample.

    Examples:
        >>> [weights.sum(1).tolist() for weights in draw_resamples(4, 3).chunks()]
        [[4.0, 4.0, 4.0]]
    """
    codes, k = group_codes(groups, n)
    if k < 2 or n_resamples < 1:
        raise ValueError(f"a bootstrap needs 2 units and 1 resample, got {k} and {n_resamples}")
    noun = unit or ("case" if codes is None else "patient")
    kept: tuple[NDArray[np.uint8], ...] = ()
    if k * n_resamples <= _KEPT:
        chunks = list(_counts(k, n_resamples, n, seed))
        if max(int(c.max()) for c in chunks) < 256:
            kept = tuple(c.astype(np.uint8) for c in chunks)
    return Draws(n, k, n_resamples, seed, noun, codes, kept)


def _counts(k: int, n_resamples: int, n: int, seed: int) -> Iterator[NDArray]:
    rng = np.random.Generator(np.random.SFC64(seed))
    step = max(1, min(n_resamples, _CHUNK // max(n, k)))
    for start in range(0, n_resamples, step):
        yield multinomial_counts(rng, min(step, n_resamples - start), k, k)


def replicates_on(draws: Draws, metric: Callable[..., Any], *data: ArrayLike) -> Replicates:
    """Return a metric on every resample.

    Args:
        draws: result of `draw_resamples`.
        metric: `(*data, weights (b, n)) -> (b,)`, such as `lambda y, s, w: weighted_auc(y, s, w)`.
        *data: arrays of n rows.

    Returns:
        The value on the data and on each resample, in order; NaN where the metric is undefined.

    Raises:
        ValueError: if the data have a different number of rows.

    Examples:
        >>> x = np.arange(10.0)
        >>> found = replicates_on(draw_resamples(10, 50), lambda x, w: w @ x / w.sum(1), x)
        >>> found.value, found.replicates.shape
        (4.5, (50,))
    """
    arrays = tuple(as_array(array, f"data {i}") for i, array in enumerate(data))
    for array in arrays:
        if len(array) != draws.n:
            raise ValueError(f"the resamples are of {draws.n} rows, the data have {len(array)}")
    point = float(np.asarray(metric(*arrays, np.ones((1, draws.n), np.float32)))[0])

    def run(weights: NDArray[np.float32]) -> Floats:
        return np.asarray(metric(*arrays, weights), np.float64)

    if draws.n * draws.n_resamples < 2_000_000 or not draws.kept:
        parts = [run(weights) for weights in draws.chunks()]
    else:  # the work is in NumPy, which releases the interpreter lock
        with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
            parts = list(pool.map(lambda counts: run(draws._weights(counts)), draws.kept))
    values = np.concatenate(parts)
    return Replicates(point, values, int((~np.isfinite(values)).sum()))


def replicates_test(
    first: Replicates,
    second: Replicates,
    draws: Draws,
    *,
    method: str = "normal",
    level: float = 0.95,
    name: str = "difference",
) -> TestResult:
    """Compare two models by their replicates on the same resamples (see `bootstrap_test`).

    Args:
        first: values of the first model.
        second: values of the second model.
        draws: resamples of both.
        method: as in `bootstrap_test`.
        level: confidence level of the interval.
        name: name of the compared quantity.

    Returns:
        The test of first - second.

    Raises:
        ValueError: a metric that is undefined on the data or on most resamples.

    Examples:
        >>> x, y, on = np.arange(20.0), np.arange(20.0) + 1, draw_resamples(20, 50)
        >>> mean = lambda x, w: w @ x / w.sum(1)
        >>> replicates_test(replicates_on(on, mean, y), replicates_on(on, mean, x), on).effect
        1.0
    """
    check_level(level)
    effect = first.value - second.value
    gap = first.replicates - second.replicates
    return result_of_replicates(
        effect, gap[np.isfinite(gap)], draws.n_resamples, draws.k, draws.unit,
        method=method, level=level, name=name,
    )  # fmt: skip


def result_of_replicates(
    effect: float,
    values: Floats,
    n_resamples: int,
    k: int,
    unit: str,
    *,
    method: str,
    level: float,
    name: str,
) -> TestResult:
    """Build the test of an effect from its finite replicates."""
    chosen = spelled(method)
    if chosen not in ("normal", "percentile"):
        raise unknown("method", method, ("normal", "percentile"))
    failed = n_resamples - values.size
    if failed > n_resamples / 2 or not np.isfinite(effect):
        raise ValueError(f"the metric is undefined on the data or on {failed} resamples")
    notes: tuple[str, ...] = ()
    if failed:
        notes += (f"undefined on {failed} of {n_resamples} resamples, left out",)
    se = deviation(values) if values.size > 1 else 0.0
    if se == 0:
        notes += ("all resamples agree: the bootstrap says nothing about the error here",)
    z = effect / se if se > 0 else (0.0 if effect == 0 else np.inf)
    if chosen == "normal":
        p = 2 * float(special.ndtr(-abs(z)))
    else:
        below, above = int((values <= 0).sum()), int((values >= 0).sum())
        p = min(1.0, 2 * (min(below, above) + 1) / (values.size + 1))
    interval = interval_from_replicates(effect, values, method="percentile", level=level)
    return TestResult(
        float(z), p, effect, interval, k, unit,
        f"paired bootstrap, {chosen} ({n_resamples} resamples)", notes, level,
        details={"se": se}, name=name,
    )  # fmt: skip
