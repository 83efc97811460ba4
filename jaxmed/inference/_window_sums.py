"""Sums over overlapping windows, kept only where a later window still adds to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np


class WindowSums:
    """Weighted sums of windows that come in the order of their starts, the first axis slowest.

    The first two axes are cut where a window begins or ends. No window covers a part of a block,
    so that a block is allocated when the first of its windows comes and released after the last:
    what is held at once does not grow along the first axis. Each voxel's windows are added in the
    order in which they come, as they would be to one array of the whole.
    """

    def __init__(self, starts: np.ndarray, window: Sequence[int], shape: Sequence[int]):
        """Cut the grid into blocks.

        Args:
            starts: (windows, ndim) the windows' first voxels, the last axis varying fastest.
            window: edge lengths in voxels.
            shape: spatial shape that the windows cover.
        """
        self._window, self._rest = tuple(window), tuple(shape[2:])
        self._spans = []
        self._last = []
        for axis in range(min(2, len(window))):
            firsts = np.unique(starts[:, axis])
            cuts = np.unique(np.concatenate([firsts, firsts + window[axis]]))
            self._spans.append([(int(a), int(b)) for a, b in itertools.pairwise(cuts)])
            # Every span lies in some window: windows leave no gap.
            self._last.append([int(firsts[firsts <= a].max()) for a, _ in self._spans[-1]])
        self._sums: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}

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
            spans = [self._spans[axis][i] for axis, i in enumerate(key)]
            if key not in self._sums:
                shape = (*(b - a for a, b in spans), *self._rest)
                self._sums[key] = (
                    np.zeros((*shape, found.shape[-1]), np.float32),
                    np.zeros((*shape, 1), np.float32),
                )
            total, norm = self._sums[key]
            part = tuple(slice(a - int(f), b - int(f)) for (a, b), f in zip(spans, start))
            place = (*(slice(None) for _ in spans), *rest)
            total[place] += weight[part] * found[part]
            norm[place] += weight[part]

    def finished(
        self, following: np.ndarray | None
    ) -> Iterator[tuple[tuple[tuple[int, int], ...], np.ndarray]]:
        """Release the means of the blocks to which no further window adds.

        Args:
            following: (ndim,) start of the next window; None after the last.

        Yields:
            The block's ``(begin, end)`` along the first one or two axes, and its mean
            (*block, classes).
        """
        # Windows come in lexicographic order: the last of a block begins last along each axis.
        after = None if following is None else tuple(int(a) for a in following[:2])
        for key in list(self._sums):
            last = tuple(self._last[axis][i] for axis, i in enumerate(key))
            if after is None or last < after:
                total, norm = self._sums.pop(key)
                total /= norm
                yield tuple(self._spans[axis][i] for axis, i in enumerate(key)), total
