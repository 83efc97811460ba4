"""Directions about the long axis of a chamber."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import Scan
from jaxmed.registration.warps._warp import known_matrix


class Directions(NamedTuple):
    """Unit vectors at each voxel of a grid, in millimetres of the space's axes (RAS).

    Attributes:
        radial: (*grid, rank), away from the axis; 0 on it.
        circumferential: (*grid, rank), around the axis.
        longitudinal: (*grid, 3), along it; None on grids of two axes.
    """

    radial: np.ndarray
    circumferential: np.ndarray
    longitudinal: np.ndarray | None


def directions_about(mask: Scan, label: Any = None) -> Directions:
    """Find the radial and circumferential directions about the long axis of a chamber.

    The axis is the line through the middles of the chamber's slices (along the grid's last axis):
    the least-squares line where there are three slices or more, else at right angles to the slices.
    On grids of two axes it is the chamber's middle.

    Args:
        mask: a mask ``(*spatial,)`` at rest, of two axes or three.
        label: the class or classes of the chamber, such as that of the cavity; by default all that
            is not background.

    Returns:
        Unit vectors at every voxel.

    Raises:
        ValueError: if the mask has no voxel of the label, or neither two nor three axes.

    Examples:
        >>> from jaxmed.data import Space
        >>> mask = np.zeros((5, 5), np.int32)
        >>> mask[2, 2] = 1
        >>> found = directions_about(Scan(mask, np.eye(3), Space((5, 5), np.eye(3))))
        >>> found.radial[4, 2].tolist(), abs(found.circumferential[4, 2]).tolist()
        ([1.0, 0.0], [0.0, 1.0])
    """
    array, affine = np.asarray(mask.array), known_matrix(mask.affine, "the mask's affine")
    rank = len(affine) - 1
    if array.ndim != rank:
        raise ValueError(f"mask has shape {array.shape}; of {rank} axes it is (*spatial,)")
    chamber = array != 0 if label is None else np.isin(array, np.atleast_1d(label))
    if not chamber.any():
        raise ValueError(f"mask has no voxel of label {label}: it has no middle")
    linear, start = affine[:rank, :rank], affine[:rank, rank]
    at = np.moveaxis(np.indices(array.shape), 0, -1) @ linear.T + start
    if rank == 2:
        away = at - at[chamber].mean(0)
        radial = _unit(away)
        around = np.stack([-radial[..., 1], radial[..., 0]], -1)
        return Directions(radial.astype(np.float32), around.astype(np.float32), None)
    middles = np.array(
        [
            at[:, :, k][chamber[:, :, k]].mean(0)
            for k in range(array.shape[2])
            if chamber[..., k].any()
        ]
    )
    origin = middles.mean(0)
    axis = np.cross(linear[:, 0], linear[:, 1])
    axis *= np.sign(axis @ linear[:, 2])
    if len(middles) > 2:
        line = np.linalg.svd(middles - origin)[2][0]
        axis = line * (np.sign(line @ axis) or 1)
    axis = axis / np.linalg.norm(axis)
    away = at - origin
    radial = _unit(away - (away @ axis)[..., None] * axis)
    around = np.cross(axis, radial)
    along = np.broadcast_to(axis, at.shape)
    return Directions(*(x.astype(np.float32) for x in (radial, around, along)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), 0)
