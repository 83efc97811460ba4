"""What a registration looks for: the parameters of each kind of map, all in millimetres."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.registration.pairs._grids import Grid, spread
from jaxmed.registration.warps._warp import across_grid, along_grid, exponential

Transform = Literal["rigid", "affine", "bspline", "displacement", "velocity"]
TRANSFORMS: tuple[str, ...] = get_args(Transform)
LINEAR = ("rigid", "affine")
# Maps whose inverse has a closed form.
INVERTIBLE = ("rigid", "affine", "velocity")
# Voxels of a level between the nodes of a field.
NODES = {"bspline": 4.0, "displacement": 2.0, "velocity": 2.0}
_TERMS, _HALVINGS = 6, 6


def checked(transform: str) -> str:
    """Refuse a transform that is not known."""
    if transform not in TRANSFORMS:
        raise ValueError(f"transform={transform!r}; expected one of {', '.join(TRANSFORMS)}")
    return transform


class Body(NamedTuple):
    """What a linear map turns about, and the length by which its parameters become angles.

    Attributes:
        centre: ``(rank,)`` in millimetres.
        radius: root mean square distance of voxels from the centre, in millimetres.
    """

    centre: Any
    radius: Any


def body(shape: tuple[int, ...], affine: np.ndarray) -> Body:
    """Find the middle of an image and how far its voxels lie from it."""
    rank = len(shape)
    middle = (np.array(shape) - 1) / 2
    centre = affine[:rank, :rank] @ middle + affine[:rank, rank]
    variance = (np.array(shape, float) ** 2 - 1) / 12
    radius = np.sqrt((variance * (affine[:rank, :rank] ** 2).sum(0)).sum())
    return Body(centre.astype(np.float32), np.float32(max(radius, 1e-3)))


def parameters(transform: str, rank: int, nodes: Grid | None) -> Array:
    """The parameters of the identity."""
    if transform == "rigid":
        return jnp.zeros(rank + (1 if rank == 2 else 3))
    if transform == "affine":
        return jnp.zeros((rank, rank + 1))
    assert nodes is not None  # a field has some
    return jnp.zeros((*nodes.shape, rank))


def matrix(transform: str, values: Array, of: Body, *, back: bool = False) -> Array:
    """The homogeneous matrix of a linear map, or of its inverse.

    A parameter of 1 moves voxels by about a millimetre, whatever it turns, stretches or shifts.
    The map is the exponential of the parameters, so the negative ones give the inverse.
    """
    rank = len(of.centre)
    centre, radius = jnp.asarray(of.centre, values.dtype), jnp.asarray(of.radius, values.dtype)
    if transform == "rigid":
        shift, angles = values[:rank], values[rank:] / radius
        if rank == 2:
            turn = angles[0] * jnp.array([[0.0, -1.0], [1.0, 0.0]])
        else:
            x, y, z = angles
            o = jnp.zeros_like(x)
            turn = jnp.array([[o, -z, y], [z, o, -x], [-y, x, o]])
    else:
        shift, turn = values[:, rank], values[:, :rank] / radius
    generator = jnp.zeros((rank + 1, rank + 1), values.dtype)
    generator = generator.at[:rank, :rank].set(turn).at[:rank, rank].set(shift)
    about = _exponential(-generator if back else generator)
    moved = jnp.eye(rank + 1, dtype=values.dtype).at[:rank, rank].set(centre)
    home = jnp.eye(rank + 1, dtype=values.dtype).at[:rank, rank].set(-centre)
    return product(moved, about, home)


def product(*matrices: Any) -> Array:
    """Multiply matrices in full precision."""
    total = jnp.asarray(matrices[0], jnp.float32)
    for m in matrices[1:]:
        total = jnp.matmul(total, jnp.asarray(m, jnp.float32), precision=jax.lax.Precision.HIGHEST)
    return total


def _exponential(m: Array) -> Array:
    """The exponential of a small matrix, by its series and squaring."""
    m = m / 2**_HALVINGS
    eye = jnp.eye(len(m), dtype=m.dtype)
    total, term = eye, eye
    for k in range(1, _TERMS):
        term = product(term, m) / k
        total = total + term
    for _ in range(_HALVINGS):
        total = product(total, total)
    return total


def displacements(
    transform: str, values: Array, affine: Any, squarings: int, *, back: bool = False
) -> Array:
    """The displacements at the nodes, in millimetres, or those of the inverse."""
    if transform != "velocity":
        return values
    along = along_grid(-values if back else values, affine)
    return across_grid(exponential(along, squarings), affine)


def field_on(transform: str, values: Array, nodes: Grid, onto: Grid) -> Array:
    """Displacements of the nodes, taken at the voxels of a grid."""
    return spread(values, nodes, onto, cubic=transform == "bspline")
