"""An agent that turns and shifts a plane until it shows a standard view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxmed.core import Array
from jaxmed.reinforcement._environment import Environment
from jaxmed.reinforcement.imaging._place import Place
from jaxmed.reinforcement.imaging._sampled import sampler
from jaxmed.reinforcement.imaging._volumes import checked_scales, checked_volumes, spacings_of
from jaxmed.reinforcement.imaging._walk import (
    End,
    Grid,
    Starts,
    beginning,
    check_walk,
    tolerances,
    walk,
)


def view(
    volumes: Sequence[ArrayLike] | ArrayLike,
    planes: ArrayLike,
    *,
    spacing: ArrayLike | None = None,
    size: int = 32,
    pixel: float | None = None,
    slices: int = 1,
    scales: Sequence[int] = (8, 4, 2, 1),
    degrees: float = 1.0,
    mm: float = 1.0,
    widest: float = 45.0,
    history: int = 4,
    end: End = "arrival",
    starts: Starts = "coarsest",
    inner: float = 1.0,
    tolerance: float | None = None,
    limit: int = 200,
    outside: float = 0.0,
    channels: bool = False,
) -> Environment:
    r"""Look for a standard plane of a volume by turning and shifting one, from coarse to fine.

    A plane is three angles in degrees and a distance in mm. With the axes of the volume in mm about
    its middle, :math:`R = R_0(a_0) R_1(a_1) R_2(a_2)` turns by the right-hand rule about axis 2
    first, then 1, then 0; the plane's normal is :math:`R e_2`, its rows run along :math:`R e_0` and
    its columns along :math:`R e_1`, and its middle lies :math:`R e_2` times the distance from the
    middle of the volume.

    An action changes one number by one step of the scale: 0 and 1 the first angle down and up, and
    so on to 6 and 7, the distance. The reward is by how much the plane has come nearer to the one
    looked for, in units of the finest step: the root of the sum of the squared differences, angles
    in ``degrees`` and the distance in ``mm``. An episode's rewards add up to the distance gained.
    How scales come to their end is as with :func:`landmark`.

    Args:
        volumes: of any sizes, ``(*spatial)`` of three axes, or ``(*spatial, channels)``.
        planes: what is looked for, ``(n, 4)``: three angles in degrees, a distance in mm.
        spacing: mm between voxels along each axis, ``(3,)`` or ``(n, 3)``.
        size: pixels of what is seen along both axes.
        pixel: mm between them; by default such that they span the longest side of the volumes.
        slices: parallel planes that are seen, a pixel apart, the plane in their middle.
        scales: steps in units of the finest, coarse to fine.
        degrees: unit of the angles.
        mm: unit of the distance.
        widest: degrees by which a plane turns at most, below 90; the distance is at most a quarter
            of the volume's shortest side.
        history: how many of the last planes a state holds.
        end: what brings a scale to its end, see :func:`landmark`.
        starts: at the coarsest scale, or at any, see :func:`landmark`; a finer scale begins within
            the step of the one before it.
        inner: share of each range, about its middle, in which episodes begin.
        tolerance: units from the plane at which the finest scale arrives; by default one step.
        limit: steps at which an episode is truncated.
        outside: what is seen beyond the borders.
        channels: whether the last axis of the volumes is not spatial.

    Returns:
        The environment. Its states are :class:`Place`, whose positions are the four numbers in
        their units: :func:`planes_of` gives degrees and mm, also of ``state.estimate``. Its
        observations are ``(size, size, slices * channels)`` float32, by linear interpolation.

    Raises:
        ValueError: for volumes that are not of three axes or have values that are not finite,
            planes of another shape or out of range, and numbers out of range.

    References:
        Alansary, Le Folgoc, Vaillant, et al. (2018), Automatic view planning with multi-scale deep
        reinforcement learning agents, MICCAI.

    Examples:
        >>> import jax
        >>> from jaxmed.reinforcement import place
        >>> environment = view(np.zeros((1, 9, 9, 9)), [[4, 0, 0, 0]], spacing=(1, 1, 1), size=8)
        >>> state, step = environment.step(
        ...     jax.random.key(0), place(0, [0, 0, 0, 0], scale=2), jnp.array(1)
        ... )
        >>> state.position.tolist(), float(step.reward), environment.observe(state).shape
        ([2, 0, 0, 0], 2.0, (8, 8, 1))
    """
    arrays = checked_volumes(volumes, channels)
    if arrays[0].ndim != 4:
        raise ValueError(f"a view is of volumes of three axes, got {arrays[0].ndim - 1}")
    n = len(arrays)
    apart = spacings_of(spacing, n, 3)
    steps = checked_scales(scales)
    check_walk(end, starts, history, inner, limit)
    if size < 1 or slices < 1 or slices % 2 == 0:
        raise ValueError(f"size is at least 1 and slices is odd, got {size} and {slices}")
    if not (degrees > 0 and mm > 0 and 0 < widest < 90 and (pixel is None or pixel > 0)):
        raise ValueError(
            "degrees, mm and pixel are above 0 and widest is below 90, got "
            f"{degrees}, {mm}, {pixel} and {widest}"
        )
    shape = np.array([x.shape[:3] for x in arrays])
    far = (shape * apart).min(axis=1) / 4
    unit = np.array([degrees] * 3 + [mm])
    most = np.stack([*[np.full(n, widest)] * 3, far], axis=1)
    goal = _planes(planes, most) / unit
    high = np.floor(most / unit).astype(int)
    if (high < 1).any():
        raise ValueError(f"a unit of {degrees} degrees and {mm} mm is more than the whole range")
    high = np.maximum(high, np.ceil(abs(goal)).astype(int))
    stride = np.broadcast_to(steps[None, :, None], (n, len(steps), 4)).copy()
    near = tolerances(stride.astype(float), tolerance, "units")
    coarser = np.concatenate([stride[:, :1], stride[:, :-1]], axis=1)
    grid = Grid(-high, high, stride, np.ones((n, 4)), goal[:, None], near)
    wide = float((shape * apart).max() / size) if pixel is None else pixel
    look = _slicer(arrays, apart, size, wide, slices, outside)
    return Environment(
        beginning(grid, starts=starts, inner=inner, reach=coarser, history=history),
        walk(grid, end=end, history=history, limit=limit),
        lambda state: look(state.image, planes_of(state.position, degrees=degrees, mm=mm)),
        8,
    )


def planes_of(state: Place | ArrayLike, *, degrees: float = 1.0, mm: float = 1.0) -> Array:
    """Three angles in degrees and a distance in mm, of positions or of where states point to.

    Args:
        state: a state, of which the estimate is taken, or positions ``(..., 4)``.
        degrees: unit of the angles, as the environment has it.
        mm: unit of the distance.

    Returns:
        ``(..., 4)`` float32.
    """
    position = state.estimate if isinstance(state, Place) else jnp.asarray(state)
    return position.astype(jnp.float32) * jnp.array([degrees] * 3 + [mm], jnp.float32)


class PlaneError(NamedTuple):
    """How far planes are from others.

    Attributes:
        degrees: between the normals, ``(...)``.
        mm: from the middle of the true plane to the other, ``(...)``.
    """

    degrees: Array
    mm: Array


def plane_error(found: ArrayLike, truth: ArrayLike) -> PlaneError:
    """Measure how far planes are from the true ones.

    Args:
        found: ``(..., 4)``, three angles in degrees and a distance in mm, as :func:`view` has them.
        truth: likewise.

    Returns:
        The angle between the normals, and how far the middle of the true plane, its point nearest
        to the middle of the volume, is from the plane that was found. How a plane is turned about
        its normal counts for neither.

    Examples:
        >>> error = plane_error([10.0, 0.0, 30.0, 5.0], [0.0, 0.0, 0.0, 3.0])
        >>> round(float(error.degrees), 3), round(float(error.mm), 3)
        (10.0, 2.046)
    """
    a, b = (jnp.asarray(x, jnp.float32) for x in (found, truth))
    first, second = rotation(a[..., :3])[..., 2], rotation(b[..., :3])[..., 2]
    cosine = (first * second).sum(-1)
    # The arc cosine alone would lose small angles.
    sine = jnp.linalg.norm(jnp.cross(first, second), axis=-1)
    off = cosine * b[..., 3] - a[..., 3]
    return PlaneError(jnp.degrees(jnp.arctan2(sine, cosine)), jnp.abs(off))


def plane_image(
    volume: ArrayLike,
    plane: ArrayLike,
    *,
    spacing: ArrayLike | None = None,
    size: int = 128,
    pixel: float | None = None,
    outside: float = 0.0,
    channels: bool = False,
) -> Array:
    """Show a plane of a volume, as :func:`view` shows it to an agent.

    Args:
        volume: ``(*spatial)`` of three axes, or ``(*spatial, channels)``.
        plane: three angles in degrees and a distance in mm, ``(4,)``, as :func:`view` has them.
        spacing: mm between voxels along each axis, ``(3,)``.
        size: pixels along both axes.
        pixel: mm between them; by default such that they span the longest side of the volume.
        outside: what is seen beyond the borders.
        channels: whether the last axis of the volume is not spatial.

    Returns:
        ``(size, size)`` float32, by linear interpolation; with channels ``(size, size, channels)``.

    Raises:
        ValueError: for a volume that is not of three axes or has values that are not finite, a
            plane of another shape, a size or a distance of pixels below what there is.

    Examples:
        >>> volume = np.arange(5.0)[:, None, None] * np.ones((5, 5, 5))
        >>> plane_image(volume, [0, 0, 0, 1], spacing=(1, 1, 1), size=5)[:, 2].tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    arrays = checked_volumes([volume], channels)
    if arrays[0].ndim != 4:
        raise ValueError(f"a plane is of a volume of three axes, got {arrays[0].ndim - 1}")
    apart, shape = spacings_of(spacing, 1, 3), np.array(arrays[0].shape[:3])
    given = np.asarray(plane, np.float32)
    if given.shape != (4,) or not np.isfinite(given).all():
        raise ValueError(
            f"a plane is three angles in degrees and a distance in mm, (4,), got {plane!r}"
        )
    if size < 1 or (pixel is not None and not pixel > 0):
        raise ValueError(f"size is at least 1 and pixel above 0, got {size} and {pixel}")
    wide = float((shape * apart).max() / size) if pixel is None else pixel
    seen = _slicer(arrays, apart, size, wide, 1, outside)(jnp.int32(0), jnp.asarray(given))
    return seen if channels else seen[..., 0]


def rotation(angles: Array) -> Array:
    """Turn about axis 2, then 1, then 0, by degrees: ``(..., 3)`` to ``(..., 3, 3)``."""
    made = []
    for axis in range(3):
        angle = jnp.radians(angles[..., axis])
        c, s = jnp.cos(angle), jnp.sin(angle)
        one, no = jnp.ones_like(c), jnp.zeros_like(c)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        entries: dict[tuple[int, int], Any] = {
            (axis, axis): one, (i, i): c, (j, j): c, (j, i): s, (i, j): -s
        }  # fmt: skip
        rows = [
            jnp.stack([entries.get((row, column), no) for column in range(3)], -1)
            for row in range(3)
        ]
        made.append(jnp.stack(rows, -2))
    highest = "highest"  # A product in reduced precision would not be a rotation.
    return jnp.matmul(jnp.matmul(made[0], made[1], precision=highest), made[2], precision=highest)


def _slicer(
    arrays: list[np.ndarray], spacing: np.ndarray, size: int, pixel: float, slices: int,
    outside: float,
) -> Callable[[Array, Array], Array]:  # fmt: skip
    """Make ``(image, plane) -> (size, size, slices * channels)``."""
    sample = sampler(arrays, outside)
    middle = jnp.asarray([(np.array(x.shape[:3]) - 1) / 2 for x in arrays], jnp.float32)
    apart = jnp.asarray(spacing, jnp.float32)
    line = (jnp.arange(size) - (size - 1) / 2) * pixel
    depth = (jnp.arange(slices) - slices // 2) * pixel
    flat = jnp.stack(jnp.meshgrid(line, line, depth, indexing="ij"), -1)

    def look(image: Array, plane: Array) -> Array:
        image = jnp.asarray(image, jnp.int32)
        frame = rotation(plane[:3])
        offset = flat + jnp.array([0.0, 0.0, 1.0]) * plane[3]
        # A sum of broadcast lines: exact, where a matrix product may be of reduced precision.
        x, y, z = (offset[..., axis, None] * frame[:, axis] for axis in range(3))
        seen = sample(image, (x + y + z) / apart[image] + middle[image])
        return seen.reshape(size, size, -1)

    return look


def _planes(planes: ArrayLike, most: np.ndarray) -> np.ndarray:
    """``(n, 4)`` degrees and mm, all of them in range."""
    given = np.asarray(planes, float)
    if given.shape != (len(most), 4):
        raise ValueError(
            f"planes have the shape {given.shape}; for {len(most)} volumes it is "
            f"({len(most)}, 4): three angles in degrees, a distance in mm"
        )
    beyond = ~(abs(given) <= most).all(axis=1)
    if beyond.any():
        i = int(np.flatnonzero(beyond)[0])
        raise ValueError(
            f"planes[{i}] = {given[i].tolist()} is out of reach: angles are at most "
            f"{most[i, 0]:g} degrees and the distance {most[i, 3]:g} mm either way; see widest"
        )
    return given
