"""Batches with a stated number of examples of each class."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed.data._error import fault
from jaxmed.data._source import as_source, column
from jaxmed.data.batching._batches import Batches, Transform, batches


@dataclass(frozen=True)
class BalancedBatches(Batches):
    """Batches of so many examples of each class; made by `balanced_batches`.

    Attributes:
        counts: examples of each class in a batch, by the class.
        pools: positions in the source of each class's examples, in that order.
    """

    counts: tuple[tuple[Any, int], ...] = ()
    pools: tuple[NDArray[np.int64], ...] = ()

    def __len__(self) -> int:
        drawn = zip(self.counts, self.pools, strict=True)
        return max(-(-len(pool) // count) for (_, count), pool in drawn)

    def indices(self, step: int) -> NDArray[np.int64]:
        """Positions in the source of the rows of the whole global batch, (size,)."""
        if step < 0:
            raise IndexError(f"a step is at least 0, got {step}")
        parts = []
        for (value, count), pool in zip(self.counts, self.pools, strict=True):
            turn, place = np.divmod(np.arange(step * count, (step + 1) * count), len(pool))
            name = zlib.crc32(str(value).encode())
            orders = {t: _order(self.seed, name, int(t), len(pool)) for t in np.unique(turn)}
            parts.append([pool[orders[t][p]] for t, p in zip(turn, place, strict=True)])
        rows = np.concatenate(parts).astype(np.int64)
        # Classes in turn would give each of several devices classes of its own.
        return np.random.default_rng([self.seed, step, self.size]).permutation(rows)

    def identity(self) -> dict[str, Any]:
        """What is cut into batches, and in which order: by it a run knows its own data again."""
        pools = zlib.crc32(b"".join(pool.tobytes() for pool in self.pools))
        counts = [[str(value), count] for value, count in self.counts]
        return {**super().identity(), "counts": counts, "pools": pools}


@functools.lru_cache(maxsize=64)
def _order(seed: int, name: int, turn: int, n: int) -> NDArray[np.int64]:
    order = np.random.default_rng([seed, name, turn]).permutation(n)
    order.flags.writeable = False
    return order


def balanced_batches(
    source: Any,
    size: int | Mapping[Any, int],
    *,
    by: str | Sequence[Any] | np.ndarray = "label",
    seed: int = 0,
    transform: Transform | None = None,
    shard: tuple[int, int] = (0, 1),
) -> BalancedBatches:
    """Make batches that all hold the same number of examples of each class, or of those stated.

    A class's examples come from one permutation of them after another, so that each comes as often
    as any other of its class; a rare class's come more often than a frequent one's. The order
    within a class depends on ``seed`` and the class's own name alone, and a batch on its step, so
    that a run resumes where it was. An epoch is as long as it takes until every example of every
    class has come at least once; no batch has padding rows.

    A network trained so takes the classes for equally frequent: correct its probabilities where
    they are not (`protocols.prior_shift`), or take `losses.logit_adjusted`.

    Args:
        source: a source, or a dict of arrays with one leading axis.
        size: rows of the global batch, a multiple of the number of classes; or how many rows each
            class has, ``{"benign": 12, "malignant": 4}``.
        by: field of one value an example, by which it is one class's: labels, sites, or both in one
            text; or these values, (n,).
        seed: of the permutations and the transforms.
        transform: as in `batches`.
        shard: as in `batches`.

    Returns:
        The batches: dicts of the source's fields with ``weight`` (size,) float32, 1 where the
        source has none, and ``index`` (size,) int32 added.

    Raises:
        DataError: an empty source, one class alone, or a value that is missing (NaN).
        ValueError: a size that does not divide, counts below 1 or of other classes, or values that
            are not one an example.

    Examples:
        >>> data = {"label": np.array([0, 0, 0, 0, 1])}
        >>> b = balanced_batches(data, 4)
        >>> len(b), [sorted(batch["label"].tolist()) for batch in b]
        (2, [[0, 0, 1, 1], [0, 0, 1, 1]])
        >>> sorted(balanced_batches(data, {0: 3, 1: 1})[0]["label"].tolist())
        [0, 0, 0, 1]
    """
    source = as_source(source)
    told = np.asarray(column(source, by) if isinstance(by, str) else by)
    if told.shape != (len(source),):
        raise ValueError(
            f"by gives values of the shape {told.shape}; it must be ({len(source)},), one an "
            "example"
        )
    where = f"{getattr(source, 'name', 'source')}: {by if isinstance(by, str) else 'by'}"
    if told.dtype.kind == "f" and np.isnan(told).any():
        raise fault(where, "non-empty", f"{np.isnan(told).sum()} examples have no value (NaN)")
    values, codes = np.unique(told, return_inverse=True)
    classes = values.tolist()
    if len(classes) < 2:
        one = f"all {len(source)} examples are of one class, {classes[0]!r}"
        raise fault(where, "non-empty", one)
    if isinstance(size, Mapping):
        if unknown := sorted(map(str, {*size} ^ {*classes})):
            raise ValueError(f"counts and classes differ by {unknown}; the classes are {classes}")
        counts = {value: int(size[value]) for value in classes}
    else:
        if size < len(classes) or size % len(classes):
            raise ValueError(
                f"a batch of {size} rows does not divide into {len(classes)} classes: take a "
                "multiple, or say how many rows each has"
            )
        counts = dict.fromkeys(classes, size // len(classes))
    if bad := {value: count for value, count in counts.items() if count < 1}:
        raise ValueError(f"a class has at least 1 row a batch, got {bad}")
    plain = batches(source, sum(counts.values()), seed=seed, transform=transform, shard=shard)
    pools = tuple(np.flatnonzero(codes == k) for k in range(len(classes)))
    return BalancedBatches(**vars(plain), counts=tuple(counts.items()), pools=pools)
