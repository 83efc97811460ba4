"""Pipelines of Grain as batches, and sources as pipelines of Grain."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxmed.data._optional import optional
from jaxmed.data._source import Example, Source


class GrainBatches:
    """Batches of a Grain pipeline, each a pure function of its step; made by `grain_batches`."""

    def __init__(self, pipeline: Any, per_epoch: int, shard: tuple[int, int]):
        """Keep a pipeline with random access."""
        self.pipeline, self.per_epoch, self.shard = pipeline, per_epoch, shard

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.per_epoch} an epoch, of {self.pipeline})"

    def __len__(self) -> int:
        return self.per_epoch

    def __getitem__(self, step: int) -> Example:
        if step < 0:
            raise IndexError(f"a step is at least 0, got {step}")
        batch = self.pipeline[int(step)]
        return {name: np.asarray(value) for name, value in batch.items()}

    def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[Example]:
        """Yield the batches of the steps from ``start`` on, read by Grain's threads."""
        ahead = iter(self.pipeline[start:].to_iter_dataset())
        step = start
        while stop is None or step < stop:
            batch = next(ahead)
            yield {name: np.asarray(value) for name, value in batch.items()}
            step += 1

    def identity(self) -> dict[str, Any]:
        """What a run knows its batches by: another epoch's first, as Grain tells no settings."""
        later = self[self.per_epoch]
        found = 0
        for name, value in sorted(later.items()):
            found = zlib.crc32(name.encode() + np.ascontiguousarray(value).tobytes(), found)
        return {"per_epoch": self.per_epoch, "data": found}


def grain_batches(
    pipeline: Any, per_epoch: int | None = None, *, shard: tuple[int, int] = (0, 1)
) -> GrainBatches:
    """Make batches for `jaxmed.fit` of a Grain pipeline with random access.

    A ``grain.MapDataset`` is a function of the index, shuffled and augmented or not, so a run
    goes on at exactly the batch where it was cut: the position is the step, which every
    checkpoint has.

    Args:
        pipeline: a ``grain.MapDataset`` of batches (dicts of arrays), not yet repeated. It is
            repeated here, each epoch shuffled anew.
        per_epoch: batches of an epoch; by default the pipeline's length.
        shard: ``(process, processes)``, if the pipeline holds one process's rows (`to_grain`).

    Raises:
        TypeError: a pipeline without random access (an ``IterDataset``), or of other items.
        ValueError: a pipeline without a batch.

    Examples:
        >>> import grain, numpy as np
        >>> rows = grain.MapDataset.range(10).seed(0).shuffle().map(lambda i: {"x": np.float32(i)})
        >>> batches = grain_batches(rows.batch(5))
        >>> len(batches), batches[7]["x"].shape
        (2, (5,))
    """
    grain = optional("grain", "a pipeline of Grain", extra="data")
    if not isinstance(pipeline, grain.MapDataset):
        raise TypeError(
            f"grain_batches wants a grain.MapDataset, whose items have an index, got "
            f"{type(pipeline).__name__}; batch before to_iter_dataset()"
        )
    length = len(pipeline)
    if length < 1:
        raise ValueError("the pipeline has no batch: fewer rows than one holds")
    if not isinstance(pipeline[0], dict):
        raise TypeError(f"items are dicts of arrays, got {type(pipeline[0]).__name__}")
    return GrainBatches(pipeline.repeat(None), per_epoch or length, shard)


def to_grain(source: Source, *, shard: tuple[int, int] = (0, 1)) -> Any:
    """Make a Grain pipeline of a source's examples, to shuffle, map, mix and batch with Grain.

    Args:
        source: any source.
        shard: ``(process, processes)``: the examples of one process, every ``processes``-th.

    Returns:
        A ``grain.MapDataset`` of dicts.

    Raises:
        ImportError: without ``pip install 'jaxmed[data]'``.
        ValueError: a shard that is none.

    Examples:
        >>> import numpy as np
        >>> from jaxmed.data import ArraySource
        >>> pipeline = to_grain(ArraySource({"x": np.arange(6)}), shard=(1, 2))
        >>> [int(example["x"]) for example in pipeline]
        [1, 3, 5]
    """
    grain = optional("grain", "a pipeline of Grain", extra="data")
    process, processes = shard
    if not 0 <= process < processes:
        raise ValueError(f"shard is (process, processes) with process below processes, got {shard}")
    return grain.MapDataset.source(source)[process::processes]
