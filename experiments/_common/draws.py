"""Batches of replicates, each from rows of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource
from jaxmed.paradigms import member_key


def replicates(learner: jm.Learner, n: int, strategy: str) -> jm.Learner:
    """An ensemble whose members have batches of their own, and are made by one small program.

    `ensemble` makes its members one by one, which is a program n times as long to compile; mapped,
    the same keys draw the same numbers.
    """
    many = jm.ensemble(learner, n, strategy=strategy, own_batches=True)

    def init(key, batch):
        keys = jnp.stack([member_key(key, i) for i in range(n)])
        state = jax.vmap(learner.init)(keys, batch)
        return state._replace(step=state.step[0])

    return many._replace(init=init)


class Gathered:
    """Batches that are rows of `source`, as `rows(step)` gives them with their weights."""

    source: ArraySource
    steps: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows, weight = self.rows(step)
        batch = {name: array[rows] for name, array in self.source.arrays.items()}
        return {**batch, "weight": weight, "index": rows}

    def iterate(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """All batches from a step on."""
        while True:
            yield self[start]
            start += 1


@dataclasses.dataclass(frozen=True)
class Draws(Gathered):
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


def _drawn(pool: np.ndarray, size: int, step: int, seed: tuple[int, int]) -> np.ndarray:
    epoch, place = np.divmod(np.arange(step * size, (step + 1) * size), len(pool))
    orders = {e: np.random.default_rng([*seed, e]).permutation(pool) for e in np.unique(epoch)}
    return np.array([orders[e][p] for e, p in zip(epoch, place)], np.int64)
