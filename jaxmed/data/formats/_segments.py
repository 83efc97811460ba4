"""Names of the structures in a mask's file, of formats that keep them."""

from __future__ import annotations

import os
from pathlib import Path

from jaxmed.data.dicom._segmentation import read_dicom_segments
from jaxmed.data.formats._dicom import DICOM
from jaxmed.data.formats._nrrd import NRRD, read_nrrd_segments
from jaxmed.data.formats._registry import format_of, format_of_name
from jaxmed.data.images._segments import Segment


def names_segments(path: Path) -> bool:
    """Whether a file is of a format that may name segments, and is one file."""
    return path.is_file() and format_of_name(path) in (DICOM.name, NRRD.name)


def read_segments(path: str | os.PathLike) -> tuple[Segment, ...]:
    """Read the structures that a segmentation names, numbered as `read_mask` numbers them.

    Args:
        path: a segmentation of 3D Slicer (``.seg.nrrd``) or of DICOM.

    Returns:
        The structures; none where the file names none.

    Raises:
        DataError: the file cannot be read.
    """
    found, place = format_of(path)
    if found is NRRD:
        return read_nrrd_segments(place.path)
    return read_dicom_segments(place.path) if found is DICOM else ()
