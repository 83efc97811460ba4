"""Boxes and points that move with their image: the inverse of the map that images are read by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array


def label_of(boxes: str) -> str:
    """The field of the classes of a field of boxes."""
    return f"{boxes}_label"


def through_affine(back: Callable[[Any, Array], Array], rank: int) -> Callable[[Any, Array], Array]:
    """Where points of the input go, (n, rank), under an affine map from output to input."""

    def forth(draws: Any, at: Array) -> Array:
        ends = back(draws, jnp.concatenate([jnp.zeros((1, rank)), jnp.eye(rank)]))
        matrix = (ends[1:] - ends[0]).T
        # A sum of columns, not a matrix product, which is inexact on GPUs by default.
        inverse, moved = jnp.linalg.inv(matrix), at - ends[0]
        return sum((moved[:, j, None] * inverse[:, j] for j in range(rank)), jnp.zeros_like(at))

    return forth


def through_grid(points: Array, at: Array) -> Array:
    """Where points of the input go, (n, rank), under a map given at each voxel of the output.

    The voxel that was read nearest to each, and from there as if the map only shifted.
    """
    shape, rank = points.shape[:-1], points.shape[-1]
    flat = points.reshape(-1, rank)
    nearest = jax.lax.map(lambda p: ((flat - p) ** 2).sum(-1).argmin(), at)
    voxel = jnp.stack(jnp.unravel_index(nearest, shape), axis=-1)
    return voxel + at - flat[nearest]


class Followers:
    """The fields of boxes and of points that a batch has."""

    def __init__(self, boxes: Sequence[str], points: Sequence[str]):
        """Name them."""
        self._boxes, self._points = tuple(boxes), tuple(points)

    def __bool__(self) -> bool:
        return bool(self._boxes or self._points)

    def moved(
        self,
        batch: dict[str, Array],
        forth: Callable[[Array], Array],
        shape: tuple[int, ...],
        visible: float,
        *,
        curved: bool,
    ) -> dict[str, Array]:
        """Move them.

        Args:
            batch: what has them.
            forth: from points of the input (batch, n, rank) to those of the output; whole numbers
                are the middles of voxels.
            shape: spatial shape of the output.
            visible: share of a box that must be left.
            curved: whether straight sides may bend, so that corners alone do not bound a box.

        Raises:
            ValueError: a field that is not of boxes or points of the image's rank.
        """
        rank, found = len(shape), {}
        for name in self._points:
            at = _checked(batch[name], name, rank, "points")
            found[name] = forth(at.astype(jnp.float32)).astype(_floating(at.dtype))
        for name in self._boxes:
            box = _checked(batch[name], name, 2 * rank, "boxes")
            moved, there = _moved_boxes(box.astype(jnp.float32), forth, shape, visible, curved)
            label = batch.get(label_of(name))
            if label is not None:
                if label.shape != box.shape[:2]:
                    raise ValueError(
                        f"{label_of(name)} is {label.shape}, one class for each of the boxes "
                        f"{box.shape} in {name}"
                    )
                there &= label >= 0
                found[label_of(name)] = jnp.where(there, label, jnp.asarray(-1, label.dtype))
            found[name] = jnp.where(there[..., None], moved, 0).astype(_floating(box.dtype))
        return found


def _moved_boxes(
    box: Array, forth: Callable[[Array], Array], shape: tuple[int, ...], visible: float,
    curved: bool,
) -> tuple[Array, Array]:  # fmt: skip
    rank, (rows, count) = len(shape), box.shape[:2]
    low, high = box[..., :rank], box[..., rank:]
    steps = (0.0, 0.5, 1.0) if curved else (0.0, 1.0)
    lattice = np.array([*itertools.product(steps, repeat=rank)], np.float32)
    at = low[:, :, None] + (high - low)[:, :, None] * lattice
    # A corner lies half a voxel before the middle of the voxel that begins there.
    ends = forth(at.reshape(rows, -1, rank) - 0.5).reshape(rows, count, len(lattice), rank) + 0.5
    first, last = ends.min(2), ends.max(2)
    edge = jnp.asarray(shape, jnp.float32)
    near, far = jnp.clip(first, 0, edge), jnp.clip(last, 0, edge)
    whole, left = (last - first).prod(-1), (far - near).prod(-1)
    there = (high > low).all(-1) & (left > 0) & (left >= visible * whole * (1 - 1e-5))
    return jnp.concatenate([near, far], axis=-1), there


def _checked(x: Array, name: str, width: int, what: str) -> Array:
    if x.ndim != 3 or x.shape[-1] != width:
        raise ValueError(
            f"{name} is {x.shape}; {what} that move with the image are (batch, n, {width}). If it "
            f"holds something else, give chain({what}=())"
        )
    return x


def _floating(dtype: Any) -> Any:
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32
