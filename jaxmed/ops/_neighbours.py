"""Neighbourhoods of a voxel, and shifted copies of a mask."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxmed.core import Array

Offsets = tuple[tuple[int, ...], ...]


def neighbourhood(
    ndim: int, connectivity: int, *, name: str = "mask", shape: Sequence[int] = ()
) -> Offsets:
    """List the offsets that differ from 0 by 1 along at most ``connectivity`` axes, 0 included."""
    if ndim < 1:
        raise ValueError(f"{name} must be (*spatial) with at least one axis, got shape {shape}")
    if not 1 <= connectivity <= ndim:
        raise ValueError(
            f"connectivity={connectivity!r} for {name} of shape {tuple(shape)}: "
            f"expected 1 to {ndim}"
        )
    steps = itertools.product((-1, 0, 1), repeat=ndim)
    return tuple(o for o in steps if sum(map(abs, o)) <= connectivity)


def shifted(x: Array, offset: Sequence[int], fill: Array | bool | int) -> Array:
    """Shift an array: ``y[p] = x[p + offset]``, and ``fill`` outside it."""
    if not any(offset):
        return x
    config = []
    for o, n in zip(offset, x.shape, strict=True):
        o = max(-n, min(n, o))
        config.append((-o, o, 0))
    return lax.pad(x, jnp.asarray(fill, x.dtype), config)
