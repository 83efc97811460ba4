"""Grids of a registration: coarser copies of an image's, and the nodes of a field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmed import ops
from jaxmed.core import Array

# Voxels along an axis, below which it is made no coarser.
_FEWEST = 8


class Grid(NamedTuple):
    """A grid that lies along another: node i at voxel ``start + step * i`` of that.

    Attributes:
        shape: number of nodes along each axis.
        step: voxels between nodes.
        start: of the first node.
    """

    shape: tuple[int, ...]
    step: tuple[float, ...]
    start: tuple[float, ...]

    def affine(self, of: np.ndarray) -> np.ndarray:
        """The affine of this grid, of the one it lies along."""
        local = np.diag([*self.step, 1.0])
        local[:-1, -1] = self.start
        return of @ local


def along(shape: Sequence[int], step: Sequence[float], *, cover: bool) -> Grid:
    """A grid of a step about the middle of another; ``cover``: with its ends at or beyond it."""
    counts = []
    for n, s in zip(shape, step, strict=True):
        count = -(-(n - 1) // s) + 1 if cover else max(round(n / s), 1)
        counts.append(int(count))
    start = tuple(((n - 1) - (m - 1) * s) / 2 for n, m, s in zip(shape, counts, step, strict=True))
    return Grid(tuple(counts), tuple(map(float, step)), start)


def factors(shape: Sequence[int], spacing: Sequence[float], level: int) -> tuple[float, ...]:
    """By how much each axis is coarser ``level`` levels down: thick slices later than thin ones."""
    wanted = min(spacing) * 2**level
    return tuple(
        float(max(1, min(2 ** int(np.log2(max(wanted / s, 1)) + 1e-6), n // _FEWEST)))
        for n, s in zip(shape, spacing, strict=True)
    )


def coarser(image: Array, step: Sequence[float]) -> tuple[Array, Grid]:
    """Blur an image, ``(*spatial, channels)``, and take it on a coarser grid."""
    grid = along(image.shape[:-1], step, cover=False)
    if all(s == 1 for s in step):
        return image, grid
    blurred = ops.gaussian_blur(image[None], [(s - 1) / 2 for s in step], mode="nearest")[0]
    places = ops.affine_grid(
        jnp.asarray(grid.affine(np.eye(len(step) + 1)), jnp.float32), grid.shape
    )
    return ops.resample(blurred, places, mode="nearest"), grid


def spread(nodes: Array, grid: Grid, onto: Grid, *, cubic: bool = False) -> Array:
    """Interpolate a field at another grid along the same image, one axis after the other."""
    for axis in range(len(grid.shape)):
        places = (onto.start[axis] - grid.start[axis]) / grid.step[axis] + np.arange(
            onto.shape[axis]
        ) * (onto.step[axis] / grid.step[axis])
        matrix = jnp.asarray(_weights(places, grid.shape[axis], cubic), nodes.dtype)
        nodes = jnp.moveaxis(jnp.tensordot(matrix, nodes, (1, axis), precision="highest"), 0, axis)
    return nodes


def _weights(places: np.ndarray, nodes: int, cubic: bool) -> np.ndarray:
    """The share of each node at each place; beyond the last node it goes on as there."""
    apart = np.abs(np.clip(places, 0, nodes - 1)[:, None] - np.arange(-1, nodes + 1))
    if cubic:
        near = 2 / 3 - apart**2 + apart**3 / 2
        shares = np.where(apart < 1, near, np.maximum(2 - apart, 0) ** 3 / 6)
    else:
        shares = np.maximum(1 - apart, 0)
    # What falls beyond the ends belongs to them.
    shares[:, 1] += shares[:, 0]
    shares[:, -2] += shares[:, -1]
    return shares[:, 1:-1]
