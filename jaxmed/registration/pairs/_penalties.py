"""How rough a field of vectors is: what a registration pays for bending, stretching and folding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.registration.warps._jacobian import determinant


def diffusion_energy(field: Any, *, spacing: float | Sequence[float] = 1.0) -> Array:
    r"""Mean squared slope of a field, :math:`\sum_{ij} (\partial u_i / \partial x_j)^2`.

    Args:
        field: ``(batch, *grid, rank)``, displacements or velocities.
        spacing: between nodes, one or one per axis, in the unit of the vectors.

    Returns:
        ``(batch,)``, without unit: .01 for a field that stretches by a tenth along one axis.

    Raises:
        ValueError: if the vectors do not fit the grid.

    Examples:
        >>> stretched = 0.1 * jnp.arange(5.0)[None, :, None]
        >>> diffusion_energy(stretched).round(4).tolist()
        [0.009999999776482582]
    """
    field, steps = _checked(field, spacing)
    total = 0.0
    for axis, step in enumerate(steps, 1):
        if field.shape[axis] > 1:
            slope = jnp.diff(field, axis=axis) / step
            total = total + (slope**2).sum(-1).mean(tuple(range(1, field.ndim - 1)))
    return jnp.broadcast_to(jnp.asarray(total), field.shape[:1])


def bending_energy(field: Any, *, spacing: float | Sequence[float] = 1.0) -> Array:
    r"""Mean squared curvature, :math:`\sum_{ijk} (\partial^2 u_i / \partial x_j \partial x_k)^2`.

    Affine fields cost nothing.

    Args:
        field: ``(batch, *grid, rank)``, displacements or velocities.
        spacing: between nodes, one or one per axis, in the unit of the vectors.

    Returns:
        ``(batch,)``, in one over the squared unit.

    Raises:
        ValueError: if the vectors do not fit the grid.

    Examples:
        >>> bending_energy((jnp.arange(5.0) ** 2)[None, :, None]).tolist()
        [4.0]

    References:
        Rueckert et al., Nonrigid registration using free-form deformations, IEEE Transactions on
        Medical Imaging 1999.
    """
    field, steps = _checked(field, spacing)
    rank = len(steps)
    total = 0.0
    for i in range(rank):
        for j in range(i, rank):
            if min(field.shape[i + 1], field.shape[j + 1]) < (3 if i == j else 2):
                continue
            slope = jnp.diff(jnp.diff(field, axis=i + 1), axis=j + 1) / (steps[i] * steps[j])
            times = 1 if i == j else 2
            total = total + times * (slope**2).sum(-1).mean(tuple(range(1, rank + 1)))
    return jnp.broadcast_to(jnp.asarray(total), field.shape[:1])


def folding_energy(field: Any, *, spacing: float | Sequence[float] = 1.0) -> Array:
    r"""Mean of :math:`\max(0, -\det J)` of the map that a field of displacements makes.

    Args:
        field: ``(batch, *grid, rank)`` along the axes of the grid.
        spacing: between nodes, one or one per axis, in the unit of the vectors.

    Returns:
        ``(batch,)``; 0 where nothing folds.

    Raises:
        ValueError: if the vectors do not fit the grid, which is of two axes or three.

    Examples:
        >>> mirrored = -3.0 * jnp.stack(jnp.meshgrid(jnp.arange(3.0), jnp.zeros(3)), -1)
        >>> folding_energy(jnp.swapaxes(mirrored, 0, 1)[None]).tolist()
        [2.0]

    References:
        Mok and Chung, Large deformation diffeomorphic image registration with Laplacian pyramid
        networks, MICCAI 2020.
    """
    field, steps = _checked(field, spacing)
    rank = len(steps)
    if rank < 2 or min(field.shape[1:-1]) < 2:
        raise ValueError(f"field of shape {field.shape}: two axes or three, of two nodes or more")
    keep = tuple(slice(0, n - 1) for n in field.shape[1:-1])
    columns = []
    for axis, step in enumerate(steps, 1):
        slope = jnp.diff(field, axis=axis) / step
        columns.append(slope[(slice(None), *keep)])
    j = jnp.stack(columns, -1) + jnp.eye(rank, dtype=field.dtype)
    return jnp.maximum(-determinant(j), 0).mean(tuple(range(1, rank + 1)))


def _checked(field: Any, spacing: float | Sequence[float]) -> tuple[Array, tuple[float, ...]]:
    field = jnp.asarray(field)
    rank = field.ndim - 2
    if rank < 1 or field.shape[-1] != rank:
        raise ValueError(f"field has shape {field.shape}; it is (batch, *grid, rank)")
    steps = (spacing,) * rank if isinstance(spacing, int | float) else tuple(spacing)
    if len(steps) != rank:
        raise ValueError(f"spacing={spacing!r} for a grid of {rank} axes")
    return field, steps
