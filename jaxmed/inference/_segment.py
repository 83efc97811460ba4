"""Segmentation of one scan, from its file's grid to the network's and back."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import Scan, Space, moves_whole_voxels, resample_spacing, to_space
from jaxmed.data.images._geometry import nonzero_box
from jaxmed.inference._intensities import finite, normalised
from jaxmed.inference._largest import keep_largest
from jaxmed.inference._segmenter import Recipe, Segmenter
from jaxmed.inference._sliding import sliding_window

_MARGIN = 4  # Margin of voxels kept around the nonzero region.
_LARGE = 2**31  # Bytes of probabilities above which they lie in a file.


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
    """Resample and normalise a scan as in training; of a cascade, without the earlier mask.

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
    mean = np.asarray(recipe.linear).T[1] if recipe.normalisation == "linear" else 0.0
    where, outside = None, np.broadcast_to(mean, (channels,)).astype(np.float32)
    if recipe.over == "nonzero":
        scan = _cropped(scan)
        where = (scan.array != 0).any(-1)
        outside = _former_zero(recipe, scan.array[where])
    seen = scan.space
    # Before resampling, which blurs the edge of the nonzero region.
    array = _normalised(recipe, scan.array, where)
    scan = scan._replace(array=array)
    spacing = [new or old for new, old in zip(recipe.spacing, scan.spacing, strict=True)]
    # Headers are rounded: a hundredth of a voxel is no difference in resolution.
    if not np.allclose(scan.spacing, spacing, rtol=0.01):
        scan = resample_spacing(scan, spacing)
    return Preprocessed(scan, outside, seen)


def structure_channels(mask: np.ndarray, classes: int) -> np.ndarray:
    """One channel for each class but the background, as a cascade's second network takes them.

    Args:
        mask: (*spatial,) whole numbers.
        classes: how many there are, with the background.

    Returns:
        (*spatial, classes - 1) float32, 0 or 1.
    """
    return (mask[..., None] == np.arange(1, classes)).astype(np.float32)


def given(model: Segmenter, scan: Scan, size: int) -> Preprocessed:
    """What the network is given: the scan, and of a cascade what was found in it before.

    Args:
        model: a segmenter.
        scan: the image, in canonical orientation.
        size: patches predicted at once.
    """
    ready = preprocess(model.recipe, scan)
    if model.before is None:
        return ready
    # On this network's grid at once, not by way of the file's.
    mask = segment(model.before, scan._replace(file=ready.scan.space), size=size).array
    found = structure_channels(mask, len(model.recipe.classes))
    array = np.concatenate([ready.scan.array, found], axis=-1)
    outside = np.concatenate([ready.outside, np.zeros(found.shape[-1], np.float32)])
    return ready._replace(scan=ready.scan._replace(array=array), outside=outside)


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
    inner = nonzero_box(scan.array)
    if inner is None:
        raise ValueError("every voxel of the image is zero")
    low = [max(axis.start - _MARGIN, 0) for axis in inner]
    high = [axis.stop + _MARGIN for axis in inner]
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
        ValueError: the scan has another rank or other channels than the network, or the network's
            answer is not finite.
    """
    ready = given(model, scan, size)
    found = to_space(_predicted(model, ready, size), ready.scan.affine, scan.file)
    found[~ready.seen.reaches(scan.file)] = 0
    return Scan(_with_background(model.recipe, found), scan.file.affine, scan.file)


def segment(model: Segmenter, scan: Scan, *, size: int = 1) -> Scan:
    """Segment a scan, in the space of the file it came from.

    The scan is normalised, resampled to the voxel size of training if it differs, and predicted
    patch by patch; the probabilities are resampled to the file's grid, where the most probable
    class is chosen; overlapping regions are painted over each other where each is more probable
    than not; the largest piece alone is kept, if the recipe says so.
    ``jaxmed.data.write_mask(path, mask.array, mask)`` writes the mask.

    Where the file has the voxel size of training, classes are chosen as soon as no further patch
    touches a voxel, and moved to their place: no probabilities of the whole are kept. Where it has
    not, they lie in a temporary file if they are larger than 2 GB, and the file's grid is decided
    a few planes at a time.

    Args:
        model: a segmenter.
        scan: the image, turned as in training (``read_image(path, canonical=True)``).
        size: patches predicted at once.

    Returns:
        The mask, (*spatial,) int32, on the grid of ``scan.file``.

    Raises:
        ValueError: the scan has another rank or other channels than the network, or the network's
            answer is not finite.
    """
    recipe, ready = model.recipe, given(model, scan, size)
    grid, file = ready.scan.affine, scan.file

    def decide(found: np.ndarray) -> np.ndarray:
        return _decided(recipe, _with_background(recipe, found))

    if moves_whole_voxels(grid, file):
        mask = to_space(_predicted(model, ready, size, reduce=decide), grid, file)
        mask[~ready.seen.reaches(file)] = 0
        return Scan(_whole(recipe, mask), file.affine, file)
    mask = np.empty(file.shape, np.int32)
    outputs = len(recipe.regions) or len(recipe.classes)
    with _room((*ready.scan.space.shape, outputs)) as sink:
        found = _predicted(model, ready, size, sink=sink)
        planes = max(_LARGE // 8 // (4 * outputs * int(np.prod(file.shape[1:]))), 1)
        for first in range(0, file.shape[0], planes):
            part = _some_planes(file, first, planes)
            soft = to_space(found, grid, part)
            soft[~ready.seen.reaches(part)] = 0
            mask[first : first + planes] = decide(soft)
        del found, sink
    return Scan(_whole(recipe, mask), file.affine, file)


def _predicted(model: Segmenter, ready: Preprocessed, size: int, **options: Any) -> np.ndarray:
    """Probabilities on the network's grid, or what `sliding_window` is asked to make of them."""
    # Images smaller than a patch are padded by their surroundings: the mean, or the former zero.
    return sliding_window(
        model.predict,
        ready.scan.array,
        model.recipe.patch,
        overlap=model.recipe.overlap,
        size=size,
        value=ready.outside,
        **options,
    )


def _with_background(recipe: Recipe, found: np.ndarray) -> np.ndarray:
    """Give what is missing to 1 to the background: nothing is known beyond the border."""
    finite(found)
    if not recipe.regions:
        # By rounding the others may add up to a little more than 1: no probability is negative.
        found[..., 0] = np.maximum(found[..., 0] + (1 - found.sum(-1)), 0)
    return found


@contextlib.contextmanager
def _room(shape: tuple[int, ...]) -> Iterator[np.ndarray | None]:
    """A temporary file for float32 numbers of this shape; None where memory may hold them."""
    if 4 * int(np.prod(shape, dtype=np.int64)) <= _LARGE:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="jaxmed-") as folder:
        path = Path(folder) / "probabilities.npy"
        yield np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)


def _some_planes(space: Space, first: int, count: int) -> Space:
    """Some planes of a grid along its first axis."""
    step = np.eye(len(space.affine))
    step[0, -1] = first
    shape = (min(count, space.shape[0] - first), *space.shape[1:])
    return Space(shape, space.affine @ step)


def decided(recipe: Recipe, found: Scan) -> Scan:
    """Turn probabilities into a mask, as :func:`segment` does.

    Args:
        recipe: the recipe, which says whether outputs are classes or regions, and whether one piece
            of what they mark is kept.
        found: :func:`probabilities`, (*spatial, classes or regions).

    Returns:
        The mask, (*spatial,) int32.
    """
    return found._replace(array=_whole(recipe, _decided(recipe, found.array)))


def _whole(recipe: Recipe, mask: np.ndarray) -> np.ndarray:
    return keep_largest(mask) if recipe.one_piece else mask


def _decided(recipe: Recipe, found: np.ndarray) -> np.ndarray:
    if not recipe.regions:
        return found.argmax(-1).astype(np.int32)
    mask = np.zeros(found.shape[:-1], np.int32)
    for output, label in enumerate(recipe.regions):
        mask[found[..., output] >= 0.5] = label
    return mask
