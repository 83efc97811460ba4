"""Siemens mosaics: the slices of a volume as the tiles of one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.dicom._dataset import quiet


class Mosaic(NamedTuple):
    """The tiles of a mosaic, the first slice first.

    Attributes:
        size: rows and columns of a tile.
        corners: row and column of each tile's first pixel in the picture.
        positions: (tiles, 3) centre of each tile's first pixel, in mm.
    """

    size: tuple[int, int]
    corners: tuple[tuple[int, int], ...]
    positions: np.ndarray


def is_mosaic(dataset: Any) -> bool:
    """Whether the picture of a data set is a mosaic."""
    return "MOSAIC" in (dataset.get("ImageType") or ())


def mosaic(path: Path, dataset: Any, axes: np.ndarray, distance: float) -> Mosaic:
    """Tell the slices of a mosaic apart.

    The header's position is that of a picture as large as the mosaic about the centre of a slice;
    that of the slice follows from the difference of their sizes.

    Args:
        path: the file, for messages.
        dataset: its header.
        axes: (2, 3) unit vectors along rows and columns.
        distance: from slice to slice, in mm.

    Raises:
        DataError: the private header that counts the slices is gone.
    """
    with quiet():  # nibabel calls its whole package experimental
        from nibabel.nicom import csareader

    header = csareader.get_csa_header(dataset)
    count = csareader.get_n_mosaic(header) if header else None
    count = count or (dataset[0x0019, 0x100A].value if (0x0019, 0x100A) in dataset else None)
    if not count:
        raise fault(
            path,
            "shape",
            "a Siemens mosaic without the private header that counts its slices, which "
            "de-identification has removed; take the series as it was exported",
        )
    across = int(np.ceil(np.sqrt(count)))
    rows, columns = int(dataset.Rows) // across, int(dataset.Columns) // across
    spacing = [float(value) for value in dataset.PixelSpacing]
    moved = [(int(dataset.Columns) - columns) / 2, (int(dataset.Rows) - rows) / 2]
    first = np.array([float(value) for value in dataset.ImagePositionPatient])
    first = first + axes[0] * spacing[1] * moved[0] + axes[1] * spacing[0] * moved[1]
    normal = np.cross(*axes)
    stated = csareader.get_slice_normal(header) if header else None
    if stated is not None and stated @ normal < 0:
        normal = -normal
    places = [divmod(k, across) for k in range(int(count))]
    return Mosaic(
        (rows, columns),
        tuple((down * rows, right * columns) for down, right in places),
        first + np.arange(int(count))[:, None] * normal * distance,
    )
