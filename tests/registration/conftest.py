"""An oblique grid, and what lies on it."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from jaxmed.data import Scan, Space

SHAPE = (17, 18, 15)


def turned(angle, axis=2):
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    m = np.eye(4)
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m


# Oblique, anisotropic, with one axis that runs the other way, far from the origin.
OBLIQUE = turned(0.4) @ turned(-0.3, 0) @ np.diag([1.2, -0.7, 1.5, 1.0])
OBLIQUE[:3, 3] = [40.0, -60.0, 25.0]


def smooth(seed, shape=SHAPE, size=1.5, rank=3):
    """Vectors of some millimetres that change slowly and fall to 0 at the border."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(0, np.pi, n) for n in shape], indexing="ij"))
    bump = np.prod(np.sin(at), 0)
    waves = [np.cos(at * rng.uniform(0.3, 1.0) + rng.uniform(0, 3)).sum(0) for _ in range(rank)]
    return (size * bump[..., None] * np.stack(waves, -1) / rank).astype(np.float32)


def points(affine, shape=SHAPE, margin=2.5, count=40):
    rng = np.random.default_rng(9)
    inner = rng.uniform(margin, np.array(shape) - 1 - margin, size=(count, len(shape)))
    return (inner @ affine[:-1, :-1].T + affine[:-1, -1]).astype(np.float32)


def scan(shape=SHAPE, affine=OBLIQUE):
    rng = np.random.default_rng(7)
    smooth = np.cumsum(rng.normal(size=shape), 0)[..., None].astype(np.float32)
    return Scan(smooth, affine, Space(shape, affine))


def mask(shape=SHAPE, affine=OBLIQUE):
    grid = np.indices(shape)
    middle = (np.array(shape) - 1).reshape(-1, *(1,) * len(shape)) / 2
    mask = (((grid - middle) / 3.5) ** 2).sum(0) < 1
    return Scan((mask * (1 + (grid[0] > 5))).astype(np.int16), affine, Space(shape, affine))


@pytest.fixture
def made() -> ModuleType:
    """The functions and numbers of this file."""
    return sys.modules[__name__]
