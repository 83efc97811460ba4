"""Writing of masks in the space of their scan."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from jaxmed._files import replacing
from jaxmed.data.formats._registry import MASKS, suffix, writer_of
from jaxmed.data.images._geometry import to_space
from jaxmed.data.images._space import Scan


def write_mask(path: str | os.PathLike, mask: np.ndarray, scan: Scan) -> Path:
    """Write a mask in the scan's own space: the shape, affine and codes of the file it came from.

    `read_mask` gives back the same numbers, and a two-dimensional NIfTI its place in the patient.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mgz`` (three axes); ``.ome.tif`` for a
            grid that is neither turned nor moved; ``.dcm`` for a scan that was read from DICOM
            (see `write_dicom_seg`, which names the structures too); or,
            for two-dimensional scans, ``.png`` (labels from 0 to 65535), ``.tif`` (to 2147483647)
            or ``.bmp`` (to 255).
        mask: (*spatial,) whole numbers of at most 32 bits, on the grid of ``scan.array``.
        scan: the scan as it was read, turned, resampled or cropped.

    Returns:
        ``path``. The file appears whole or not at all.

    Raises:
        ValueError: the mask is not on the scan's grid or not of whole numbers, or the format of
            the ending cannot hold it as it is, as JPEG never can; says which labels it holds.
    """
    path = Path(path)
    mask = np.asarray(mask)
    if mask.shape != scan.space.shape:
        raise ValueError(
            f"write_mask needs a mask on the scan's grid {scan.space.shape}, got {mask.shape}"
        )
    found = writer_of(path)
    if found is None or found.write is None or (found.picture and mask.ndim != 2):
        raise ValueError(
            f"a mask of shape {mask.shape} cannot be written as {suffix(path)!r} (of "
            f"{', '.join(MASKS)}): take .nii.gz, or .png or .tif for two axes (JPEG would change "
            "its labels)"
        )
    mask = _smallest(path, to_space(mask, scan.affine, scan.file))
    with replacing(path) as partial:
        try:
            found.write(partial, mask, scan.file)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return path


def _smallest(path: Path, mask: np.ndarray) -> np.ndarray:
    """Cast the mask to the smallest of the types that every format supports."""
    bottom, top = int(mask.min(initial=0)), int(mask.max(initial=0))
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= bottom and top <= np.iinfo(kind).max:
            return mask.astype(kind)
    raise ValueError(f"{path}: labels from {bottom} to {top} do not fit 32 bits; renumber them")
