"""What a format is to the readers: its endings, and functions from a file to voxels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.images._space import Scan, Space

Options = Mapping[str, str]


class Voxels(NamedTuple):
    """The voxels of a file as they lie in it, and their grid.

    Attributes:
        array: (*spatial) or (*spatial, channels), of the type that the file stores or means.
        space: the grid, with the file's header.
        whites: of a mask, the values that mean white, and so 1 where they stand beside 0 alone.
    """

    array: np.ndarray
    space: Space
    whites: tuple[int, ...] = ()


class Place(NamedTuple):
    """Where an image lies: a file or folder, and what was said about it behind a ``#``.

    ``scans/p7#series=2&allow=slice-missing`` is the folder ``scans/p7`` with two options. A path
    that exists as it is written has none, whatever characters it holds.
    """

    path: Path
    options: Options = MappingProxyType({})

    def __str__(self) -> str:
        return str(self.path)


class Format(NamedTuple):
    """A format of files.

    Attributes:
        name: as people call it.
        endings: Lower-case endings of its files, by which it is known.
        space: the grid and the number of channels of an image, from its header alone.
        image: the voxels of an image.
        labels: the voxels of a mask, exactly as they are stored.
        labels_on: those of a mask that has no grid of its own, on the grid of an image's file.
        write: writes a mask of uint8, int16 or int32 on the grid of a file; raises `ValueError`
            where the format cannot hold it. None: no masks are written in this format.
        masks: the endings that masks are written with.
        options: names of the options that it takes behind a ``#``.
        picture: whether its images have no size in millimetres.
        notes: the names of entries of a file's header that tell who was imaged.
    """

    name: str
    endings: tuple[str, ...]
    space: Callable[[Place], tuple[Space, int]]
    image: Callable[[Place], Voxels]
    labels: Callable[[Place], Voxels]
    write: Callable[[Path, np.ndarray, Space], None] | None = None
    masks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    picture: bool = False
    notes: Callable[[Place], tuple[str, ...]] | None = None
    labels_on: Callable[[Place, Scan], Voxels] | None = None


def telling(names: Iterable[str]) -> tuple[str, ...]:
    """Those names of free entries of a header that tell who was imaged.

    SimpleITK writes the elements of a DICOM file under their tags, of which group 0010 is the
    patient's; sex, age, size and weight tell of no one person.

    >>> telling(["0010|0010", "0010|0040", "0018|0050", "PatientName", "ITK_InputFilterName"])
    ('0010|0010', 'PatientName')
    """
    element = re.compile(r"(DICOM_)?0010[|_,](?!0040|10[123]0)[0-9a-fA-F]{4}")
    return tuple(n for n in names if element.fullmatch(n) or "patient" in n.lower())


def check_exists(path: Path) -> None:
    """Raise the fault of a file that is not there."""
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
