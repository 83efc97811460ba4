"""Images of numbers written in the space of a scan's file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from jaxmed._files import replacing
from jaxmed.data.formats._nifti import write_nifti
from jaxmed.data.formats._registry import suffix
from jaxmed.data.images._geometry import to_space
from jaxmed.data.images._space import Scan

IMAGES = (".nii", ".nii.gz", ".png", ".tif")
"""The endings that `write_image` writes."""


def write_image(path: str | os.PathLike, image: np.ndarray, scan: Scan) -> Path:
    """Write an image in the scan's own space: the shape, affine and codes of the file it came from.

    Args:
        path: ``.nii`` or ``.nii.gz``, float32, several channels along an axis of their own; of two
            axes also ``.png``, 8 bits of one or three channels in [0, 1], or ``.tif``, float32 of
            one channel.
        image: (*spatial, channels) finite numbers on the grid of ``scan.array``.
        scan: the scan as it was read, turned, resampled or cropped.

    Returns:
        ``path``. The file appears whole or not at all.

    Raises:
        ValueError: the image is not on the scan's grid, not finite, or the format of the ending
            cannot hold it.
    """
    path, image = Path(path), np.asarray(image, np.float32)
    rank = len(scan.affine) - 1
    if image.shape[:-1] != scan.space.shape:
        raise ValueError(
            f"write_image needs (*spatial, channels) on the scan's grid {scan.space.shape}, got "
            f"{image.shape}"
        )
    if not np.isfinite(image).all():
        raise ValueError(f"{path}: the image holds NaN or infinity")
    ending, channels = suffix(path), image.shape[-1]
    image = to_space(image, scan.affine, scan.file)
    if ending in (".nii", ".nii.gz"):
        array = image[..., 0] if channels == 1 else image
        # The fourth axis of a NIfTI is that of channels, also where there are two of space.
        array = array[:, :, None] if rank == 2 and channels > 1 else array
        with replacing(path) as partial:
            write_nifti(partial, array, scan.file)
        return path
    if rank != 2 or ending not in IMAGES:
        raise ValueError(
            f"{path.name}: an image of {rank} axes is written as "
            + " or ".join(IMAGES if rank == 2 else IMAGES[:2])
        )
    with replacing(path) as partial:
        _picture(image, path).save(partial)
    return path


def _picture(image: np.ndarray, path: Path) -> Image.Image:
    channels = image.shape[-1]
    if suffix(path) == ".tif":
        if channels != 1:
            raise ValueError(f"{path.name} holds one channel of float32 here, not {channels}")
        return Image.fromarray(image[..., 0])
    if channels not in (1, 3):
        raise ValueError(f"{path.name} holds one channel or three, not {channels}")
    if image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"{path.name} holds numbers in [0, 1], not {image.min():g} to {image.max():g}: write "
            ".tif or .nii.gz, or clip them"
        )
    levels = np.round(255 * image).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if channels == 1 else levels)
