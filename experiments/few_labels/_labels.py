"""Data of the paradigm table: the labels that are kept, and what an objective sees of them."""

from __future__ import annotations

from collections.abc import Mapping
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
    if not 0 < config.labels <= 1:
        raise ValueError(f"labels is a share in (0, 1], got {config.labels}")
    whole = pool(config)
    truth = whole.parts["train"].arrays["label"]
    chosen = []
    for seed in range(config.seed, config.seed + config.seeds):
        shares = {"labelled": config.labels, "rest": 1 - config.labels}
        everyone = np.arange(len(truth))
        kept = everyone if config.labels == 1 else split(truth, shares, seed=seed)["labelled"]
        chosen.append(kept)
    return whole._replace(labelled=tuple(chosen))


def pool(config: Any) -> Task:
    """Read a set of which no image is chosen yet."""
    entry = MEDMNIST.get(config.dataset)
    if entry is None or entry.task not in KINDS:
        known = sorted(name for name, e in MEDMNIST.items() if e.task in KINDS)
        raise ValueError(f"dataset is one of {', '.join(known)}, got {config.dataset!r}")
    parts = {name: _part(config, name) for name in ("train", "val", "test")}
    return Task(KINDS[entry.task], tuple(parts["train"].classes), parts, ())


def _part(config: Any, name: str) -> ArraySource:
    source = medmnist(config.dataset, name, size=config.size)
    scale = lambda batch: {**batch, "image": (batch["image"] - 0.5) / 0.5}  # noqa: E731
    return in_memory(map_source(source, scale, batched=True))


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

    return objective._replace(init=init, loss=loss)


def unlabelled_only(objective: Objective) -> Objective:
    """An objective that sees images alone, as `image` and as `unlabelled`."""

    def seen(batch):
        return dict.fromkeys(("image", "unlabelled"), batch["image"])

    def init(key, network, params, state, batch):
        return objective.init(key, network, params, state, seen(batch))

    def loss(network, params, state, batch, key):
        return objective.loss(network, params, state, seen(batch), key)

    return objective._replace(init=init, loss=loss)
