"""What is told at rest, in every frame: strain, masks, points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.motion._axes import Directions
from jaxmed.registration.motion._track import Tracked
from jaxmed.registration.warps._jacobian import strain
from jaxmed.registration.warps._scan import warp_scan
from jaxmed.registration.warps._warp import Warp, invert, warp_points

Warps = Tracked | Sequence[Warp]


def strain_curves(
    tracked: Warps, wall: Scan, directions: Directions | Mapping[str, Any]
) -> dict[str, np.ndarray]:
    r"""Compute the mean strain of a wall, frame by frame.

    Green-Lagrange strain at rest, :math:`E = (J^T J - 1) / 2`: :math:`d^T E d` is
    :math:`(s^2 - 1) / 2` where lengths along d are multiplied by s, so negative where muscle
    shortens. Where clinical software prints :math:`s - 1`, that is :math:`\sqrt{2 E + 1} - 1`.

    Args:
        tracked: what :func:`track` found, or its warps.
        wall: a mask ``(*spatial,)`` at rest, not 0 in the wall.
        directions: of :func:`directions_about`, or unit vectors ``(*spatial, rank)`` by name.

    Returns:
        By the name of a direction, ``(frames,)``.

    Raises:
        ValueError: if the wall is empty or lies on another grid than the directions.

    Examples:
        >>> from jaxmed.registration import affine_warp, directions_about
        >>> wall = np.ones((4, 4), np.int32)
        >>> wall = Scan(wall, np.eye(3), Space((4, 4), np.eye(3)))
        >>> warps = [affine_warp(np.eye(3)), affine_warp(np.diag([0.8, 0.8, 1]))]
        >>> curves = strain_curves(warps, wall, directions_about(wall))
        >>> curves["circumferential"].round(2).tolist()
        [0.0, -0.18]
    """
    inside = np.asarray(wall.array) != 0
    if not inside.any():
        raise ValueError("wall has no voxel: there is no strain to be averaged")
    named = directions._asdict() if isinstance(directions, Directions) else dict(directions)
    named = {name: vectors for name, vectors in named.items() if vectors is not None}
    for name, vectors in named.items():
        if np.shape(vectors)[:-1] != inside.shape:
            raise ValueError(
                f"direction {name!r} has shape {np.shape(vectors)}, the wall {inside.shape}: they "
                "lie on one grid"
            )
    space = Space(inside.shape, np.asarray(wall.affine))
    curves: dict[str, list[float]] = {name: [] for name in named}
    for warp in _warps(tracked):
        tensor = strain(warp, space)[inside]
        for name, vectors in named.items():
            d = jnp.asarray(vectors, tensor.dtype)[inside]
            along = jnp.einsum("vi,vij,vj->v", d, tensor, d, precision="highest")
            curves[name].append(float(along.mean()))
    return {name: np.array(values) for name, values in curves.items()}


def carry_mask(
    tracked: Warps, mask: Scan, *, method: Literal["linear", "nearest"] = "linear"
) -> list[Scan]:
    """Carry a mask drawn at rest into every frame.

    Args:
        tracked: what :func:`track` found, or its warps.
        mask: ``(*spatial,)`` whole numbers, on the reference frame's grid.
        method: as in :func:`warp_scan`.

    Returns:
        A mask a frame, on the same grid: moved by the inverse of the frame's warp, for a warp
        tells where a voxel of the reference frame went.

    Raises:
        ValueError: if the mask does not hold whole numbers.

    Examples:
        >>> from jaxmed.registration import affine_warp
        >>> mask = Scan(np.eye(3, dtype=np.int32), np.eye(3), Space((3, 3), np.eye(3)))
        >>> up = affine_warp(np.array([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]]))
        >>> carry_mask([up], mask)[0].array.tolist()
        [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    """
    space = Space(np.shape(mask.array), np.asarray(mask.affine))
    return [warp_scan(invert(warp), mask, space, method=method) for warp in _warps(tracked)]


def carry_points(tracked: Warps, points: Any) -> Array:
    """Follow points through the frames.

    Args:
        tracked: what :func:`track` found, or its warps.
        points: ``(..., rank)`` in millimetres, in the reference frame.

    Returns:
        ``(frames, ..., rank)``, where they are in each frame.

    Raises:
        ValueError: if points have another number of axes.

    Examples:
        >>> from jaxmed.registration import affine_warp
        >>> up = affine_warp(np.array([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]]))
        >>> carry_points([up], jnp.array([5.0, 7.0])).tolist()
        [[6.0, 7.0]]
    """
    return jnp.stack([warp_points(warp, points) for warp in _warps(tracked)])


def _warps(tracked: Warps) -> Sequence[Warp]:
    return tracked.warps if isinstance(tracked, Tracked) else tracked
