"""Maps against masks of what they should show."""

from __future__ import annotations

import numpy as np

from jaxmed.core import Array
from jaxmed.explain.checks._likeness import voxels
from jaxmed.quantities import average_precision


def pointing_game(
    attribution: Array | np.ndarray, masks: np.ndarray, *, tolerance: float = 0.0
) -> np.ndarray:
    """Whether the largest value of a map lies in the mask.

    Chance is the share of the image that the mask covers, :func:`mask_share`.

    Args:
        attribution: (batch, *spatial, channels); channels are added up.
        masks: (batch, *spatial), of what is to be pointed at.
        tolerance: distance in voxels from the mask that still counts.

    Returns:
        (batch,), 1 or 0; NaN where the mask is empty or the map constant. Of several largest
        values it is the share of them that hit.

    Raises:
        ValueError: if the masks have another shape.

    References:
        Zhang et al. (2018), Top-down neural attention by excitation backprop, International Journal
        of Computer Vision 126.

    Examples:
        >>> pointing_game(np.array([[[0.1], [0.9]]]), np.array([[False, True]])).tolist()
        [1.0]
    """
    values, masks = _pair(attribution, masks)
    if tolerance < 0:
        raise ValueError(f"tolerance is a distance in voxels from 0 on, got {tolerance}")
    found = []
    for row, mask in zip(values, masks, strict=True):
        if not mask.any() or np.ptp(row) == 0:
            found.append(np.nan)
            continue
        allowed = mask
        if tolerance and not mask.all():
            from scipy.ndimage import distance_transform_edt

            allowed = distance_transform_edt(~mask) <= tolerance
        found.append(allowed.ravel()[row == row.max()].mean())
    return np.array(found)


def mask_average_precision(attribution: Array | np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve of a map as a score of the mask's voxels.

    Chance is :func:`mask_share`.

    Args:
        attribution: (batch, *spatial, channels); channels are added up.
        masks: (batch, *spatial).

    Returns:
        (batch,); NaN where the mask is empty.

    References:
        Arun et al. (2021), Assessing the trustworthiness of saliency maps for localizing
        abnormalities in medical imaging, Radiology: Artificial Intelligence 3.
    """
    values, masks = _pair(attribution, masks)
    return np.array(
        [
            average_precision(mask.ravel(), row) if mask.any() else np.nan
            for row, mask in zip(values, masks, strict=True)
        ]
    )


def mass_in_mask(attribution: Array | np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of a map's positive values that lies in the mask.

    Args:
        attribution: (batch, *spatial, channels); channels are added up.
        masks: (batch, *spatial).

    Returns:
        (batch,); NaN where no value is positive. Chance is :func:`mask_share`.
    """
    values, masks = _pair(attribution, masks)
    positive = np.maximum(values, 0)
    total = positive.sum(1)
    inside = (positive * masks.reshape(len(masks), -1)).sum(1)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


def mask_share(masks: np.ndarray) -> np.ndarray:
    """Share of each image that its mask covers: (batch,)."""
    masks = np.asarray(masks)
    return (masks > 0).reshape(len(masks), -1).mean(1)


def _pair(attribution, masks) -> tuple[np.ndarray, np.ndarray]:
    values, masks = voxels(attribution), np.asarray(masks)
    if masks.shape != np.shape(attribution)[:-1]:
        raise ValueError(
            f"masks of maps {np.shape(attribution)} have the shape {np.shape(attribution)[:-1]}, "
            f"got {masks.shape}"
        )
    return values, masks > 0
