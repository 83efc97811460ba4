"""Sums over overlapping windows, kept only where a later window still adds to them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

Spans = tuple[tuple[int, int], ...]
_HELD = 2**29  # Bytes of sums in memory; above it those that wait for the next row lie on disk.


class WindowSums:
    """Weighted sums of windows that come in the order of their starts, the first axis slowest.

    The first two axes are cut where a window begins or ends. No window covers a part of a block,
    so that a block is allocated when the first of its windows comes and released after the last:
    what is held at once does not grow along the first axis. Each voxel's windows are added in the
    order in which they come, as they would be to one array of the whole.

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
        self._window, self._rest = tuple(window), tuple(shape[2:])
        self._spans: list[list[tuple[int, int]]] = []
        self._last: list[list[int]] = []
        for axis in range(min(2, len(window))):
            firsts = np.unique(starts[:, axis])
            cuts = np.unique(np.concatenate([firsts, firsts + window[axis]]))
            self._spans.append([(int(a), int(b)) for a, b in itertools.pairwise(cuts)])
            # Every span lies in some window: windows leave no gap.
            self._last.append([int(firsts[firsts <= a].max()) for a, _ in self._spans[-1]])
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
        rest = tuple(
            slice(int(a), int(a) + w) for a, w in zip(start[2:], self._window[2:], strict=True)
        )
        inside = [
            [i for i, (a, b) in enumerate(spans) if first <= a and b <= first + w]
            for spans, first, w in zip(self._spans, start, self._window)
        ]
        for key in itertools.product(*inside):
            spans = self._block(key)
            if key not in self._norms:
                shape = (*(b - a for a, b in spans), *self._rest)
                self._totals[key] = np.zeros((*shape, found.shape[-1]), np.float32)
                self._norms[key] = np.zeros((*shape, 1), np.float32)
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
        after = None if following is None else tuple(int(a) for a in following[:2])
        for key in list(self._totals):
            last = tuple(self._last[axis][i] for axis, i in enumerate(key))
            if after is None or last < after:
                total = self._total(key)
                total /= self._norms.pop(key)
                del self._totals[key]
                yield self._block(key), total
        if after is not None and len(after) == 2:
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
        return total

    def _put_away(self, begin: int) -> None:
        """Put blocks on disk that end before the rest of the row begins, if many are held."""
        held = {k: t for k, t in self._totals.items() if isinstance(t, np.ndarray)}
        if sum(total.nbytes for total in held.values()) <= _HELD:
            return
        for key, total in held.items():
            if self._spans[1][key[1]][1] <= begin:
                if self._folder is None:
                    self._folder = tempfile.TemporaryDirectory(prefix="jaxmed-")
                path = Path(self._folder.name) / f"{key[0]}-{key[1]}.npy"
                np.save(path, total)
                self._totals[key] = path
