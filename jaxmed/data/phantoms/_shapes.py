"""Analytic shapes on a voxel grid, and simulated scanner degradations."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

KINDS = ("ellipsoid", "box", "shell", "cross")
_HOLLOW = 0.6  # inner over outer radius of a shell
_THIN = 1 / 3  # half-width over half-length of a cross's bars


class Shape(NamedTuple):
    """A shape: its kind, centre and half-sizes, in voxels; voxel i covers i to i + 1."""

    kind: str
    centre: np.ndarray
    size: np.ndarray

    def inside(self, spatial: tuple[int, ...]) -> np.ndarray:
        """Mark the voxels whose centre lies in the shape: (*spatial,) bool."""
        axes = np.meshgrid(*[np.arange(n) + 0.5 for n in spatial], indexing="ij", sparse=True)
        u = [abs(x - c) / s for x, c, s in zip(axes, self.centre, self.size, strict=True)]
        if self.kind == "box":
            return np.logical_and.reduce(np.broadcast_arrays(*[x < 1 for x in u]))
        if self.kind == "cross":
            bars = []
            for along in range(len(u)):
                sides = [x < (1 if i == along else _THIN) for i, x in enumerate(u)]
                bars.append(np.logical_and.reduce(np.broadcast_arrays(*sides)))
            return np.logical_or.reduce(bars)
        radius = np.asarray(sum(x**2 for x in u))
        return (radius < 1) & (radius >= (_HOLLOW**2 if self.kind == "shell" else 0))

    def volume(self) -> float:
        """Exact area or volume, in voxels."""
        rank = len(self.size)
        block = float(np.prod(2 * self.size))
        if self.kind == "box":
            return block
        if self.kind == "cross":
            core = _THIN**rank
            arm = (1 - _THIN) * _THIN ** (rank - 1)
            return block * (core + rank * arm)
        ball = block * math.pi ** (rank / 2) / math.gamma(rank / 2 + 1) / 2**rank
        return ball * (1 - _HOLLOW**rank) if self.kind == "shell" else ball

    def box(self) -> np.ndarray:
        """Exact bounding box (lows, highs), in voxels: (2 rank,)."""
        return np.concatenate([self.centre - self.size, self.centre + self.size])


def place(
    rng: np.random.Generator,
    spatial: tuple[int, ...],
    kinds: list[str],
    *,
    smallest: float = 0.1,
    largest: float = 0.22,
) -> list[Shape]:
    """Draw shapes of the given kinds that neither touch each other nor the border.

    Half-sizes are between ``smallest`` and ``largest`` of the shortest side. If no space is left
    after some tries, all shapes are redrawn slightly smaller.
    """
    side = min(spatial)
    for attempt in range(40):
        shrink = 0.93**attempt
        shapes: list[Shape] = []
        for kind in kinds:
            for _ in range(20):
                size = rng.uniform(smallest, largest, len(spatial)) * side * shrink
                centre = rng.uniform(size + 1, np.asarray(spatial) - size - 1)
                if kind == "box":  # whole voxels, so that counting them is exact
                    low, high = np.round(centre - size), np.round(centre + size)
                    high = np.maximum(high, low + 1)
                    centre, size = (low + high) / 2, (high - low) / 2
                new = Shape(kind, centre, size)
                if all(np.any(abs(new.centre - s.centre) > new.size + s.size + 1) for s in shapes):
                    shapes.append(new)
                    break
            else:
                break
        if len(shapes) == len(kinds):
            return shapes
    raise ValueError(f"{len(kinds)} shapes do not fit into {spatial}")


def coarse_field(rng: np.random.Generator, spatial: tuple[int, ...], knots: int = 4) -> np.ndarray:
    """Draw a smooth random field with unit variance at its knots: (*spatial,)."""
    field = rng.normal(size=(knots,) * len(spatial))
    for axis, n in enumerate(spatial):
        field = np.moveaxis(np.tensordot(_spline(n, knots), field, ([1], [axis])), 0, axis)
    return field


def _spline(n: int, knots: int) -> np.ndarray:
    """Interpolation by raised cosines from ``knots`` values to n: (n, knots), rows sum to 1."""
    at = np.linspace(0, knots - 1, n)[:, None] - np.arange(knots)
    return np.where(abs(at) < 1, (1 + np.cos(np.pi * at)) / 2, 0)


def degrade(
    rng: np.random.Generator, image: np.ndarray, *, noise: float, bias: float
) -> np.ndarray:
    """Multiply by exp(bias x smooth field), add Gaussian noise: (*spatial,) float32."""
    if bias > 0:
        image = image * np.exp(bias * coarse_field(rng, image.shape))
    if noise > 0:
        image = image + noise * rng.normal(size=image.shape)
    return image.astype(np.float32)
