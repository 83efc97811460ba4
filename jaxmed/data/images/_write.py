"""Writing of masks in the space of their scan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from PIL import Image

from jaxmed._files import replacing
from jaxmed.data.images._geometry import to_space
from jaxmed.data.images._space import Scan, Space, file_affine

_NIFTI = (".nii", ".nii.gz")
_PICTURES = {".png": 2**16 - 1, ".tif": 2**31 - 1, ".tiff": 2**31 - 1, ".bmp": 2**8 - 1}


def write_mask(path: str | os.PathLike, mask: np.ndarray, scan: Scan) -> Path:
    """Write a mask in the scan's own space: the shape, affine and codes of the file it came from.

    `read_mask` gives back the same numbers, and a two-dimensional NIfTI its place in the patient.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.mgz`` (three axes) or, for two-dimensional scans, ``.png``
            (labels from 0 to 65535), ``.tif`` (to 2147483647) or ``.bmp`` (to 255).
        mask: (*spatial,) whole numbers of at most 32 bits, on the grid of ``scan.array``.
        scan: The scan as it was read, turned, resampled or cropped.

    Returns:
        ``path``. The file appears whole or not at all.

    Raises:
        ValueError: The mask is not on the scan's grid or not of whole numbers, or the format of
            the ending cannot hold it as it is, as JPEG never can; says which labels it holds.
    """
    path = Path(path)
    mask = np.asarray(mask)
    if mask.shape != scan.space.shape:
        raise ValueError(
            f"write_mask wants a mask on the scan's grid {scan.space.shape}, got {mask.shape}"
        )
    mask = _smallest(path, to_space(mask, scan.affine, scan.file))
    name = path.name.lower()
    ending = ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix
    if ending in _NIFTI:
        image = _nifti(mask, scan.file)
    elif ending == ".mgz" and mask.ndim == 3:
        voxels = mask.astype(np.uint8 if mask.dtype == bool else mask.dtype)
        image = nib.MGHImage(cast("Any", voxels), scan.file.affine)  # its stub has no ndarray
    elif ending in _PICTURES and mask.ndim == 2:
        image = _picture(path, mask, _PICTURES[ending])
    else:
        raise ValueError(
            f"a mask of shape {mask.shape} cannot be written as {ending!r}: take .nii.gz, or .png "
            "or .tif for two axes (JPEG would change its labels)"
        )
    with replacing(path) as partial:
        (image.save if isinstance(image, Image.Image) else image.to_filename)(partial)
    return path


def _smallest(path: Path, mask: np.ndarray) -> np.ndarray:
    """Cast the mask to the smallest of the types that every format supports."""
    bottom, top = int(mask.min(initial=0)), int(mask.max(initial=0))
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= bottom and top <= np.iinfo(kind).max:
            return mask.astype(kind)
    raise ValueError(f"{path}: labels from {bottom} to {top} do not fit 32 bits; renumber them")


def _picture(path: Path, mask: np.ndarray, largest: int) -> Image.Image:
    bottom, top = int(mask.min(initial=0)), int(mask.max(initial=0))
    values = set(np.unique(mask).tolist())
    if bottom < 0 or top > largest:
        raise ValueError(
            f"{path}: labels from {bottom} to {top} do not survive in a {path.suffix.lower()} "
            f"file, which holds 0 to {largest}; write .nii.gz, or renumber them"
        )
    if top == 65535 and values <= {0, 65535}:
        raise ValueError(
            f"{path}: labels of 0 and 65535 alone do not survive in a picture, where they are read "
            "as black and white, 0 and 1; write .nii.gz, or renumber them"
        )
    if top < 256:
        picture = Image.fromarray(mask.astype(np.uint8))
        if values <= {0, 255} and top == 255:
            # As grey they would be read as black and white; the index of a palette is the class.
            grey = [level for level in range(255) for _ in range(3)]
            picture.putpalette([*grey, 255, 255, 0])
        return picture
    return Image.fromarray(mask.astype(np.uint16 if top < 2**16 else np.int32))


def _nifti(mask: np.ndarray, space: Space) -> nib.Nifti1Image:
    affine, header = _place(space), None
    if isinstance(space.header, nib.Nifti1Header):
        # nibabel says that this is a header of any kind.
        header = cast("nib.Nifti1Header", nib.Nifti1Header.from_header(space.header))
        header.set_data_dtype(mask.dtype)
        header.set_data_shape(mask.shape)
        header.set_slope_inter(1, 0)
        header["cal_min"], header["cal_max"] = 0, 0
        if header.get_xyzt_units()[0] not in ("mm", "unknown"):
            header.set_xyzt_units("mm")
    return nib.Nifti1Image(mask, affine, header)


def _place(space: Space) -> np.ndarray:
    """The (4, 4) affine of a file's grid; a header knows more of two axes than their affine."""
    rank = len(space.affine) - 1
    if rank == 2 and space.header is not None and len(space.header.get_data_shape()) == 2:
        return file_affine(space.header)
    affine = np.eye(4)
    kept = [*range(rank), 3]
    affine[np.ix_(kept, kept)] = space.affine
    return affine
