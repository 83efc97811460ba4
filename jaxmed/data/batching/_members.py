"""Batches for the members of an ensemble, each from rows of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed.data._source import Example, Source, as_source, fingerprint, take
from jaxmed.data.batching._batches import Batches

Rows = Callable[[int], tuple[NDArray[np.int32], NDArray[np.float32]]]
"""``(step) -> (positions, weights)``, ``(members, rows, ...)`` and ``(members, rows)``."""


@dataclass(frozen=True)
class MemberBatches:
    """An endless sequence of batches with a leading axis of members; see `member_batches`.

    What ``ensemble(..., own_batches=True)`` is trained on. Made by hand of any function of the step
    that chooses rows: each step is a pure function of its number.

    Attributes:
        source: the examples.
        plan: ``(step) -> (positions (members, rows, ...), weights (members, rows))``.
        steps: how many batches are called an epoch.
    """

    source: Source
    plan: Rows
    steps: int

    def __len__(self) -> int:
        return self.steps

    @property
    def size(self) -> int:
        """Rows of a batch."""
        return self.rows(0)[0].shape[1]

    def rows(self, step: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Positions and weights of a step."""
        return self.plan(step)

    def identity(self) -> dict[str, Any]:
        """What the batches are cut from; their order is seen in the first of them."""
        return {
            "examples": len(self.source),
            "steps": self.steps,
            "data": fingerprint(self.source),
        }

    def __getitem__(self, step: int) -> Example:
        positions, weight = self.rows(step)
        found = take(self.source, positions.ravel())
        batch = {
            name: np.reshape(value, (*positions.shape, *np.shape(value)[1:]))
            for name, value in found.items()
        }
        if "weight" in batch and batch["weight"].shape == weight.shape:
            weight = weight * batch["weight"]
        return {**batch, "weight": weight, "index": positions}

    iterate = Batches.iterate


def member_batches(
    source: Any,
    pools: Sequence[Sequence[ArrayLike]],
    sizes: Sequence[int],
    *,
    steps: int,
    seed: int = 0,
) -> MemberBatches:
    """Make batches in which each member of an ensemble draws from pools of its own.

    Row ``i`` of a pool's share comes from one permutation of the pool after another, so that each
    example comes as often as any other, and every step is a pure function of its number. A member's
    order depends on ``seed + member`` and the pool's place alone.

    Args:
        source: a source, or a dict of arrays with one leading axis.
        pools: for each member, its pools: positions in the source. A pool may be a few labelled
            images, another all images.
        sizes: how many rows a batch has of each pool, in that order.
        steps: how many batches are called an epoch.
        seed: of the permutations.

    Returns:
        The batches: the source's fields ``(members, rows, ...)``, ``weight`` ``(members, rows)``,
        all 1 where the source has none, and ``index``.

    Raises:
        ValueError: for no member, no rows, an empty pool that is drawn from, or a member with
            another number of pools than ``sizes``.

    Examples:
        >>> data = {"label": np.arange(6)}
        >>> b = member_batches(data, [([0, 1], range(6)), ([4, 5], range(6))], (2, 1), steps=3)
        >>> b[0]["label"].shape, sorted(b[0]["label"][1, :2].tolist())
        ((2, 3), [4, 5])
    """
    source, sizes = as_source(source), tuple(int(size) for size in sizes)
    every = [[np.asarray(pool, np.int64) for pool in own] for own in pools]
    if not every or min(sizes, default=0) < 0 or sum(sizes) < 1 or steps < 1:
        raise ValueError(
            f"member_batches needs members, rows and steps, got {len(every)} members, "
            f"sizes={sizes}, steps={steps}"
        )
    for i, own in enumerate(every):
        if len(own) != len(sizes):
            raise ValueError(f"member {i} has {len(own)} pools for sizes={sizes}")
        if any(size and not len(pool) for pool, size in zip(own, sizes, strict=True)):
            raise ValueError(f"member {i} has an empty pool to draw from, sizes={sizes}")

    def plan(step: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        rows = np.stack([
            np.concatenate([
                _drawn(pool, size, step, (seed + i, which))
                for which, (pool, size) in enumerate(zip(own, sizes, strict=True))
            ])
            for i, own in enumerate(every)
        ])  # fmt: skip
        return rows.astype(np.int32), np.ones(rows.shape, np.float32)

    return MemberBatches(source, plan, steps)


def _drawn(pool: NDArray, size: int, step: int, seed: tuple[int, int]) -> NDArray:
    if not size:
        return np.zeros(0, np.int64)
    epoch, place = np.divmod(np.arange(step * size, (step + 1) * size), len(pool))
    orders = {e: np.random.default_rng([*seed, e]).permutation(pool) for e in np.unique(epoch)}
    return np.array([orders[e][p] for e, p in zip(epoch, place, strict=True)], np.int64)
