"""DICOM as a format: a file, or a folder with the files of a series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.dicom._identity import identifying_headers
from jaxmed.data.dicom._segmentation import (
    is_segmentation,
    read_seg_labels,
    read_seg_space,
)
from jaxmed.data.dicom._series import read_dicom, read_dicom_space
from jaxmed.data.dicom._stack import ALLOWED
from jaxmed.data.dicom._write_segmentation import write_dicom_seg
from jaxmed.data.formats._format import Format, Place, Voxels
from jaxmed.data.images._space import Scan, Space


def _space(place: Place) -> tuple[Space, int]:
    if is_segmentation(place.path):
        return read_seg_space(place.path), 1
    options = _options(place)
    options.pop("padding", None)
    return read_dicom_space(place.path, **options)


def _image(place: Place) -> Voxels:
    scan = read_dicom(place.path, **_options(place))
    return Voxels(scan.array, scan.file)


def _labels(place: Place) -> Voxels:
    """Read a segmentation on its own grid, or an image whose numbers are labels."""
    if not is_segmentation(place.path):
        return _image(place)
    return Voxels(*read_seg_labels(place.path))


def _labels_on(place: Place, like: Scan) -> Voxels:
    if not is_segmentation(place.path):
        return _image(place)
    return Voxels(*read_seg_labels(place.path, like=like))


def _write(path: Path, mask: np.ndarray, space: Space) -> None:
    write_dicom_seg(path, mask, Scan(mask, space.affine, space))


def _options(place: Place) -> dict[str, Any]:
    """The options of `read_dicom` from those behind a ``#``."""
    found: dict[str, Any] = dict(place.options)
    if "allow" in found:
        found["allow"] = tuple(found["allow"].split("+"))
        wrong = [name for name in found["allow"] if name not in ALLOWED]
        if wrong:
            raise fault(
                place.path, "table", f"allow={wrong[0]} behind the #; it takes {', '.join(ALLOWED)}"
            )
    if "padding" in found:
        try:
            found["padding"] = float(found["padding"])
        except ValueError:
            detail = f"padding={found['padding']} behind the # is no number"
            raise fault(place.path, "table", detail) from None
    return found


DICOM = Format(
    "DICOM",
    (".dcm", ".dicom", ".ima"),
    _space,
    _image,
    _labels,
    _write,
    (".dcm",),
    options=("series", "frame", "allow", "padding"),
    labels_on=_labels_on,
    notes=lambda place: identifying_headers(place.path),
)
