"""Sums over overlapping windows, kept only where a later window still adds to them."""

from __future__ import annotations

import heapq
import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

Spans = tuple[tuple[int, int], ...]
_HELD = 2**29  # Bytes of sums in memory; above it those that wait for the next row lie on disk.

_WIDE = 2**22  # Voxels of a row of windows above which the second axis is cut too.


class WindowSums:
    """Weighted sums of windows that come in the order of their starts, the first axis slowest.

    The first axis is cut where a window begins or ends, and so is the second where a row of windows
    has many voxels. No window covers a part of a block, so that a block is allocated when the first
    of its windows comes and released after the last: what is held at once does not grow along the
    first axis. Each voxel's windows are added in the order in which they come, as they would be to
    one array of the whole.

    Of an image with many voxels in a plane, even the sums of the planes that two rows of windows
    share may be larger than memory. Once they take more than half a gigabyte, blocks to which no
    further window of a row adds wait for the next row in a temporary folder.
    """

    def __init__(self, starts: np.ndarray, window: Sequence[int], shape: Sequence[int]):
        """Cut the grid into blocks.

        Args:
            starts: (windows, ndim) the windows' first voxels, the last axis varying fastest.
            window: edge lengths in voxels.
            shape: spatial shape that the windows cover.
        """
        self._window, self._shape = tuple(window), tuple(shape)
        self._spans: list[list[tuple[int, int]]] = []
        self._last: list[list[int]] = []
        self._inside: list[dict[int, range]] = []  # spans of a window, by its start
        wide = window[0] * math.prod(shape[1:]) > _WIDE
        for axis in range(2 if wide and len(window) > 1 else 1):
            firsts = np.unique(starts[:, axis])
            cuts = np.unique(np.concatenate([firsts, firsts + window[axis]]))
            self._spans.append([(int(a), int(b)) for a, b in itertools.pairwise(cuts)])
            # Every span lies in some window: windows leave no gap.
            self._last.append([int(firsts[firsts <= a].max()) for a, _ in self._spans[-1]])
            covered = np.searchsorted(cuts, [firsts, firsts + window[axis]]).T.tolist()
            self._inside.append(
                {int(a): range(*some) for a, some in zip(firsts, covered, strict=True)}
            )
        # Blocks in memory or on disk by when they are finished, and the bytes of those in memory.
        self._order: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self._held = 0
        self._totals: dict[tuple[int, ...], np.ndarray | Path] = {}
        self._norms: dict[tuple[int, ...], np.ndarray] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, start: np.ndarray, found: np.ndarray, weight: np.ndarray) -> None:
        """Add a window.

        Args:
            start: (ndim,) its first voxel.
            found: (*window, classes).
            weight: (*window, 1) weight of each of its voxels.
        """
        inside = [spans[int(a)] for spans, a in zip(self._inside, start)]
        cut = len(inside)
        rest = tuple(
            slice(int(a), int(a) + w) for a, w in zip(start[cut:], self._window[cut:], strict=True)
        )
        for key in itertools.product(*inside):
            spans = self._block(key)
            if key not in self._norms:
                shape = (*(b - a for a, b in spans), *self._shape[cut:])
                self._totals[key] = np.zeros((*shape, found.shape[-1]), np.float32)
                self._norms[key] = np.zeros((*shape, 1), np.float32)
                self._held += self._totals[key].nbytes
                last = tuple(self._last[axis][i] for axis, i in enumerate(key))
                heapq.heappush(self._order, (last, key))
            total = self._total(key)
            part = tuple(slice(a - int(f), b - int(f)) for (a, b), f in zip(spans, start))
            place = (*(slice(None) for _ in spans), *rest)
            total[place] += weight[part] * found[part]
            self._norms[key][place] += weight[part]

    def finished(self, following: np.ndarray | None) -> Iterator[tuple[Spans, np.ndarray]]:
        """Release the means of the blocks to which no further window adds.

        Args:
            following: (ndim,) start of the next window; None after the last.

        Yields:
            The block's ``(begin, end)`` along the first one or two axes, and its mean
            (*block, classes).
        """
        # Windows come in lexicographic order: the last of a block begins last along each axis.
        after = None if following is None else tuple(int(a) for a in following[: len(self._spans)])
        while self._order and (after is None or self._order[0][0] < after):
            _, key = heapq.heappop(self._order)
            total = self._total(key)
            total /= self._norms.pop(key)
            del self._totals[key]
            self._held -= total.nbytes
            yield self._block(key), total
        if after is not None and len(after) > 1:
            self._put_away(after[1])

    def close(self) -> None:
        """Remove what lies on disk."""
        if self._folder is not None:
            self._folder.cleanup()

    def _block(self, key: tuple[int, ...]) -> Spans:
        return tuple(self._spans[axis][i] for axis, i in enumerate(key))

    def _total(self, key: tuple[int, ...]) -> np.ndarray:
        """The sums of a block, brought back into memory if they were put away."""
        total = self._totals[key]
        if isinstance(total, Path):
            path, total = total, np.load(total)
            path.unlink()
            self._totals[key] = total
            self._held += total.nbytes
        return total

    def _put_away(self, begin: int) -> None:
        """Put blocks on disk that end before the rest of the row begins, if many are held."""
        if self._held <= _HELD:
            return
        for key, total in self._totals.items():
            if isinstance(total, np.ndarray) and self._spans[1][key[1]][1] <= begin:
                if self._folder is None:
                    self._folder = tempfile.TemporaryDirectory(prefix="jaxmed-")
                path = Path(self._folder.name) / f"{key[0]}-{key[1]}.npy"
                np.save(path, total)
                self._totals[key] = path
                self._held -= total.nbytes
