"""Batches as a pure function of the step, so that the position in the data is one integer."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import Example, Source, as_source, case_ids, fingerprint, stack, take

Transform = Callable[[np.random.Generator, Example], Example]


@functools.lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    order = np.random.default_rng([seed, epoch, n]).permutation(n)
    order.flags.writeable = False
    return order


@dataclass(frozen=True)
class Batches:
    """An endless sequence of batches; made by `batches`.

    ``len(b)`` is the steps of one epoch, ``b[step]`` the batch of a global step,
    ``for batch in b`` one epoch (the first), ``b.iterate(start)`` all from a step on.
    """

    source: Source
    size: int
    seed: int = 0
    shuffle: bool = True
    remainder: Literal["pad", "drop"] = "pad"
    transform: Transform | None = None
    shard: tuple[int, int] = (0, 1)

    def __len__(self) -> int:
        n = len(self.source)
        return n // self.size if self.remainder == "drop" else -(-n // self.size)

    def indices(self, step: int) -> np.ndarray:
        """Positions in the source of the real rows of the whole global batch, (<= size,)."""
        if step < 0:
            raise IndexError(f"a step is at least 0, got {step}")
        epoch, within = divmod(int(step), len(self))
        rows = slice(within * self.size, (within + 1) * self.size)
        n = len(self.source)
        return _permutation(self.seed, epoch, n)[rows] if self.shuffle else np.arange(n)[rows]

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and weights of all rows of the whole global batch, (size,) both.

        Padding rows repeat the real ones in turn, which approximately preserves the mean and
        variance seen by BatchNorm.
        """
        real = self.indices(step)
        weight = (np.arange(self.size) < len(real)).astype(np.float32)
        return np.resize(real, self.size).astype(np.int32), weight

    def case_ids(self, step: int) -> tuple[str, ...]:
        """Names of the real rows of the whole global batch of a step."""
        names = case_ids(self.source)
        return tuple(names[int(i)] for i in self.indices(step))

    def identity(self) -> dict[str, Any]:
        """What is cut into batches, and in which order: by it a run knows its own data again."""
        return {
            "examples": len(self.source),
            "size": self.size,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "remainder": self.remainder,
            "data": fingerprint(self.source),
        }

    def __getitem__(self, step: int) -> Example:
        positions, weight = self.rows(step)
        process, processes = self.shard
        width = self.size // processes
        mine = slice(process * width, (process + 1) * width)
        # A padding row repeats a real one, including its transform's draws.
        rows = np.arange(self.size) % int(weight.sum())
        positions, weight = positions[mine], weight[mine]
        batch = dict(self._read(positions, rows[mine], step))
        if "weight" in batch:
            weight = weight * np.asarray(batch["weight"], np.float32)
        return batch | {"weight": weight, "index": positions}

    def _read(self, positions: np.ndarray, rows: np.ndarray, step: int) -> Example:
        if self.transform is None:
            return take(self.source, positions)
        # One generator per example, from its place in the global batch: the draw does not depend
        # on how many processes share the batch, or on the order in which threads read.
        examples = []
        for position, row in zip(positions, rows, strict=True):
            rng = np.random.default_rng([self.seed, step, int(row)])
            examples.append(self.transform(rng, dict(self.source[int(position)])))
        return stack(examples, positions, case_ids(self.source))

    def __iter__(self) -> Iterator[Example]:
        return self.iterate(0, len(self))

    def iterate(
        self, start: int = 0, stop: int | None = None, *, prefetch: int = 2, workers: int = 1
    ) -> Generator[Example, None, None]:
        """Yield the batches of steps ``start, start + 1, ...`` read ahead in the background.

        Args:
            start: first global step.
            stop: one past the last step; endless by default.
            prefetch: batches read ahead; 0 reads in the caller's thread.
            workers: threads that read. The order of batches is the same for any number.

        Yields:
            The batch ``self[step]``. An error while reading is raised here, with the step.
            Closing the generator, or leaving the loop, ends the threads.
        """
        steps = iter(_count(start, stop))
        if prefetch <= 0:
            for step in steps:
                yield self[step]
            return
        pending: deque[tuple[int, Future[Any]]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="jaxmed-batches")
        try:
            for step in steps:
                pending.append((step, pool.submit(self.__getitem__, step)))
                if len(pending) > prefetch:
                    yield _result(*pending.popleft())
            while pending:
                yield _result(*pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _count(start: int, stop: int | None) -> Iterator[int]:
    step = start
    while stop is None or step < stop:
        yield step
        step += 1


def _result(step: int, future: Future[Any]) -> Example:
    try:
        return future.result()
    except Exception as error:
        error.add_note(f"while reading the batch of step {step}")
        raise


def batches(
    source: Any,
    size: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    remainder: Literal["pad", "drop"] = "pad",
    transform: Transform | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Batches:
    """Divide a source into batches, each a pure function of its global step.

    The batch of step s in epoch e = s // len(b) holds the rows
    pi_e[(s mod len(b)) size : ... + size] of the epoch's permutation pi_e, which depends on
    ``seed`` and e alone. To resume at step s, use ``b[s]``.

    Args:
        source: a source, or a dict of arrays with one leading axis.
        size: rows of the global batch.
        seed: seed of the permutations and the transforms.
        shuffle: whether epochs are permuted.
        remainder: the last rows of an epoch are ``"pad"``-ed to a full batch (the added rows
            repeat the real ones in turn and have ``weight`` 0), or ``"drop"``-ped.
        transform: ``(rng, example) -> example`` on the host, with a NumPy generator of its own for
            every example and step. Use it to bring volumes to one shape (`random_patch`);
            arithmetic augmentations belong in `jaxmed.augment`, on the device.
        shard: ``(process index, process count)``; this process gets its slice of every batch.

    Returns:
        The batches: dicts of the source's fields with ``weight`` (size,) float32 and ``index``
        (size,) int32 added.

    Raises:
        DataError: an empty source, or one smaller than a batch with ``remainder="drop"``.
        ValueError: an invalid size or shard.

    Examples:
        >>> import numpy as np
        >>> b = batches({"label": np.arange(5)}, 2, shuffle=False)
        >>> len(b), b[2]["label"].tolist(), b[2]["weight"].tolist()
        (3, [4, 4], [1.0, 0.0])
    """
    source = as_source(source)
    if size < 1:
        raise ValueError(f"a batch has at least 1 row, got size={size}")
    if remainder not in ("pad", "drop"):
        raise ValueError(f"remainder is 'pad' or 'drop', got {remainder!r}")
    process, processes = shard
    if not 0 <= process < processes:
        raise ValueError(f"shard is (index, count) with 0 <= index < count, got {shard}")
    if size % processes:
        raise ValueError(f"a batch of {size} rows does not divide over {processes} processes")
    if remainder == "drop" and len(source) < size:
        raise fault(
            getattr(source, "name", "source"),
            "non-empty",
            f"{len(source)} examples make no full batch of {size} with remainder='drop'",
        )
    return Batches(source, size, seed, shuffle, remainder, transform, (process, processes))
