"""What a format is to the readers: its endings, and functions from a file to voxels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        endings: lower-case endings of its files, by which it is known.
        space: the grid and the number of channels of an image, from its header alone.
        image: the voxels of an image.
        labels: the voxels of a mask, exactly as they are stored.
        labels_on: those of a mask that has no grid of its own, on the grid of an image's file.
        write: writes a mask of uint8, int16 or int32 on the grid of a file; raises `ValueError`
            where the format cannot hold it. None: no masks are written in this format.
        masks: the endings that masks are written with.
        options: names of the options that it takes behind a ``#``.
        picture: whether its images have no size in millimetres.
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
    labels_on: Callable[[Place, Scan], Voxels] | None = None


def check_exists(path: Path) -> None:
    """Raise the fault of a file that is not there."""
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
