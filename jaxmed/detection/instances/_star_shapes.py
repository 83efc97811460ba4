"""From stars to objects: what a star covers, and which of many stars stand for an object each."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

# Voxels that are looked at together; an array of faces times this many.
_PART = 4096
# Shorter rays than this would span no volume.
_SHORTEST = 1e-3


class Instances(NamedTuple):
    """Objects found in an image.

    Attributes:
        labels: (*spatial) int32, 0 the background, else the object's number, the surest 1.
        centres: (objects, rank) voxels.
        scores: (objects,) falling.
    """

    labels: NDArray[np.int32]
    centres: NDArray
    scores: NDArray


def paint_star(
    centre: ArrayLike, distances: ArrayLike, rays: NDArray, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], ...]:
    """Find the voxels whose centre a star covers.

    Its ends are joined by straight edges, or in three axes by the triangles of the rays' convex
    hull: the shape is a polygon or polyhedron, and the test exact.

    Args:
        centre: (rank,) in voxels.
        distances: (count,) along the rays.
        rays: (count, rank) `star_rays`.
        shape: of the image; voxels beyond it are left out.

    Returns:
        Indices along each axis, as `np.nonzero` gives them.

    Examples:
        >>> from jaxmed.detection import star_rays
        >>> rows, columns = paint_star((2, 2), (2, 0.5, 0.5, 0.5), star_rays(4), (5, 5))
        >>> rows.tolist(), columns.tolist()
        ([2, 2, 2], [2, 3, 4])
    """
    middle, rays = np.asarray(centre, np.float64), np.ascontiguousarray(rays, np.float64)
    reach = np.maximum(np.asarray(distances, np.float64), _SHORTEST)
    ends = reach[:, None] * rays
    low = np.maximum(np.ceil(middle + ends.min(0) - 1e-9), 0).astype(int)
    high = np.minimum(np.floor(middle + ends.max(0) + 1e-9), np.array(shape) - 1).astype(int)
    sides = np.maximum(high - low + 1, 0)
    points = np.indices(sides).reshape(len(sides), -1).T + low
    inside = _in_polygon if len(sides) == 2 else _in_polyhedron
    return tuple(points[inside(points - middle, ends, rays)].T)


def _in_polygon(points: NDArray, ends: NDArray, rays: NDArray) -> NDArray[np.bool_]:
    """Whether points (n, 2) from the centre lie in a star, each asked of the sector it is in."""
    order, angles = _turn(rays.tobytes(), len(rays))
    at = np.searchsorted(angles, np.arctan2(points[:, 0], points[:, 1]), side="right") - 1
    ends = ends[order]
    after = np.roll(ends, -1, axis=0)
    (y, x), (y0, x0), (y1, x1) = points.T, ends[at].T, after[at].T
    whole = x0 * y1 - y0 * x1
    first, second = (x * y1 - y * x1) / whole, (x0 * y - y0 * x) / whole
    return (first >= -1e-9) & (second >= -1e-9) & (first + second <= 1 + 1e-9)


def _in_polyhedron(points: NDArray, ends: NDArray, rays: NDArray) -> NDArray[np.bool_]:
    """Whether points (n, 3) from the centre lie in a star, all faces asked."""
    turned = np.linalg.inv(ends[faces(rays)])  # of each simplex of the centre and a face
    inside = np.zeros(len(points), bool)
    for start in range(0, len(points), _PART):
        weights = points[start : start + _PART] @ turned  # (faces, points, rank)
        within = (weights >= -1e-9).all(-1) & (weights.sum(-1) <= 1 + 1e-9)
        inside[start : start + _PART] = within.any(0)
    return inside


@functools.lru_cache(maxsize=16)
def _turn(rays: bytes, count: int) -> tuple[NDArray[np.intp], NDArray]:
    """Rays of two axes by rising angle, and these angles, from -pi on."""
    y, x = np.frombuffer(rays).reshape(count, 2).T
    angles = np.arctan2(y, x)
    order = np.argsort(angles, kind="stable")
    return order, angles[order]


def faces(rays: NDArray) -> NDArray[np.intp]:
    """Neighbouring rays, (faces, rank): those between which a star's surface is flat."""
    return _faces(np.ascontiguousarray(rays, np.float64).tobytes(), *rays.shape)


@functools.lru_cache(maxsize=16)
def _faces(rays: bytes, count: int, rank: int) -> NDArray[np.intp]:
    found = np.frombuffer(rays).reshape(count, rank)
    # Rays of images with thick slices are not of one length, and their directions alone matter.
    return ConvexHull(found / np.linalg.norm(found, axis=1, keepdims=True)).simplices


def find_stars(
    probability: ArrayLike,
    distances: ArrayLike,
    rays: NDArray,
    *,
    threshold: float = 0.5,
    overlap: float = 0.4,
    most: int = 20_000,
) -> Instances:
    """Choose of each voxel's star one an object, and paint them.

    Stars of the voxels at which the probability has a local maximum come in falling order; one is
    left out if it shares more than a part with a surer one. Where two that are kept overlap, the
    surer has the voxels. Time grows with the voxels that stars cover, not with the square of their
    number.

    Args:
        probability: (*spatial) that the voxel lies deep in an object.
        distances: (*spatial, count) along the rays, in voxels of this image or its spacing's unit.
        rays: (count, rank) `star_rays`.
        threshold: stars of a lower probability are left out.
        overlap: shared part, of the smaller one's voxels, above which a star is left out.
        most: stars that are looked at, the surest.

    Returns:
        The objects; none where nothing is above the threshold.

    Raises:
        ValueError: if shapes do not fit, or values are not finite.

    Examples:
        >>> from jaxmed.detection import star_distances, star_rays
        >>> labels, rays = np.zeros((9, 9), int), star_rays(32)
        >>> labels[2:7, 2:7] = 1
        >>> reach = np.asarray(star_distances(labels, rays))
        >>> found = find_stars(reach.min(-1) / 2.5, reach, rays)
        >>> found.centres.tolist(), int(found.labels.sum())
        ([[4, 4]], 25)
    """
    p, d = np.asarray(probability, np.float64), np.asarray(distances, np.float64)
    if d.shape != (*p.shape, len(rays)) or p.ndim != rays.shape[1]:
        raise ValueError(
            f"probability is (*spatial), distances (*spatial, {len(rays)}) and rays "
            f"({len(rays)}, rank), got {p.shape}, {d.shape} and {rays.shape}"
        )
    if not np.isfinite(p).all() or not np.isfinite(d).all():
        raise ValueError("probability and distances hold values that are not finite")
    peak = (p >= threshold) & (p == ndimage.maximum_filter(p, 3))
    places = np.argwhere(peak)
    order = np.argsort(-p[peak], kind="stable")[:most]
    labels = np.zeros(p.shape, np.int32)
    sizes = np.zeros(len(order) + 1, int)
    centres, scores = [], []
    for place in places[order]:
        at = tuple(place)
        covered = paint_star(place, d[at], rays, p.shape)
        below = labels[covered]
        shared = np.bincount(below)[1:]
        smaller = np.minimum(sizes[1 : len(shared) + 1], max(len(below), 1))
        if not len(below) or (shared > overlap * smaller).any():
            continue
        free = tuple(axis[below == 0] for axis in covered)
        centres.append(place)
        scores.append(p[at])
        labels[free] = len(centres)
        sizes[len(centres)] = len(free[0])
    return Instances(
        labels, np.array(centres).reshape(-1, p.ndim), np.array(scores, dtype=np.float64)
    )
