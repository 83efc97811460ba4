"""Spatial augmentations: each maps output voxels to input points, in two and three dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmed.augment._chain import (
    Augmentation,
    Draw,
    Shape,
    Spatial,
    between,
    check_p,
    smooth_field,
    sometimes,
)
from jaxmed.core import Array


def flip(axes: int | Sequence[int] | None = None, *, p: float = 0.5) -> Augmentation:
    """Mirror along each of some spatial axes, each with probability p.

    Args:
        axes: spatial axes, from 0; all by default. Omit axes whose orientation is meaningful.
        p: probability, independent for each axis.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.arange(3.0).reshape(1, 3, 1)}
        >>> flip(p=1.0)(jax.random.key(0), batch)["image"].ravel().tolist()
        [2.0, 1.0, 0.0]
    """
    check_p(p)
    wanted = (axes,) if isinstance(axes, int) else axes

    def chosen(rank: int) -> Sequence[int]:
        used = range(rank) if wanted is None else wanted
        if any(not 0 <= axis < rank for axis in used):
            raise ValueError(f"flip of axes {tuple(used)}: an image has spatial axes 0..{rank - 1}")
        return used

    def chance(draw: Draw, axis: int) -> Array:
        return draw.uniform[axis] < p

    def coordinates(draw: Draw, points: Array, before: Shape, after: Shape) -> Array:
        columns = [points[..., axis] for axis in range(len(before))]
        for axis in chosen(len(before)):
            flipped = before[axis] - 1 - columns[axis]
            columns[axis] = jnp.where(chance(draw, axis), flipped, columns[axis])
        return jnp.stack(columns, axis=-1)

    def exact(draw: Draw, array: Array, rank: int) -> Array:
        for axis in chosen(rank):
            array = jnp.where(chance(draw, axis), jnp.flip(array, axis), array)
        return array

    return Augmentation((Spatial("flip", coordinates, exact=exact, affine=True),))


def rot90(axes: tuple[int, int] = (0, 1)) -> Augmentation:
    """Rotate by 0, 90, 180 or 270 degrees in a plane with equal probability, without interpolation.

    Args:
        axes: the two spatial axes of the plane, which must be equally long.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.ones((1, 4, 4, 1))}
        >>> rot90()(jax.random.key(0), batch)["image"].shape
        (1, 4, 4, 1)
    """
    a, b = axes

    def check(shape: Shape) -> None:
        if max(axes) >= len(shape) or a == b or min(axes) < 0:
            raise ValueError(f"rot90 of axes {axes} for an image of spatial shape {shape}")
        if shape[a] != shape[b]:
            raise ValueError(
                f"rot90 needs axes {axes} of one length, got the spatial shape {shape}"
            )

    def turns(draw: Draw) -> Array:
        return jnp.floor(4 * draw.uniform[0]).astype(jnp.int32)

    def coordinates(draw: Draw, points: Array, before: Shape, after: Shape) -> Array:
        check(before)
        k = turns(draw)
        cos, sin = jnp.array([1.0, 0, -1, 0])[k], jnp.array([0.0, 1, 0, -1])[k]
        middle = (before[a] - 1) / 2
        u, v = points[..., a] - middle, points[..., b] - middle
        points = points.at[..., a].set(cos * u + sin * v + middle)
        return points.at[..., b].set(cos * v - sin * u + middle)

    def exact(draw: Draw, array: Array, rank: int) -> Array:
        check(array.shape[:rank])
        turned = [lambda x, k=k: jnp.rot90(x, k, axes=axes) for k in range(4)]
        return lax.switch(turns(draw), turned, array)

    return Augmentation((Spatial("rot90", coordinates, exact=exact, affine=True),))


def random_affine(
    *,
    rotation: float | Sequence[float] = 15.0,
    scale: tuple[float, float] = (0.9, 1.1),
    shear: float = 0.0,
    translation: float = 0.0,
    spacing: Sequence[float] | None = None,
    p_rotation: float = 1.0,
    p_scale: float = 1.0,
) -> Augmentation:
    r"""Rotate, scale, shear and translate about the middle of the image.

    Output point o takes input point :math:`S^{-1} R H D S (o - c) + c + t`, with rotation R, shear
    H, scaling D and, for anisotropic voxels, the voxel size S.

    Args:
        rotation: largest angle in degrees, uniform; in 3D about each axis, or one for each axis:
            thick slices are turned in their plane alone by ``(0, 0, 15)``.
        scale: smallest and largest factor of size, log-uniform; above 1 magnifies.
        shear: largest off-diagonal of a unit upper triangular matrix, uniform.
        translation: largest shift, as a fraction of each side, uniform.
        spacing: voxel edge lengths, so that rotations are rigid in millimetres.
        p_rotation: probability that an example is rotated and sheared.
        p_scale: probability that an example is scaled.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.ones((1, 6, 6, 6, 1))}
        >>> random_affine()(jax.random.key(0), batch)["image"].shape
        (1, 6, 6, 6, 1)
    """
    check_p(p_rotation)
    check_p(p_scale)
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is (least, most) with 0 < least <= most, got {scale}")
    # Planes of two axes count from the first axis, so the axes they turn about from the last.
    largest = np.radians(np.ravel(rotation)[::-1])
    if len(largest) not in (1, 3):
        raise ValueError(f"rotation is one angle, or one about each of three axes, got {rotation}")

    def coordinates(draw: Draw, points: Array, before: Shape, after: Shape) -> Array:
        rank = len(before)
        if spacing is not None and len(spacing) != rank:
            raise ValueError(f"spacing {tuple(spacing)} for a spatial shape {before}")
        if len(largest) > 1 and rank != 3:
            raise ValueError(f"rotation {rotation} is about three axes, the image has {rank}")
        u = draw.uniform
        sheared = jnp.eye(rank)
        for (i, j), value in zip(itertools.combinations(range(rank), 2), u[2:5], strict=False):
            sheared = sheared.at[i, j].set(shear * between(value, -1, 1))
        angles = jnp.asarray(largest, jnp.float32) * between(u[5:8], -1, 1)
        matrix = jnp.where(
            u[0] < p_rotation, _product(_rotation(angles, rank), sheared), jnp.eye(rank)
        )
        factor = jnp.exp(-between(u[8], math.log(scale[0]), math.log(scale[1])))
        matrix = matrix * jnp.where(u[1] < p_scale, factor, 1.0)
        if spacing is not None:
            size = jnp.asarray(spacing, jnp.float32)
            matrix = matrix * size[None, :] / size[:, None]
        sides = jnp.asarray(before, jnp.float32)
        shift = translation * sides * between(u[9 : 9 + rank], -1, 1)
        inner = jnp.asarray([(n - 1) / 2 for n in after], jnp.float32)
        outer = jnp.asarray([(n - 1) / 2 for n in before], jnp.float32)
        # A sum of columns, not a matrix product, which is inexact on GPUs by default.
        moved = sum((points[..., j, None] - inner[j]) * matrix[:, j] for j in range(rank))
        return moved + outer + shift

    return Augmentation((Spatial("random_affine", coordinates, affine=True),))


def _rotation(angles: Array, rank: int) -> Array:
    """Compose rotations by an angle in each plane of two axes: (rank, rank)."""
    matrix = jnp.eye(rank)
    for (i, j), angle in zip(itertools.combinations(range(rank), 2), angles, strict=False):
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        turn = jnp.eye(rank).at[i, i].set(cos).at[j, j].set(cos).at[i, j].set(-sin)
        matrix = _product(matrix, turn.at[j, i].set(sin))
    return matrix


def _product(a: Array, b: Array) -> Array:
    """Compute a small matrix product in full precision, which is not a GPU's default."""
    return (a[:, :, None] * b[None]).sum(axis=1)


def elastic(amount: float = 0.03, *, knots: int = 7, p: float = 1.0) -> Augmentation:
    """Deform by a smooth random field: cubic splines between normal values on a coarse grid.

    Args:
        amount: standard deviation at the knots, as a fraction of each side.
        knots: knots along each axis, at least 4; more give finer deformations.
        p: probability.

    Returns:
        An augmentation.

    References:
        Ronneberger, Fischer, Brox. U-Net. MICCAI 2015.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.ones((1, 9, 9, 1))}
        >>> elastic()(jax.random.key(0), batch)["image"].shape
        (1, 9, 9, 1)
    """
    check_p(p)
    if knots < 4:
        raise ValueError(f"a cubic spline has at least 4 knots, got {knots}")

    def coordinates(draw: Draw, points: Array, before: Shape, after: Shape) -> Array:
        strength = amount * sometimes(draw, p, jnp.ones(()), jnp.zeros(()))
        # The field is drawn on the output's grid, wherever earlier maps have sent its points: it is
        # as random there, and a grid is cheap to fill.
        field = smooth_field(draw.key, len(before), points.shape[:-1], knots)
        sides = jnp.asarray(before, jnp.float32)
        return points + jnp.moveaxis(field, 0, -1) * (strength * sides)

    return Augmentation((Spatial("elastic", coordinates),))


def random_crop(shape: Sequence[int]) -> Augmentation:
    """Crop a box of a fixed size at a random position.

    Args:
        shape: spatial shape of the box, no larger than the image's.

    Returns:
        An augmentation whose images and masks have this spatial shape.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.ones((2, 9, 9, 1))}
        >>> random_crop((4, 6))(jax.random.key(0), batch)["image"].shape
        (2, 4, 6, 1)
    """
    wanted = tuple(int(n) for n in shape)

    def after(before: Shape) -> Shape:
        if len(before) != len(wanted) or any(n > m for n, m in zip(wanted, before, strict=True)):
            raise ValueError(f"a crop of {wanted} does not fit into the spatial shape {before}")
        return wanted

    def corner(draw: Draw, before: Shape) -> Array:
        room = jnp.asarray([m - n + 1 for n, m in zip(wanted, before, strict=True)])
        return jnp.floor(draw.uniform[: len(wanted)] * room).astype(jnp.int32)

    def coordinates(draw: Draw, points: Array, before: Shape, _: Shape) -> Array:
        return points + corner(draw, before)

    def exact(draw: Draw, array: Array, rank: int) -> Array:
        start = [*corner(draw, array.shape[:rank])] + [0] * (array.ndim - rank)
        return lax.dynamic_slice(array, start, (*wanted, *array.shape[rank:]))

    return Augmentation((Spatial("random_crop", coordinates, after, exact, affine=True),))
