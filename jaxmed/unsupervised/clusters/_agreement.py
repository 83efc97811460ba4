"""How well two partitions of the same cases agree, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from jaxmed import quantities, stats
from jaxmed.stats import checks


def adjusted_rand(
    labels: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> stats.Estimate:
    """Estimate the adjusted Rand index: agreement on pairs of cases, 0 by chance and 1 in full.

    Args:
        labels: (n,) a partition, such as the true classes; of any type.
        clusters: (n,) another one of the same cases.
        level: confidence level.
        groups: (n,) patient of each row: whole patients are drawn.
        n_resamples: bootstrap resamples.
        seed: same seed, same interval.

    Returns:
        The index with its interval over cases, the two partitions being given: what another
        clustering of the same cases would give is not in it. A case that is drawn twice makes no
        pair with itself. The interval is normal, by the bootstrap's standard error.

    Raises:
        ValueError: for other lengths, missing labels, or partitions of which both are one cluster,
            or both are single cases: no two cases tell them apart from chance.

    References:
        Hubert and Arabie (1985), Comparing partitions, Journal of Classification 2:193.

    Examples:
        >>> round(adjusted_rand([0, 0, 1, 1], ["a", "a", "b", "c"]).value, 3)
        0.571
    """
    tables = _Tables(labels, clusters, groups)

    def index(counts: Any) -> Any:
        return quantities.adjusted_rand(*tables.pairs(counts))

    return _estimated("adjusted Rand index", -1, tables, index, level, n_resamples, seed)


def normalised_mutual_information(
    labels: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> stats.Estimate:
    """Estimate the mutual information of two partitions over the mean of their entropies.

    It is 1 for the same partition and above 0 by chance, the more so the more clusters there are
    and the fewer cases: :func:`adjusted_rand` is 0 by chance.

    Args:
        labels: (n,) a partition, such as the true classes; of any type.
        clusters: (n,) another one of the same cases.
        level: confidence level.
        groups: (n,) patient of each row: whole patients are drawn.
        n_resamples: bootstrap resamples.
        seed: same seed, same interval.

    Returns:
        The ratio with its normal interval over cases, the two partitions being given. What few
        cases add to it by chance is in the interval as in the value.

    Raises:
        ValueError: for other lengths, missing labels, or partitions of which both are one cluster.

    References:
        Vinh, Epps and Bailey (2010), Information theoretic measures for clusterings comparison,
        Journal of Machine Learning Research 11:2837.

    Examples:
        >>> round(normalised_mutual_information([0, 0, 1, 1], [0, 0, 1, 2]).value, 3)
        0.8
    """
    tables = _Tables(labels, clusters, groups)

    def ratio(counts: Any) -> Any:
        return quantities.normalised_mutual_information(tables.shaped(counts))

    return _estimated("normalised mutual information", 0, tables, ratio, level, n_resamples, seed)


def partition_pairs(labels: ArrayLike, clusters: ArrayLike) -> tuple[Any, Any, Any, Any]:
    """Pairs of cases together in both partitions, in the first, in the second, and all."""
    tables = _Tables(labels, clusters, None)
    return tuple(part[0] for part in tables.pairs(np.ones((1, tables.units))))  # pyright: ignore


class _Tables:
    """Contingency tables of two partitions under how often each unit is drawn."""

    def __init__(self, labels: ArrayLike, clusters: ArrayLike, groups: ArrayLike | None):
        first, second = _codes(labels, "labels"), _codes(clusters, "clusters")
        self.n = checks.same_length(labels=first, clusters=second)
        if self.n < 2:
            raise ValueError(f"agreement is of pairs of cases, but there is {self.n} case")
        codes, self.units = checks.group_codes(groups, self.n)
        self.groups = groups
        self.unit = "case" if codes is None else "patient"
        self.shape = int(first.max()) + 1, int(second.max()) + 1
        rows = np.arange(self.n) if codes is None else codes
        cell = first * self.shape[1] + second
        # (units, parts): how many cases of a unit are in a cell, a row, a column, at all.
        whole = np.zeros_like(cell)
        sizes = (self.shape[0] * self.shape[1], *self.shape, 1)
        self._of = [
            sparse.csr_array((np.ones(self.n), (rows, part)), (self.units, size))
            for part, size in zip((cell, first, second, whole), sizes, strict=True)
        ]

    def shaped(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """The tables (b, rows, columns) under counts of units (b, units)."""
        return (counts @ self._of[0]).reshape(-1, *self.shape)

    def pairs(self, counts: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
        """Twice the pairs of different cases (b,) in the same cell, row, column, and of all.

        A unit drawn c times has c copies. Copies of one case make no pair; within a unit the
        pairs of different cases count once a copy.
        """
        for part in self._of:
            total = ((counts @ part) ** 2).sum(axis=1)
            squares = part.multiply(part)
            among_copies = (counts.astype(np.float64) ** 2) @ squares.sum(axis=1)
            inside = counts @ (squares - part).sum(axis=1)
            yield total - among_copies + inside


def _codes(values: ArrayLike, name: str) -> NDArray[np.intp]:
    """Names of clusters as 0..k-1."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be (n,), but their shape is {array.shape}")
    missing = [i for i, v in enumerate(array.tolist()) if v is None or v == "" or v != v]
    if missing:
        raise ValueError(f"{name} are missing for {len(missing)} rows, the first at {missing[0]}")
    return np.unique(array, return_inverse=True)[1]


def _estimated(
    name: str,
    least: float,
    tables: _Tables,
    measure: Callable[[Any], Any],
    level: float,
    n_resamples: int,
    seed: int,
) -> stats.Estimate:
    checks.check_level(level)
    value = float(measure(np.ones((1, tables.units)))[0])
    if not np.isfinite(value):
        raise ValueError(
            f"the {name} is 0 / 0: both partitions have one cluster, or all clusters one case"
        )
    if tables.units < 2:
        raise ValueError(f"an interval needs 2 patients or more, but there is {tables.units}")
    draws = stats.draw_resamples(tables.units, n_resamples, seed=seed)
    values = np.concatenate([measure(counts) for counts in draws.chunks()])
    good = values[np.isfinite(values)]
    if len(good) < n_resamples / 2:
        raise ValueError(f"undefined on {n_resamples - len(good)} of {n_resamples} resamples")
    se = quantities.deviation(good) if good.size > 1 else float("nan")
    half = checks.quantile(level) * se
    notes = (
        () if len(good) == n_resamples else (f"undefined on {n_resamples - len(good)} resamples",)
    )
    return stats.Estimate(
        value, max(value - half, least), min(value + half, 1.0), level, tables.units, tables.unit,
        f"normal bootstrap ({n_resamples} resamples)", notes, se=float(se), name=name,
    )  # fmt: skip
