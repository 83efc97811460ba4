"""Synthetic heads of known pose, for agents that look for a standard plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.data._source import ArraySource, Example
from jaxmed.data.phantoms._shapes import degrade
from jaxmed.data.phantoms._tasks import _build

# Centre and half-axes of each ellipsoid, in units of half of the head; later ones lie on top.
_PARTS = {
    "skull": ((0, 0, 0), (0.80, 0.95, 0.75), 0.9),
    "fluid": ((0, 0, 0), (0.72, 0.86, 0.67), 0.15),
    "brain": ((0, 0.02, 0.03), (0.67, 0.81, 0.60), 0.6),
    "cerebellum": ((0, -0.50, -0.42), (0.42, 0.26, 0.20), 0.7),
    "falx": ((0, 0, 0.30), (0.02, 0.75, 0.33), 0.2),
    "left ventricle": ((-0.14, 0.05, 0), (0.09, 0.34, 0.12), 0.1),
    "right ventricle": ((0.14, 0.05, 0), (0.09, 0.34, 0.12), 0.1),
    "left thalamus": ((-0.16, -0.16, -0.10), (0.10, 0.13, 0.08), 0.85),
    "right thalamus": ((0.16, -0.16, -0.10), (0.10, 0.13, 0.08), 0.85),
    "left eye": ((-0.30, 0.78, -0.28), (0.13, 0.13, 0.13), 1.0),
    "right eye": ((0.30, 0.78, -0.28), (0.13, 0.13, 0.13), 1.0),
}


def head(
    n: int,
    shape: Sequence[int] = (40, 40, 40),
    *,
    turn: float = 20.0,
    shift: float = 3.0,
    spacing: float = 1.0,
    noise: float = 0.05,
    bias: float = 0.1,
    seed: int = 0,
) -> ArraySource:
    """Draw heads that are turned and shifted, with the plane through their ventricles.

    A head is made of ellipsoids: skull, brain, ventricles, thalami, cerebellum, eyes. Sizes and
    brightness differ from head to head.

    Args:
        n: number of heads.
        shape: voxels, three numbers.
        turn: degrees by which each of three angles is drawn at most, either way.
        shift: mm by which a head is moved at most along each of its axes, either way.
        spacing: mm between voxels.
        noise: standard deviation of Gaussian noise.
        bias: standard deviation of the logarithm of a smooth multiplicative field.
        seed: the same seed gives the same heads.

    Returns:
        ``image`` (*shape, 1) float32; ``plane`` (4,) float32, three angles in degrees and a
        distance in mm as :func:`jaxmed.reinforcement.view` has them, exact.

    Examples:
        >>> example = head(1, (16, 16, 16))[0]
        >>> example["image"].shape, example["plane"].shape
        ((16, 16, 16, 1), (4,))
    """
    spatial = tuple(shape)
    if len(spatial) != 3:
        raise ValueError(f"a head has three axes, got shape={spatial}")
    grid = np.stack(np.meshgrid(*[np.arange(m) - (m - 1) / 2 for m in spatial], indexing="ij"), -1)

    def draw(rng: np.random.Generator) -> Example:
        angles = rng.uniform(-turn, turn, 3)
        moved = rng.uniform(-shift, shift, 3)
        half = spacing * np.array(spatial) / 2 * rng.uniform(0.85, 1.0, 3)
        # From voxels to the head's own axes: the transpose of the turn undoes it.
        own = ((grid * spacing) @ _turned(angles) - moved) / half
        image = np.zeros(spatial)
        for centre, axes, brightness in _PARTS.values():
            size = np.array(axes) * rng.uniform(0.93, 1.07, 3)
            inside = (((own - centre) / size) ** 2).sum(-1) < 1
            image[inside] = brightness * rng.uniform(0.9, 1.1)
        image = degrade(rng, image, noise=noise, bias=bias)
        return {"image": image[..., None], "plane": np.append(angles, moved[2]).astype(np.float32)}

    return _build("head", n, seed, draw)


def _turned(angles: np.ndarray) -> np.ndarray:
    """The turn about axis 2, then 1, then 0, by degrees."""
    whole = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        whole = whole @ turn
    return whole
