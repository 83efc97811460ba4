"""Batches of replicates, each from rows of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from jaxmed.data import ArraySource


@dataclasses.dataclass(frozen=True)
class Draws:
    """Batches of all seeds, (seeds, rows, ...): labelled images first, then any training images.

    Each stream is one permutation after another, so that every step is a pure function of its
    number, and each image comes as often as any other.
    """

    source: ArraySource
    labelled: tuple[np.ndarray, ...]
    sizes: tuple[int, int]
    steps: int
    seed: int

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def __len__(self) -> int:
        return self.steps

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and weights of a step, (seeds, rows) both."""
        everyone = np.arange(len(self.source))
        rows = np.stack([
            np.concatenate([
                _drawn(pool, size, step, (self.seed + i, which))
                for which, (pool, size) in enumerate(zip((kept, everyone), self.sizes))
            ])
            for i, kept in enumerate(self.labelled)
        ])  # fmt: skip
        return rows.astype(np.int32), np.ones(rows.shape, np.float32)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows, weight = self.rows(step)
        batch = {name: array[rows] for name, array in self.source.arrays.items()}
        return {**batch, "weight": weight, "index": rows}

    def iterate(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """All batches from a step on."""
        while True:
            yield self[start]
            start += 1


def _drawn(pool: np.ndarray, size: int, step: int, seed: tuple[int, int]) -> np.ndarray:
    epoch, place = np.divmod(np.arange(step * size, (step + 1) * size), len(pool))
    orders = {e: np.random.default_rng([*seed, e]).permutation(pool) for e in np.unique(epoch)}
    return np.array([orders[e][p] for e, p in zip(epoch, place)], np.int64)
