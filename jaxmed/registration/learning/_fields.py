"""What a predicted field does: how its nodes lie in the image, and where it moves voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import ops
from jaxmed.core import Array, Endpoints, pick
from jaxmed.registration.pairs._grids import Grid, spread
from jaxmed.registration.warps._warp import exponential

FieldKind = Literal["velocity", "displacement"]

# Voxels along an axis, below which a level is made no coarser.
_FEWEST = 8


def even(shape: Sequence[int], nodes: Sequence[int]) -> Grid:
    """The grid whose nodes are the middles of equal parts of an image's axes."""
    step = tuple(n / m for n, m in zip(shape, nodes, strict=True))
    return Grid(tuple(nodes), step, tuple((s - 1) / 2 for s in step))


def halved(shape: Sequence[int], times: int) -> tuple[int, ...]:
    """The shape of an image made so often half as fine; no axis gets shorter than 8 by that.

    >>> halved((40, 12, 5), 2)
    (10, 8, 5)
    """
    for _ in range(times):
        shape = tuple(max(-(-n // 2), min(n, _FEWEST)) for n in shape)
    return tuple(shape)


def onto(field: Array, shape: Sequence[int], nodes: Sequence[int]) -> Array:
    """Interpolate fields of an image, ``(batch, *grid, channels)``, at other nodes along it."""
    before, after = even(shape, field.shape[1:-1]), even(shape, nodes)
    if before == after:
        return field
    return jax.vmap(partial(spread, grid=before, onto=after))(field)


def coarsened(image: Array, shape: Sequence[int]) -> Array:
    """Average images, ``(batch, *spatial, channels)``, over equal parts of their axes."""
    for axis, m in enumerate(shape, 1):
        n = image.shape[axis]
        if m != n:
            edges = np.arange(m + 1) * (n / m)
            voxels = np.arange(n)
            inside = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
            shares = jnp.asarray(np.maximum(inside, 0) * (m / n), image.dtype)
            image = jnp.moveaxis(
                jnp.tensordot(shares, image, (1, axis), precision="highest"), 0, axis
            )
    return image


def steps(shape: Sequence[int], nodes: Sequence[int]) -> np.ndarray:
    """Voxels of the image between nodes, along each axis."""
    return np.array(shape, np.float32) / np.array(nodes, np.float32)


def integrated(velocity: Array, shape: Sequence[int], squarings: int) -> Array:
    """The displacements of velocities at the same nodes, both in voxels of the image."""
    apart = steps(shape, velocity.shape[1:-1])
    return jax.vmap(partial(exponential, squarings=squarings))(velocity / apart) * apart


def carried(image: Array, displacement: Array) -> Array:
    """Move images by displacements at nodes; beyond its border an image goes on as it ends."""
    shape = image.shape[1:-1]
    full = onto(displacement, shape, shape)
    return jax.vmap(partial(ops.warp, mode="nearest"))(image, full)


def answers(values: Array, moving: Array, kind: FieldKind, squarings: int) -> Endpoints:
    """The endpoints of a network that has predicted vectors at nodes, in voxels of the image."""
    if kind == "displacement":
        return {"displacement": values, "moved": carried(moving, values)}
    shape = moving.shape[1:-1]
    ahead = integrated(values, shape, squarings)
    return {
        "velocity": values,
        "displacement": ahead,
        "inverse": integrated(-values, shape, squarings),
        "moved": carried(moving, ahead),
    }


def check_kind(kind: str, squarings: int) -> None:
    """Refuse a field that there is not."""
    if kind not in ("velocity", "displacement"):
        raise ValueError(f"field={kind!r}; expected 'velocity' or 'displacement'")
    if squarings < 0:
        raise ValueError(f"squarings={squarings} is negative")


def both(inputs: Mapping[str, Any]) -> tuple[Array, Array]:
    """The fixed and the moving images of a network's inputs, checked."""
    if not isinstance(inputs, Mapping):
        raise ValueError(
            "a registration network takes {'fixed': ..., 'moving': ...}, each (batch, *spatial, "
            f"channels), not {type(inputs).__name__}: give the learner inputs=('fixed', 'moving')"
        )
    fixed, moving = (jnp.asarray(pick(inputs, name, "pair")) for name in ("fixed", "moving"))
    if fixed.shape != moving.shape or not 4 <= fixed.ndim <= 5:
        raise ValueError(
            f"fixed has shape {fixed.shape} and moving {moving.shape}: both are (batch, *spatial, "
            "channels) with two or three spatial axes, on one grid"
        )
    return fixed, moving
