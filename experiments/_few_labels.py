"""Data of the paradigm table: the labels that are kept, and the batches of all seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxmed.core import Objective
from jaxmed.data import MEDMNIST, ArraySource, in_memory, map_source, medmnist, split

KINDS = {"binary": "binary", "multiclass": "multi-class", "ordinal": "ordinal"}


class Task(NamedTuple):
    """The data: three parts in memory, and the labelled positions of each seed."""

    kind: str
    classes: tuple[str, ...]
    parts: Mapping[str, ArraySource]
    labelled: tuple[np.ndarray, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.parts["test"].notes)


def read(config: Any) -> Task:
    """Read a set, and choose each seed's labelled images."""
    entry = MEDMNIST.get(config.dataset)
    if entry is None or entry.task not in KINDS:
        known = sorted(name for name, e in MEDMNIST.items() if e.task in KINDS)
        raise ValueError(f"dataset is one of {', '.join(known)}, got {config.dataset!r}")
    if not 0 < config.labels <= 1:
        raise ValueError(f"labels is a share in (0, 1], got {config.labels}")
    parts = {name: _part(config, name) for name in ("train", "val", "test")}
    truth = parts["train"].arrays["label"]
    chosen = []
    for seed in range(config.seed, config.seed + config.seeds):
        shares = {"labelled": config.labels, "rest": 1 - config.labels}
        everyone = np.arange(len(truth))
        kept = everyone if config.labels == 1 else split(truth, shares, seed=seed)["labelled"]
        chosen.append(kept)
    return Task(KINDS[entry.task], tuple(parts["train"].classes), parts, tuple(chosen))


def _part(config: Any, name: str) -> ArraySource:
    source = medmnist(config.dataset, name, size=config.size)
    scale = lambda batch: {**batch, "image": (batch["image"] - 0.5) / 0.5}  # noqa: E731
    return in_memory(map_source(source, scale, batched=True))


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


def parted(objective: Objective, labelled: int) -> Objective:
    """An objective that sees the first rows of a batch as labelled, the images of the others alone.

    No label of the other rows reaches it.
    """

    def seen(batch):
        images = batch["image"]
        return {
            "image": images[:labelled],
            "label": batch["label"][:labelled],
            "weight": batch["weight"][:labelled],
            "unlabelled": images[labelled:],
        }

    def init(key, network, params, state, batch):
        return objective.init(key, network, params, state, seen(batch))

    def loss(network, params, state, batch, key):
        return objective.loss(network, params, state, seen(batch), key)

    return Objective(init, loss, objective.after)


def unlabelled_only(objective: Objective) -> Objective:
    """An objective that sees images alone, as `image` and as `unlabelled`."""

    def seen(batch):
        return dict.fromkeys(("image", "unlabelled"), batch["image"])

    def init(key, network, params, state, batch):
        return objective.init(key, network, params, state, seen(batch))

    def loss(network, params, state, batch, key):
        return objective.loss(network, params, state, seen(batch), key)

    return Objective(init, loss, objective.after)
