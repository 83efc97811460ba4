"""Coordinate grids: the identity and affine maps from output to input voxels."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxmed.core import Array


def identity_grid(shape: Sequence[int], *, dtype: DTypeLike = jnp.float32) -> Array:
    """Return the coordinates of every voxel of ``shape``, ``(*shape, ndim)``, in voxels.

    Examples:
        >>> identity_grid((2, 2)).tolist()
        [[[0.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]]
    """
    axes = [jnp.arange(n, dtype=dtype) for n in shape]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)


def affine_grid(
    matrix: Array, shape: Sequence[int], *, center: str | Array | Sequence[float] = "origin"
) -> Array:
    """Compute the input coordinates of an affine map at every output voxel, for :func:`resample`.

    ``p(o) = A (o - c) + t + c``, from output to input voxels as in
    ``scipy.ndimage.affine_transform``.

    Args:
        matrix: ``(ndim, ndim)``, ``(ndim, ndim + 1)`` with the translation in the last column,
            or homogeneous ``(ndim + 1, ndim + 1)``; voxels.
        shape: spatial shape of the output.
        center: ``c``: ``"origin"`` (voxel 0, SciPy's meaning), ``"center"`` (the middle of
            ``shape``), or a point in voxels.

    Returns:
        Coordinates ``(*shape, ndim)`` in voxels.

    Raises:
        ValueError: if the matrix does not fit the number of axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> affine_grid(jnp.array([[2.0, 1.0]]), (3,)).ravel().tolist()
        [1.0, 3.0, 5.0]
    """
    ndim = len(shape)
    matrix = jnp.asarray(matrix)
    if matrix.shape not in ((ndim, ndim), (ndim, ndim + 1), (ndim + 1, ndim + 1)):
        raise ValueError(
            f"matrix has shape {matrix.shape}; for the {ndim} axes of shape={tuple(shape)} it must "
            f"be ({ndim}, {ndim}), ({ndim}, {ndim + 1}) or ({ndim + 1}, {ndim + 1})"
        )
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        matrix = matrix.astype(jnp.float32)
    if isinstance(center, str):
        if center not in ("origin", "center"):
            raise ValueError(f"center={center!r}; expected 'origin', 'center' or a point")
        point = [(n - 1) / 2 if center == "center" else 0.0 for n in shape]
    else:
        point = center
    point = jnp.asarray(point, matrix.dtype)
    if point.shape != (ndim,):
        raise ValueError(f"center has shape {point.shape}; it must be a point of {ndim} axes")
    linear = matrix[:ndim, :ndim]
    shift = point if matrix.shape[1] == ndim else matrix[:ndim, ndim] + point
    # One column of the matrix times one coordinate at a time: a sum of broadcast lines, cheaper
    # than a matrix product over a stored grid, and exact (no reduced-precision product on GPU).
    total = shift
    for axis, n in enumerate(shape):
        line = jnp.arange(n, dtype=matrix.dtype) - point[axis]
        line = line.reshape([n if a == axis else 1 for a in range(ndim)] + [1])
        total = total + line * linear[:, axis]
    return jnp.broadcast_to(total, (*shape, ndim))
