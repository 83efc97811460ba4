"""The map from one image's space to another's."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmed import ops
from jaxmed.core import Array

Kind = Literal["affine", "displacement", "velocity"]


@partial(jax.tree_util.register_dataclass, data_fields=("values", "affine"), meta_fields=("kind",))
@dataclass(frozen=True)
class Warp:
    r"""A map from points of the fixed image's space to points of the moving one's.

    Both are in millimetres and, for scans of three axes, RAS: x to the patient's right, y to the
    front, z up. An image is moved the other way: the moved image has at a point what the moving one
    has where the warp sends that point. It is a pytree, whose arrays may have a batch before them
    inside ``jax.vmap``.

    Attributes:
        values: for an affine warp its homogeneous matrix, (rank + 1, rank + 1); else vectors in
            millimetres at the nodes of a grid, (*grid, rank). A displacement ``u`` sends p to
            ``p + u(p)``, a stationary velocity ``v`` to where p flows in the time 1. Between nodes
            vectors are interpolated linearly; beyond the grid they go on as at its border.
        affine: from the grid's indices to millimetres, (rank + 1, rank + 1); the identity for an
            affine warp.
        kind: ``"affine"``, ``"displacement"`` or ``"velocity"``.
    """

    values: Any
    affine: Any
    kind: Kind = field(default="displacement")

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.affine.shape[-1] - 1

    @property
    def grid(self) -> tuple[int, ...] | None:
        """Shape of the grid; None for an affine warp."""
        return None if self.kind == "affine" else tuple(self.values.shape[:-1])


def affine_warp(matrix: Any) -> Warp:
    """Make a warp of a homogeneous matrix, ``(rank + 1, rank + 1)`` in millimetres.

    Raises:
        ValueError: if it is no homogeneous matrix of two or three axes, or has no inverse.

    Examples:
        >>> affine_warp(np.eye(4)).kind
        'affine'
    """
    matrix = _matrix(matrix, "matrix")
    return Warp(matrix, np.eye(matrix.shape[0]), "affine")


def displacement_warp(field: Any, affine: Any) -> Warp:
    """Make a warp of displacements in millimetres at the nodes of a grid.

    Args:
        field: ``(*grid, rank)``, vectors in the space's own axes (RAS), not along the grid's.
        affine: from the grid's indices to millimetres, ``(rank + 1, rank + 1)``.

    Raises:
        ValueError: if shapes do not agree, values are not finite, or the affine has no inverse.

    Examples:
        >>> displacement_warp(np.zeros((4, 5, 2)), np.eye(3)).grid
        (4, 5)
    """
    return _field_warp(field, affine, "displacement")


def velocity_warp(field: Any, affine: Any) -> Warp:
    """Make a warp of stationary velocities in millimetres at the nodes of a grid.

    Args:
        field: ``(*grid, rank)``, vectors in the space's own axes (RAS).
        affine: from the grid's indices to millimetres, ``(rank + 1, rank + 1)``.

    Raises:
        ValueError: if shapes do not agree, values are not finite, or the affine has no inverse.

    Examples:
        >>> velocity_warp(np.zeros((4, 5, 2)), np.eye(3)).kind
        'velocity'
    """
    return _field_warp(field, affine, "velocity")


def _field_warp(values: Any, affine: Any, kind: Kind) -> Warp:
    affine = _matrix(affine, "affine")
    rank = affine.shape[0] - 1
    values = jnp.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        values = values.astype(jnp.float32)
    if values.ndim != rank + 1 or values.shape[-1] != rank:
        raise ValueError(
            f"field has shape {values.shape}; on a grid of {rank} axes it is (*grid, {rank})"
        )
    if 0 in values.shape:
        raise ValueError(f"field of shape {values.shape} is empty")
    if not isinstance(values, Tracer) and not np.isfinite(np.asarray(values)).all():
        raise ValueError("field has values that are not finite")
    return Warp(values, affine, kind)


def warp_points(warp: Warp, points: Any) -> Array:
    """Send points of the fixed image's space to the moving one's.

    Args:
        warp: the map.
        points: ``(..., rank)`` in millimetres.

    Returns:
        ``(..., rank)`` in millimetres.

    Raises:
        ValueError: if points have another number of axes.

    Examples:
        >>> shift = affine_warp(np.array([[1.0, 0, 5], [0, 1, 0], [0, 0, 1]]))
        >>> warp_points(shift, jnp.array([[1.0, 2.0]])).tolist()
        [[6.0, 2.0]]
    """
    points = jnp.asarray(points)
    if points.ndim < 1 or points.shape[-1] != warp.rank:
        raise ValueError(
            f"points have shape {points.shape}; the warp's space has {warp.rank} axes, so they are "
            f"(..., {warp.rank})"
        )
    if warp.kind == "affine":
        return transformed(warp.values, points)
    moved = exponentiate(warp)
    at = transformed(inverse_of(moved.affine), points)
    return points + ops.resample(moved.values, at, mode="nearest")


def compose(outer: Warp, inner: Warp) -> Warp:
    """Send points first by one warp, then by another: ``p -> outer(inner(p))``.

    Args:
        outer: the later one.
        inner: the earlier one.

    Returns:
        An affine warp of two; else a displacement on the grid of ``inner``, or, where that is
        affine, on the grid of ``outer`` as ``inner`` finds it.

    Raises:
        ValueError: if their spaces have different numbers of axes.

    Examples:
        >>> twice = affine_warp(np.diag([2.0, 2, 1]))
        >>> np.diag(compose(twice, twice).values).tolist()
        [4.0, 4.0, 1.0]
    """
    if outer.rank != inner.rank:
        raise ValueError(f"a warp of {outer.rank} axes after one of {inner.rank}")
    if inner.kind == "affine":
        if outer.kind == "affine":
            return affine_warp(_times(outer.values, inner.values))
        affine = _times(inverse_of(inner.values), outer.affine)
        grid: tuple[int, ...] = outer.values.shape[:-1]
    else:
        affine, grid = inner.affine, inner.values.shape[:-1]
    points = nodes(affine, grid)
    return Warp(warp_points(outer, warp_points(inner, points)) - points, affine, "displacement")


def invert(warp: Warp, *, iterations: int = 12) -> Warp:
    """Find the warp that leads back.

    A velocity is negated. A displacement's inverse is found at each node of its own grid by
    Newton's method, and by fixed-point steps where the map is nearly singular; where a warp folds
    there is none, and what is returned there is no inverse.

    Args:
        warp: the map.
        iterations: of Newton's method.

    Returns:
        A warp of the same kind.

    Raises:
        ValueError: if an affine warp has no inverse.

    Examples:
        >>> np.asarray(invert(affine_warp(np.diag([2.0, 4, 1]))).values).diagonal().tolist()
        [0.5, 0.25, 1.0]

    References:
        Chen et al., A simple fixed-point approach to invert a deformation field, Medical Physics
        2008.
    """
    if warp.kind == "affine":
        return affine_warp(inverse_of(_matrix(warp.values, "the warp's matrix")))
    if warp.kind == "velocity":
        return Warp(-warp.values, warp.affine, "velocity")
    # In voxels of the grid: q + w with (q + w) + u(q + w) = q.
    field = along_grid(warp.values, warp.affine)
    grid = ops.identity_grid(field.shape[:-1], dtype=field.dtype)
    read = lambda at: ops.resample(field, at, mode="nearest")  # noqa: E731
    axes = jnp.eye(warp.rank, dtype=field.dtype)

    def step(_: int, w: Array) -> Array:
        at = grid + w
        value, columns = jax.vmap(
            lambda axis: jax.jvp(read, (at,), (jnp.broadcast_to(axis, at.shape),)), out_axes=-1
        )(axes)
        left = w + value[..., 0]
        slope = columns + axes
        determinant = jnp.linalg.det(slope)
        sound = determinant > 0.1
        safe = jnp.where(sound[..., None, None], slope, axes)
        return w - jnp.linalg.solve(safe, left[..., None])[..., 0]

    w = jax.lax.fori_loop(0, iterations, step, -field)
    return Warp(across_grid(w, warp.affine), warp.affine, "displacement")


def exponentiate(warp: Warp, *, squarings: int = 6) -> Warp:
    r"""Follow a stationary velocity for the time 1, by scaling and squaring.

    Args:
        warp: a velocity; other warps are returned as they are.
        squarings: the velocity is divided by ``2**squarings``, and the map composed with itself
            that often.

    Returns:
        A displacement on the same grid.

    Raises:
        ValueError: if ``squarings`` is negative.

    Examples:
        >>> still = velocity_warp(np.zeros((4, 5, 2)), np.eye(3))
        >>> float(abs(exponentiate(still).values).max())
        0.0

    References:
        Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, MICCAI 2006.
    """
    if squarings < 0:
        raise ValueError(f"squarings={squarings} is negative")
    if warp.kind != "velocity":
        return warp
    u = exponential(along_grid(warp.values, warp.affine), squarings)
    return Warp(across_grid(u, warp.affine), warp.affine, "displacement")


def exponential(velocity: Array, squarings: int = 6) -> Array:
    """Integrate a stationary velocity in voxels of its own grid, ``(*grid, rank)``."""
    u = velocity / 2**squarings
    for _ in range(squarings):
        u = u + ops.warp(u, u, mode="nearest")
    return u


# Coordinates. Affines stay NumPy's, in double precision, unless they are traced.


def _host(*arrays: Any) -> Any:
    return np if all(isinstance(a, np.ndarray) for a in arrays) else jnp


def inverse_of(affine: Any) -> Any:
    """Invert a homogeneous matrix, on the host where it is NumPy's."""
    return _host(affine).linalg.inv(affine)


def _times(a: Any, b: Any) -> Any:
    if _host(a, b) is np:
        return a @ b
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def transformed(matrix: Any, points: Array) -> Array:
    """Apply a homogeneous matrix to points, ``(..., rank)``."""
    matrix = jnp.asarray(matrix, points.dtype)
    rank = points.shape[-1]
    # Axis by axis: no product of reduced precision on an accelerator.
    moved = matrix[:rank, rank]
    for axis in range(rank):
        moved = moved + points[..., axis, None] * matrix[:rank, axis]
    return moved


def nodes(affine: Any, grid: tuple[int, ...]) -> Array:
    """Return the places of a grid's nodes in millimetres, ``(*grid, rank)``."""
    return ops.affine_grid(jnp.asarray(affine, jnp.float32), grid)


def along_grid(vectors: Array, affine: Any) -> Array:
    """Vectors in millimetres, as numbers of voxels along each axis of a grid."""
    return _turned(vectors, inverse_of(affine))


def across_grid(vectors: Array, affine: Any) -> Array:
    """Vectors in voxels along each axis of a grid, as millimetres."""
    return _turned(vectors, affine)


def _turned(vectors: Array, matrix: Any) -> Array:
    matrix = jnp.asarray(matrix, vectors.dtype)
    rank = vectors.shape[-1]
    moved = vectors[..., 0, None] * matrix[:rank, 0]
    for axis in range(1, rank):
        moved = moved + vectors[..., axis, None] * matrix[:rank, axis]
    return moved


def known_matrix(matrix: Any, name: str) -> np.ndarray:
    """Check a homogeneous matrix that has to be known when a program is traced."""
    if isinstance(matrix, Tracer):
        raise ValueError(f"{name} is traced; it has to be known: close over it")
    return np.asarray(_matrix(matrix, name), np.float64)


def _matrix(matrix: Any, name: str) -> Any:
    """Check a homogeneous matrix; NumPy's in double precision unless it is a JAX array."""
    if not isinstance(matrix, jax.Array):
        matrix = np.asarray(matrix, np.float64)
    if matrix.shape not in ((3, 3), (4, 4)):
        raise ValueError(
            f"{name} has shape {matrix.shape}; it is homogeneous, (3, 3) for two axes or (4, 4) "
            "for three"
        )
    if isinstance(matrix, Tracer):
        return matrix
    known = np.asarray(matrix, np.float64)
    last = [0.0] * (len(known) - 1) + [1.0]
    if not np.isfinite(known).all() or not np.allclose(known[-1], last, atol=1e-6):
        raise ValueError(f"{name} must be finite with the last row {last}, got\n{known}")
    linear = known[:-1, :-1]
    if not abs(np.linalg.det(linear)) > 1e-9 * max(np.linalg.norm(linear), 1e-9) ** len(linear):
        raise ValueError(f"{name} has no inverse: its columns do not span the space:\n{known}")
    return matrix
