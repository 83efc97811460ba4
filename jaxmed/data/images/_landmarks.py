"""Points and boxes that follow from a mask of structures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import distance


def contact_point(
    mask: ArrayLike, first: int, second: int, *, spacing: Sequence[float]
) -> NDArray[np.float64]:
    """Find the centre of the surface on which two structures touch.

    It is the mean of the middles of all faces between a voxel of one and a voxel of the other, each
    weighed by its area in mm.

    Args:
        mask: (*spatial,) whole numbers, two or three axes.
        first: class of one structure.
        second: class of the other.
        spacing: mm between voxels along each axis.

    Returns:
        The point in voxels, (rank,): whole numbers are centres of voxels.

    Raises:
        ValueError: if the structures have no face in common, or the spacing does not fit the mask.

    Examples:
        >>> contact_point([[1, 1, 2], [0, 1, 2]], 1, 2, spacing=(1, 1)).tolist()
        [0.5, 1.5]
    """
    m = _mask(mask)
    mm = np.asarray(spacing, float)
    if mm.shape != (m.ndim,) or not (mm > 0).all():
        raise ValueError(
            f"spacing is of mm above 0 along {m.ndim} axes, got {np.asarray(spacing).tolist()}"
        )
    total, area = np.zeros(m.ndim), 0.0
    for axis in range(m.ndim):
        along = np.moveaxis(m, axis, 0)
        low, high = along[:-1], along[1:]
        faces = np.argwhere(
            ((low == first) & (high == second)) | ((low == second) & (high == first))
        ).astype(float)
        faces[:, 0] += 0.5
        each = float(np.prod(np.delete(mm, axis)))
        total += each * np.insert(faces[:, 1:].sum(axis=0), axis, faces[:, 0].sum())
        area += each * len(faces)
    if not area:
        held = sorted(int(k) for k in np.unique(m))
        raise ValueError(f"classes {first} and {second} touch nowhere; the mask holds {held}")
    return total / area


def insertion_points(
    mask: ArrayLike, *, ventricle: int, wall: int, outside: int = 0
) -> NDArray[np.float64]:
    """Find the two points of a short-axis slice at which the right ventricle meets the septum.

    They are where the ventricle, the myocardium and what is neither meet: corners of pixels, of
    which those at either end of the septum are averaged.

    Args:
        mask: (height, width) whole numbers.
        ventricle: class of the right ventricle's cavity.
        wall: class of the left ventricle's myocardium.
        outside: class of what is around them; the left cavity is another.

    Returns:
        (2, 2) in pixels. For one who looks from the ventricle's middle to the wall's, with the
        first axis down and the second to the right, the first point lies to the left.

    Raises:
        ValueError: if the mask is no slice, or the three meet at fewer than two places.

    Examples:
        >>> mask = np.zeros((5, 6), int)
        >>> mask[1:4, 1:3], mask[1:4, 3:5] = 1, 2
        >>> insertion_points(mask, ventricle=1, wall=2).tolist()
        [[0.5, 2.5], [3.5, 2.5]]
    """
    m = _mask(mask)
    if m.ndim != 2:
        raise ValueError(f"a slice is (height, width), got the shape {m.shape}")
    corners = np.stack([m[:-1, :-1], m[:-1, 1:], m[1:, :-1], m[1:, 1:]])
    meet = np.all([(corners == k).any(axis=0) for k in (ventricle, wall, outside)], axis=0)
    points = np.argwhere(meet) + 0.5
    if len(points) < 2:
        raise ValueError(
            f"classes {ventricle}, {wall} and {outside} meet at {len(points)} corners of pixels, "
            "not at the two ends of a septum"
        )
    apart = distance.cdist(points, points)
    ends = list(np.unravel_index(apart.argmax(), apart.shape))
    nearer = apart[ends].argmin(axis=0)
    means = np.stack([points[nearer == k].mean(axis=0) for k in (0, 1)])
    cavity, muscle = (np.argwhere(m == k).mean(axis=0) for k in (ventricle, wall))
    ahead, to = muscle - cavity, means - cavity
    # Rows grow downwards: left of (r, c) is (-c, r).
    left = to @ np.array([-ahead[1], ahead[0]])
    return means[np.argsort(-left, kind="stable")]


def component_boxes(mask: ArrayLike, *, smallest: int = 1) -> NDArray[np.float64]:
    """Find the box around each connected piece of a mask.

    Args:
        mask: (*spatial,), true or above 0 within; voxels that share a face belong together.
        smallest: voxels of a piece; those of fewer are left out.

    Returns:
        (pieces, 2 rank), lows then highs in voxels, where voxel i covers i to i + 1, as
        :func:`jaxmed.data.phantoms.detection` has them; the largest piece first.

    Examples:
        >>> component_boxes([[1, 0, 0], [0, 0, 1], [0, 0, 1]]).tolist()
        [[1.0, 2.0, 3.0, 3.0], [0.0, 0.0, 1.0, 1.0]]
    """
    m = _mask(mask)
    labels, n = ndimage.label(m > 0)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    boxes = np.zeros((n, 2 * m.ndim))
    for i, places in enumerate(ndimage.find_objects(labels)):
        boxes[i] = [p.start for p in places] + [p.stop for p in places]
    order = np.argsort(-sizes, kind="stable")
    return boxes[order[sizes[order] >= smallest]]


def _mask(mask: ArrayLike) -> np.ndarray:
    m = np.asarray(mask)
    if m.ndim not in (2, 3) or not (np.issubdtype(m.dtype, np.integer) or m.dtype == bool):
        raise ValueError(
            f"a mask is of whole numbers along two or three axes, got {m.dtype} of {m.shape}"
        )
    return m
