"""Scans moved by a warp: images and masks, on whichever grid is asked for."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed import ops
from jaxmed.core import Array
from jaxmed.data import Scan, Space
from jaxmed.registration.warps._warp import (
    Warp,
    affine_warp,
    exponentiate,
    inverse_of,
    nodes,
    transformed,
    warp_points,
)

# As `data.to_space`: half a voxel beyond the outermost centres, and a quarter of rounding.
_REACH = 0.75 + 1e-4


def warp_scan(
    warp: Warp,
    scan: Scan,
    space: Space | Scan,
    *,
    method: Literal["linear", "nearest", "cubic"] = "linear",
) -> Scan:
    """Move a scan from the moving image's space into the fixed one's.

    Args:
        warp: the map, from the fixed image's space to the scan's.
        scan: an image, ``(*spatial, channels)``, or a mask of whole numbers, ``(*spatial,)``.
        space: the grid of the result, or the scan on it: the fixed image. The grid of a warp's
            field is none, for it may be coarser.
        method: how voxels are interpolated. A mask's classes are interpolated one by one and the
            largest wins with ``"linear"``; ``"nearest"`` takes the nearest voxel's. The two differ
            by about a hundredth of Dice: name which.

    Returns:
        The scan on ``space``; 0 beyond three quarters of a voxel outside of it, as
        :func:`jaxmed.data.to_space`.

    Raises:
        ValueError: if ranks do not agree, or a mask is to be cubic.

    Examples:
        >>> from jaxmed.registration import affine_warp
        >>> scan = Scan(np.eye(3, dtype=np.int32), np.eye(3), Space((3, 3), np.eye(3)))
        >>> shift = affine_warp(np.array([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]]))
        >>> warp_scan(shift, scan, scan.space).array.tolist()
        [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    """
    rank = len(scan.affine) - 1
    array = np.asarray(scan.array)
    if rank != warp.rank or array.ndim not in (rank, rank + 1):
        raise ValueError(
            f"a warp of {warp.rank} axes cannot move an array of shape {array.shape} with an "
            f"affine of {rank} axes"
        )
    space = space.space if isinstance(space, Scan) else space
    if len(space.shape) != rank:
        raise ValueError(f"space has {len(space.shape)} axes, the scan {rank}")
    at = _places(exponentiate(warp), scan.affine, space)
    if array.ndim == rank + 1:
        moved = np.asarray(_image(jnp.asarray(array), at, method))
    elif method == "cubic" or array.dtype.kind not in "iub":
        raise ValueError(
            f"a mask holds whole numbers, got {array.dtype}, and is moved by 'linear' (the largest "
            f"share wins) or 'nearest', not {method!r}"
        )
    else:
        moved = _mask(array, at, method)
    return Scan(moved, np.asarray(space.affine), space)


def centre_warp(fixed: Space | Scan, moving: Space | Scan) -> Warp:
    """Shift the middle of one grid onto that of another, to begin with where scans lie apart.

    Args:
        fixed: a grid, or a scan on it.
        moving: likewise.

    Returns:
        An affine warp.

    Raises:
        ValueError: if they have different numbers of axes.

    Examples:
        >>> centre_warp(Space((5, 5), np.eye(3)), Space((9, 7), np.eye(3))).values[:2, 2].tolist()
        [2.0, 1.0]
    """
    middles = []
    for given in (fixed, moving):
        space = given.space if isinstance(given, Scan) else given
        middles.append(space.affine @ [*((n - 1) / 2 for n in space.shape), 1.0])
    if len(middles[0]) != len(middles[1]):
        raise ValueError(f"grids of {len(middles[0]) - 1} and of {len(middles[1]) - 1} axes")
    matrix = np.eye(len(middles[0]))
    matrix[:, -1] += middles[1] - middles[0]
    return affine_warp(matrix)


def _places(warp: Warp, affine: np.ndarray, space: Space) -> Array:
    """Where each voxel of a grid lies in the scan, in its voxels."""
    points = warp_points(warp, nodes(space.affine, tuple(space.shape)))
    return transformed(inverse_of(affine), points)


def _inside(at: Array, shape: tuple[int, ...]) -> Array:
    last = jnp.asarray(shape, at.dtype) - 1
    return ((at >= -_REACH) & (at <= last + _REACH)).all(-1)


def _image(array: Array, at: Array, method: Any) -> Array:
    moved = ops.resample(array, at, method=method, mode="nearest")
    return jnp.where(_inside(at, array.shape[:-1])[..., None], moved, 0)


def _mask(array: np.ndarray, at: Array, method: Any) -> np.ndarray:
    inside = _inside(at, array.shape)
    if method == "nearest":
        moved = ops.resample(jnp.asarray(array)[..., None], at, method=method, mode="nearest")
        return np.asarray(jnp.where(inside, moved[..., 0], 0)).astype(array.dtype)
    # As in `to_space`: the background wins ties.
    best = np.where(inside, 1 - np.asarray(_share(array != 0, at)), np.inf)
    out = np.zeros(at.shape[:-1], array.dtype)
    for label in np.unique(array[array != 0]):
        own = np.asarray(_share(array == label, at))
        wins = own > best
        out[wins] = label
        best[wins] = own[wins]
    return out


@jax.jit
def _share(own: Array, at: Array) -> Array:
    """How much of each place is a class; one program for all masks of a grid."""
    return ops.resample(own.astype(jnp.float32)[..., None], at, mode="nearest")[..., 0]
