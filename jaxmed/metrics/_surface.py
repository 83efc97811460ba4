"""Distances between the surfaces of two masks: Hausdorff, average distances, surface Dice.

Tools differ in their definitions (HD95 of one ellipsoid ranges from 3.00 to 3.31 mm in five of
them), so each function states its own. The surface consists of the voxels, at their centres, that
erosion of the mask by one voxel (face neighbours) removes; voxels on the image's border count as
surface. Empty masks: NaN if both are empty, infinite distance (surface Dice 0) if one is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, spatial

_ROUNDING = 1e-9  # of a distance, which is a sum of squares of rounded voxel sizes


class SurfaceDistances(NamedTuple):
    """Distance of each surface voxel to the other surface.

    Attributes:
        from_prediction: (prediction's surface voxels,), to the target's surface.
        from_target: (target's surface voxels,), to the prediction's surface.
        empty: `both`, `prediction`, `target` or an empty string: which masks are empty.
    """

    from_prediction: NDArray[np.float64]
    from_target: NDArray[np.float64]
    empty: str = ""


def _mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.dtype != np.bool_:
        if not np.isin(array, (0, 1)).all():
            raise ValueError(
                f"{name} must be a mask of 0 and 1; compare a label map with one class first"
            )
        array = array.astype(bool)
    if array.ndim < 1:
        raise ValueError(f"{name} must be (*spatial), but is a scalar")
    return array


def _pair(
    prediction: ArrayLike, target: ArrayLike, spacing: ArrayLike | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    a, b = _mask(prediction, "prediction"), _mask(target, "target")
    if a.shape != b.shape:
        raise ValueError(f"masks differ in shape: prediction {a.shape}, target {b.shape}")
    step = np.ones(a.ndim) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if step.shape != (a.ndim,) or not (np.isfinite(step) & (step > 0)).all():
        raise ValueError(f"spacing must be {a.ndim} positive numbers, one an axis: {spacing}")
    return a, b, step


def surface_voxels(mask: ArrayLike) -> NDArray[np.intp]:
    """Return the (count, ndim) indices of a mask's surface voxels.

    Examples:
        >>> len(surface_voxels(np.ones((3, 3, 3), bool)))
        26
    """
    inside = _mask(mask, "mask")
    if not inside.any():
        return np.empty((0, inside.ndim), dtype=np.intp)
    # Only the bounding box of the mask is eroded; mask voxels on its rim are surface anyway.
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    part = inside[box]
    near = ndimage.generate_binary_structure(part.ndim, 1)
    edge = part & ~ndimage.binary_erosion(part, near, border_value=0)
    return np.argwhere(edge) + np.array([s.start for s in box])


def surface_distances(
    prediction: ArrayLike, target: ArrayLike, *, spacing: ArrayLike | None = None
) -> SurfaceDistances:
    """Return each surface voxel's distance to the other mask's surface.

    Args:
        prediction: (*spatial) mask of 0 and 1.
        target: (*spatial) mask of 0 and 1.
        spacing: size of a voxel along each axis (mm); 1 if absent.

    Returns:
        The distances in both directions; infinite if the other mask is empty.

    Raises:
        ValueError: for different shapes, labels beyond 0/1 or a bad spacing.

    Examples:
        >>> a, b = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
        >>> a[1, 1] = b[1, 4] = True
        >>> surface_distances(a, b, spacing=(1.0, 2.0)).from_prediction
        array([6.])
    """
    a, b, step = _pair(prediction, target, spacing)
    voxels = [surface_voxels(mask) for mask in (a, b)]
    points = [v * step for v in voxels]
    sizes = [len(p) for p in points]
    if min(sizes) == 0:
        which = "both" if max(sizes) == 0 else ("prediction" if sizes[0] == 0 else "target")
        return SurfaceDistances(np.full(sizes[0], np.inf), np.full(sizes[1], np.inf), which)
    trees = [spatial.cKDTree(p, balanced_tree=False, compact_nodes=False) for p in points]
    nearest = trees[1].query(points[0])[1], trees[0].query(points[1])[1]
    # From whole voxels, not from places in millimetres, whose rounding depends on where they lie.
    return SurfaceDistances(
        np.linalg.norm((voxels[0] - voxels[1][nearest[0]]) * step, axis=1),
        np.linalg.norm((voxels[1] - voxels[0][nearest[1]]) * step, axis=1),
    )


def _undefined(distances: SurfaceDistances) -> float | None:
    if distances.empty == "both":
        return float("nan")
    return float("inf") if distances.empty else None


def hausdorff(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    percentile: float = 100.0,
    definition: str = "directed",
    spacing: ArrayLike | None = None,
) -> float:
    r"""Return the Hausdorff distance, or a percentile of it such as HD95.

    .. math:: \max\{Q_q(d_{P \to T}),\ Q_q(d_{T \to P})\}

    Args:
        prediction: (*spatial) mask of 0 and 1.
        target: (*spatial) mask of 0 and 1.
        percentile: q; 100 is the Hausdorff distance, 95 is HD95 (interpolated linearly).
        definition: `directed`, the larger of the two directed percentiles (MONAI, Metrics
            Reloaded); or `pooled`, the percentile of both sets together (medpy). They agree at
            100.
        spacing: size of a voxel along each axis (mm).

    Returns:
        The distance, in the unit of `spacing`; NaN if both masks are empty, infinite if one is.

    Raises:
        ValueError: for different shapes, labels beyond 0/1, bad spacing or percentile.

    References:
        Huttenlocher et al. (1993), IEEE TPAMI 15:850. Maier-Hein et al. (2024), Nat Methods 21:195.

    Examples:
        >>> a, b = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
        >>> a[2:4, 2:4], b[2:4, 3:5] = True, True
        >>> hausdorff(a, b)
        1.0
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must lie in (0, 100], but is {percentile}")
    if definition not in ("directed", "pooled"):
        raise ValueError(f"definition must be 'directed' or 'pooled', but is {definition!r}")
    return hausdorff_of(
        surface_distances(prediction, target, spacing=spacing), percentile, definition
    )


def hausdorff_of(
    d: SurfaceDistances, percentile: float = 100.0, definition: str = "directed"
) -> float:
    """Return what `hausdorff` does, of distances that are known."""
    if (value := _undefined(d)) is not None:
        return value
    if definition == "pooled":
        return float(np.percentile(np.concatenate([d.from_prediction, d.from_target]), percentile))
    return float(
        max(np.percentile(d.from_prediction, percentile), np.percentile(d.from_target, percentile))
    )


def average_surface_distance(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    definition: str = "assd",
    spacing: ArrayLike | None = None,
) -> float:
    """Return an average distance between two surfaces, by a named definition.

    Args:
        prediction: (*spatial) mask of 0 and 1.
        target: (*spatial) mask of 0 and 1.
        definition: `assd`, the mean over the voxels of both surfaces (medpy, MONAI, Metrics
            Reloaded); `masd`, the mean of the two directed means; `from-prediction` or
            `from-target`, one directed mean; `volume`, the mean of the two means over all
            voxels of a mask of the distance to the other mask (ITK's average Hausdorff).
        spacing: size of a voxel along each axis (mm).

    Returns:
        The distance; NaN if both masks are empty, infinite if one is.

    Raises:
        ValueError: for different shapes, labels beyond 0/1 or an unknown definition.

    References:
        Heimann et al. (2009), IEEE TMI 28:1251.

    Examples:
        >>> a, b = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
        >>> a[2:4, 2:4], b[2:4, 3:5] = True, True
        >>> average_surface_distance(a, b)
        0.5
    """
    known = ("assd", "masd", "from-prediction", "from-target", "volume")
    if definition not in known:
        raise ValueError(f"definition must be one of {', '.join(known)}, but is {definition!r}")
    d = surface_distances(prediction, target, spacing=spacing)
    if (value := _undefined(d)) is not None:
        return value
    if definition == "volume":
        a, b, step = _pair(prediction, target, spacing)
        means = [
            ndimage.distance_transform_edt(~other, sampling=step)[mask].mean()
            for mask, other in ((a, b), (b, a))
        ]
        return float(np.mean(means))
    one, two = d.from_prediction.mean(), d.from_target.mean()
    n1, n2 = d.from_prediction.size, d.from_target.size
    return float(
        {
            "assd": (one * n1 + two * n2) / (n1 + n2),
            "masd": (one + two) / 2,
            "from-prediction": one,
            "from-target": two,
        }[definition]
    )


def surface_dice(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    tolerance: float,
    spacing: ArrayLike | None = None,
) -> float:
    """Return the surface Dice (normalised surface distance) at a tolerance.

    This is the share of voxels of both surfaces that lie within the tolerance of the other surface.
    A distance that equals the tolerance but for the rounding of floating point lies within it.

    Args:
        prediction: (*spatial) mask of 0 and 1.
        target: (*spatial) mask of 0 and 1.
        tolerance: acceptable distance, in the unit of `spacing`.
        spacing: size of a voxel along each axis (mm).

    Returns:
        A share from 0 to 1; NaN if both masks are empty, 0 if one is.

    Raises:
        ValueError: for different shapes, labels beyond 0/1 or a negative tolerance.

    References:
        Nikolov et al. (2021), J Med Internet Res 23:e26151 (there by area; here by voxels).

    Examples:
        >>> a, b = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
        >>> a[2:4, 2:4], b[2:4, 3:5] = True, True
        >>> surface_dice(a, b, tolerance=0.5)
        0.5
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, but is {tolerance}")
    return surface_dice_of(surface_distances(prediction, target, spacing=spacing), tolerance)


def surface_dice_of(d: SurfaceDistances, tolerance: float) -> float:
    """Return what `surface_dice` does, of distances that are known."""
    if d.empty:
        return float("nan") if d.empty == "both" else 0.0
    # Three voxels of 1.1 mm are 3.3 mm apart, though not in binary fractions.
    limit = tolerance * (1 + _ROUNDING)
    near = (d.from_prediction <= limit).sum() + (d.from_target <= limit).sum()
    return float(near / (d.from_prediction.size + d.from_target.size))
