"""Voxels and their neighbours across faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Axes = tuple[int, ...] | None
"""Spatial axes along which neighbours are looked at; all by default."""


def spatial(axes: Axes, rank: int) -> tuple[int, ...]:
    """The axes as numbers from 0.

    Raises:
        ValueError: if there is no such axis.
    """
    chosen = tuple(range(rank)) if axes is None else tuple(axes)
    if not chosen or not all(-rank <= axis < rank for axis in chosen):
        raise ValueError(f"axes must be among those of {rank} dimensions, got {axes}")
    return tuple(sorted({axis % rank for axis in chosen}))


def pairs(x: Any, axes: tuple[int, ...], first: int = 0) -> Iterator[tuple[Any, Any]]:
    """Each array of voxels and that of their next neighbours along each axis.

    ``first`` is the number of axes before the spatial ones.
    """
    for axis in axes:
        at = axis + first
        here = tuple(slice(None, -1) if i == at else slice(None) for i in range(at + 1))
        there = tuple(slice(1, None) if i == at else slice(None) for i in range(at + 1))
        yield x[here], x[there]


def beside(mask: NDArray[np.bool_], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Voxels with a neighbour in the mask."""
    found = np.zeros_like(mask)
    for (low, high), (mine, other) in zip(pairs(mask, axes), pairs(found, axes), strict=True):
        mine |= high
        other |= low
    return found
