"""Argument checks shared by every primitive; all of them raise at trace time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def per_axis(
    name: str, value: int | Sequence[int], ndim: int, *, least: int = 1
) -> tuple[int, ...]:
    """Return ``value`` as one integer per spatial axis, or raise ValueError naming the argument."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        values = (int(value),) * ndim
    else:
        values = tuple(int(v) for v in value)  # pyright: ignore  (a bool says so itself)
    if len(values) != ndim:
        raise ValueError(
            f"{name}={value!r} has {len(values)} entries; give one integer, or one for each of "
            f"the {ndim} spatial axes"
        )
    if any(v < least for v in values):
        raise ValueError(f"{name}={value!r}: every entry must be at least {least}")
    return values


def spatial_rank(name: str, shape: Sequence[int], *, leading: int = 1) -> int:
    """Return the number of spatial axes of a channels-last array with ``leading`` leading axes."""
    rank = len(shape) - leading - 1
    if rank < 1:
        front = "(batch, *spatial, channels)" if leading else "(*spatial, channels)"
        raise ValueError(f"{name} must be {front}, got shape {tuple(shape)}")
    return rank
