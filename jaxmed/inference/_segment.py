"""Segmentation of one scan, from its file's grid to the network's and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmed.data import Scan, Space, resample_spacing, to_space
from jaxmed.inference._intensities import normalised
from jaxmed.inference._segmenter import Recipe, Segmenter
from jaxmed.inference._sliding import sliding_window

_MARGIN = 4  # Margin of voxels kept around the nonzero region.


class Preprocessed(NamedTuple):
    """A preprocessed scan, its intensities beyond the border, and the cropped region.

    Attributes:
        scan: normalised, at the recipe's spacing.
        outside: (channels,) what its surroundings are, where it is padded.
        seen: the grid, at the scan's own voxel size, of the part that was kept.
    """

    scan: Scan
    outside: np.ndarray
    seen: Space


def prepare(recipe: Recipe, scan: Scan) -> Scan:
    """Resample and normalise a scan as in training.

    Args:
        recipe: the recipe.
        scan: an image in canonical orientation (``read_image(path, canonical=True)``).

    Returns:
        The scan, normalised, and resampled if its voxel size differs.

    Raises:
        ValueError: if the scan and the recipe differ in rank or channels.
    """
    return preprocess(recipe, scan).scan


def preprocess(recipe: Recipe, scan: Scan) -> Preprocessed:
    """Preprocess a scan as :func:`prepare` does, and say what lies beyond its border.

    Args:
        recipe: the recipe.
        scan: an image in canonical orientation.

    Raises:
        ValueError: if the scan and the recipe differ in rank or channels.
    """
    rank = len(recipe.spacing)
    channels = scan.array.shape[-1]
    if len(scan.affine) - 1 != rank or scan.array.ndim != rank + 1:
        raise ValueError(
            f"the network segments images of {rank} spatial axes, this one has the shape "
            f"{scan.space.shape}"
        )
    if channels != len(recipe.channels):
        raise ValueError(
            f"the network was trained on {len(recipe.channels)} channel(s) "
            f"({', '.join(recipe.channels)}), the image has {channels}"
        )
    mean = recipe.linear[1] if recipe.normalisation == "linear" else 0.0
    where, outside = None, np.full(channels, mean, np.float32)
    if recipe.over == "nonzero":
        scan = _cropped(scan)
        where = (scan.array != 0).any(-1)
        outside = _former_zero(recipe, scan.array[where])
    seen = scan.space
    # Before resampling, which blurs the edge of the nonzero region.
    array = _normalised(recipe, scan.array, where)
    scan = scan._replace(array=array)
    # Headers are rounded: a hundredth of a voxel is no difference in resolution.
    if not np.allclose(scan.spacing, recipe.spacing, rtol=0.01):
        scan = resample_spacing(scan, recipe.spacing)
    return Preprocessed(scan, outside, seen)


def _normalised(recipe: Recipe, image: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    return normalised(
        image, recipe.normalisation, recipe.linear, where=where, intensities=recipe.intensities
    )


def _former_zero(recipe: Recipe, voxels: np.ndarray) -> np.ndarray:
    """Compute the normalised value of 0 in each channel of voxels (count, channels)."""
    with_zero = np.concatenate([voxels, np.zeros_like(voxels[:1])])
    where = np.arange(len(with_zero)) < len(voxels)
    return _normalised(recipe, with_zero, where)[-1]


def _cropped(scan: Scan) -> Scan:
    """Crop a scan to its nonzero region, outside of which the network was not trained."""
    inside = (scan.array != 0).any(-1)
    if not inside.any():
        raise ValueError("every voxel of the image is zero")
    low, high = [], []
    for axis in range(inside.ndim):
        found = np.flatnonzero(inside.any(tuple(a for a in range(inside.ndim) if a != axis)))
        low.append(max(int(found[0]) - _MARGIN, 0))
        high.append(int(found[-1]) + 1 + _MARGIN)
    step = np.eye(len(scan.affine))
    step[:-1, -1] = low
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return scan._replace(array=scan.array[box], affine=scan.affine @ step)


def probabilities(model: Segmenter, scan: Scan, *, size: int = 1) -> Scan:
    """Compute the probability of each class, or region, at each voxel of the file's grid.

    Args:
        model: a segmenter.
        scan: the image, turned as in training (``read_image(path, canonical=True)``).
        size: patches predicted at once.

    Returns:
        A scan on the grid of ``scan.file``: (*spatial, classes) float32. Voxels outside the
        network's input are background.

    Raises:
        ValueError: the scan has another rank or other channels than the network.
    """
    recipe, ready = model.recipe, preprocess(model.recipe, scan)
    # Images smaller than a patch are padded by their surroundings: the mean, or the former zero.
    found = sliding_window(
        model.predict,
        ready.scan.array,
        recipe.patch,
        overlap=recipe.overlap,
        size=size,
        value=ready.outside,
    )
    found = to_space(found, ready.scan.affine, scan.file)
    found[~ready.seen.reaches(scan.file)] = 0
    if not recipe.regions:
        found[..., 0] += 1 - found.sum(-1)  # nothing is known beyond the border
    return Scan(found, scan.file.affine, scan.file)


def segment(model: Segmenter, scan: Scan, *, size: int = 1) -> Scan:
    """Segment a scan, in the space of the file it came from.

    The scan is normalised, resampled to the voxel size of training if it differs, and predicted
    patch by patch; the probabilities are resampled to the file's grid, where the most probable
    class is chosen; overlapping regions are painted over each other where each is more probable
    than not. ``jaxmed.data.write_mask(path, mask.array, mask)`` writes it.

    Args:
        model: a segmenter.
        scan: the image, turned as in training (``read_image(path, canonical=True)``).
        size: patches predicted at once.

    Returns:
        The mask, (*spatial,) int32, on the grid of ``scan.file``.

    Raises:
        ValueError: the scan has another rank or other channels than the network.
    """
    return decided(model.recipe, probabilities(model, scan, size=size))


def decided(recipe: Recipe, found: Scan) -> Scan:
    """Turn probabilities into a mask, as :func:`segment` does.

    Args:
        recipe: the recipe, which says whether outputs are classes or regions.
        found: :func:`probabilities`, (*spatial, classes or regions).

    Returns:
        The mask, (*spatial,) int32.
    """
    if not recipe.regions:
        return found._replace(array=found.array.argmax(-1).astype(np.int32))
    mask = np.zeros(found.array.shape[:-1], np.int32)
    for output, label in enumerate(recipe.regions):
        mask[found.array[..., output] >= 0.5] = label
    return found._replace(array=mask)
