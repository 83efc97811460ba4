"""Batches of episodes, each a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmed.data import Batches, Source, as_source, column, take
from jaxmed.protocols.episodes._draw import episode

# Fields of an example that are classified or segmented, and their names in an episode.
_FIELDS = {"image": "{}", "mask": "{}_mask"}


@dataclass(frozen=True)
class EpisodeBatches:
    """An endless sequence of batches of episodes; made by `episode_batches`.

    ``b[step]`` is the batch of a global step, ``len(b)`` the nominal steps per epoch, and
    ``b.iterate(start)`` iterates from a step on, prefetching in the background, as `fit` expects.
    """

    source: Source
    labels: NDArray[Any]
    size: int
    ways: int
    shots: int
    queries: int
    seed: int
    steps: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, NDArray[Any]]:
        drawn = [
            episode(
                self.labels,
                ways=self.ways,
                shots=self.shots,
                queries=self.queries,
                seed=self.seed,
                index=step * self.size + i,
            )
            for i in range(self.size)
        ]
        batch: dict[str, NDArray[Any]] = {}
        for part in ("support", "query"):
            rows = np.stack([getattr(one, part) for one in drawn])
            found = take(self.source, rows.ravel())
            for field, name in _FIELDS.items():
                if field in found:
                    value = np.asarray(found[field])
                    batch[name.format(part)] = value.reshape(*rows.shape, *value.shape[1:])
            own = [getattr(one, f"{part}_label") for one in drawn]
            batch[f"{part}_label"] = np.stack(own).astype(np.int32)
        return batch | {"weight": np.ones(self.size, np.float32)}

    iterate = Batches.iterate


def episode_batches(
    source: Any,
    size: int,
    *,
    ways: int,
    shots: int,
    queries: int,
    seed: int = 0,
    steps: int = 100,
    label: str = "label",
) -> EpisodeBatches:
    """Create batches of episodes drawn from a labelled source.

    Row i of the batch of a step is episode ``step * size + i`` of the seed, so that the position in
    the data is the step, and methods are compared on the same episodes. To test on unseen classes,
    pass a source with other classes.

    Args:
        source: examples with an ``image``, a class, and a ``mask`` for a segmenter.
        size: episodes per batch.
        ways: classes per episode.
        shots: labelled examples of each class.
        queries: examples of each class to be classified.
        seed: seed of all episodes.
        steps: number of batches per epoch.
        label: the field with the class.

    Returns:
        The batches: ``support`` ``(size, ways * shots, *image)``, ``support_label`` ``(size, ways *
        shots)`` in 0 to ``ways - 1``, ``query`` and ``query_label`` likewise, ``support_mask`` and
        ``query_mask`` if there are masks, and ``weight`` ``(size,)``, all 1.

    Raises:
        ValueError: as `episode`, or if ``size`` or ``steps`` is not positive.

    Examples:
        >>> data = {"image": np.zeros((12, 8, 8, 1)), "label": np.arange(12) % 3}
        >>> b = episode_batches(data, 4, ways=2, shots=1, queries=2)
        >>> b[0]["support"].shape, b[0]["query_label"].tolist()[0]
        ((4, 2, 8, 8, 1), [0, 0, 1, 1])
    """
    if size < 1 or steps < 1:
        raise ValueError(f"size and steps are at least 1, got {size} and {steps}")
    source = as_source(source)
    labels = column(source, label)
    episode(
        labels, ways=ways, shots=shots, queries=queries
    )  # fail early if an episode cannot be drawn
    return EpisodeBatches(source, labels, size, ways, shots, queries, seed, steps)
