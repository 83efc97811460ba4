"""Derivatives of a warp: volumes, folds, strain."""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.data import Space
from jaxmed.registration.warps._warp import Warp, exponentiate, inverse_of, nodes, warp_points

Protocol = Literal["plain", "learn2reg"]


def jacobian(warp: Warp, space: Space | None = None) -> Array:
    r"""Differentiate a warp: :math:`J_{ij} = \partial \phi_i / \partial p_j`.

    By central differences of one voxel to either side, and by one-sided ones at the border.

    Args:
        warp: the map.
        space: the grid on which it is wanted; by default a field's own.

    Returns:
        ``(*grid, rank, rank)`` in the space's own axes (RAS), whatever way the grid lies; for an
        affine warp without ``space`` its matrix, ``(rank, rank)``.

    Raises:
        ValueError: if the grid has an axis of one voxel.

    Examples:
        >>> import numpy as np
        >>> from jaxmed.registration import affine_warp
        >>> jacobian(affine_warp(np.diag([2.0, 3, 1]))).tolist()
        [[2.0, 0.0], [0.0, 3.0]]
    """
    rank = warp.rank
    if warp.kind == "affine":
        linear = jnp.asarray(warp.values, jnp.float32)[:rank, :rank]
        return linear if space is None else jnp.broadcast_to(linear, (*space.shape, rank, rank))
    warp = exponentiate(warp)
    field, affine = warp.values, warp.affine
    if space is not None:
        points = nodes(space.affine, tuple(space.shape))
        field, affine = warp_points(warp, points) - points, space.affine
    return slopes(field, affine) + jnp.eye(rank, dtype=field.dtype)


def slopes(field: Array, affine: Any) -> Array:
    """Differentiate a field on a grid along the axes of space, ``(*grid, rank, rank)``."""
    rank = field.shape[-1]
    if min(field.shape[:-1]) < 2:
        raise ValueError(
            f"a field on a grid of {field.shape[:-1]} has no derivative along an axis of one voxel"
        )
    along = [jnp.asarray(jnp.gradient(field, axis=axis)) for axis in range(rank)]
    inverse = jnp.asarray(inverse_of(affine), field.dtype)
    total = along[0][..., :, None] * inverse[0, :rank]
    for axis in range(1, rank):
        total = total + along[axis][..., :, None] * inverse[axis, :rank]
    return total


def jacobian_determinant(warp: Warp, space: Space | None = None) -> Array:
    """Compute by how much each place grows on its way to the moving image: ``det J``.

    Args:
        warp: the map.
        space: the grid on which it is wanted; by default a field's own.

    Returns:
        ``(*grid,)``: 1 where volume is kept, below 1 where the moving image is smaller, 0 or below
        where the warp folds; a scalar for an affine warp without ``space``.

    Raises:
        ValueError: if the grid has an axis of one voxel.

    Examples:
        >>> import numpy as np
        >>> from jaxmed.registration import affine_warp
        >>> float(jacobian_determinant(affine_warp(np.diag([2.0, 3, 1]))))
        6.0
    """
    return determinant(jacobian(warp, space))


def determinant(matrices: Array) -> Array:
    """Determinants of 2 x 2 and 3 x 3 matrices, by their rule: quicker than factors of each."""
    m = matrices
    if m.shape[-1] == 2:
        return m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]
    minors = jnp.cross(m[..., 1, :], m[..., 2, :])
    return (m[..., 0, :] * minors).sum(-1)


def folds(warp: Warp, space: Space | None = None) -> Array:
    """Compute the share of voxels where a warp folds, ``det J <= 0``, border included.

    Args:
        warp: the map.
        space: the grid on which it is counted; by default a field's own.

    Returns:
        A scalar in [0, 1].

    Examples:
        >>> import numpy as np
        >>> from jaxmed.registration import displacement_warp
        >>> mirrored = -2.0 * jnp.arange(4.0)[:, None, None] * jnp.array([1.0, 0.0])
        >>> float(folds(displacement_warp(jnp.tile(mirrored, (1, 3, 1)), np.eye(3))))
        1.0
    """
    folded = jacobian_determinant(warp, space) <= 0
    return folded.sum() / folded.size


def sd_log_jacobian(
    warp: Warp, space: Space | None = None, *, protocol: Protocol = "plain"
) -> Array:
    """Compute the standard deviation of the logarithm of ``det J``: how uneven a warp is.

    Args:
        warp: the map.
        space: the grid on which it is computed; by default a field's own.
        protocol: ``"plain"``: ``log(max(det J, 1e-9))`` on every voxel. ``"learn2reg"``: as the
            evaluation of that challenge computes it, ``log(max(det J + 3, 1e-9))`` without two
            voxels at each border; it is a quarter as large, and the two are never to be compared.

    Returns:
        A scalar.

    Raises:
        ValueError: if the protocol is unknown, or nothing is left within the border.

    Examples:
        >>> import numpy as np
        >>> from jaxmed.registration import displacement_warp
        >>> float(sd_log_jacobian(displacement_warp(np.zeros((8, 8, 2)), np.eye(3))))
        0.0
    """
    if protocol not in ("plain", "learn2reg"):
        raise ValueError(f"protocol={protocol!r}; expected 'plain' or 'learn2reg'")
    growth = jacobian_determinant(warp, space)
    if protocol == "learn2reg":
        if growth.ndim and min(growth.shape) < 5:
            raise ValueError(f"a grid of {growth.shape} has nothing two voxels from its border")
        growth = growth[(slice(2, -2),) * growth.ndim] + 3
    return jnp.log(jnp.maximum(growth, 1e-9)).std()


def strain(warp: Warp, space: Space | None = None, *, directions: Any = None) -> Array:
    r"""Compute the Green-Lagrange strain, :math:`E = (J^T J - 1) / 2`.

    Args:
        warp: the map from the state of rest (the fixed image, such as end-diastole) to the deformed
            one.
        space: the grid on which it is wanted; by default a field's own.
        directions: unit vectors at rest, ``(*grid, rank)`` or ``(rank,)``, along which strain is
            wanted, such as radial or circumferential ones.

    Returns:
        ``(*grid, rank, rank)``; with directions ``(*grid,)``: :math:`d^T E d`, which is
        :math:`(s^2 - 1) / 2` where lengths are multiplied by s.

    Raises:
        ValueError: if the grid has an axis of one voxel.

    Examples:
        >>> import numpy as np
        >>> from jaxmed.registration import affine_warp
        >>> strain(affine_warp(np.diag([2.0, 1, 1])), directions=jnp.array([1.0, 0.0])).item()
        1.5
    """
    j = jacobian(warp, space)
    tensor = (jnp.einsum("...ki,...kj->...ij", j, j, precision="highest") - jnp.eye(warp.rank)) / 2
    if directions is None:
        return tensor
    d = jnp.asarray(directions, tensor.dtype)
    return jnp.einsum("...i,...ij,...j->...", d, tensor, d, precision="highest")
