"""The formats that are read and written: the one place where their endings stand."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxmed.data._error import fault
from jaxmed.data.dicom._dataset import is_dicom
from jaxmed.data.formats._array import ARRAY
from jaxmed.data.formats._dicom import DICOM
from jaxmed.data.formats._format import Format, Options, Place
from jaxmed.data.formats._metaimage import METAIMAGE
from jaxmed.data.formats._nifti import ANALYZE, MGZ, NIFTI
from jaxmed.data.formats._nrrd import NRRD
from jaxmed.data.formats._ome_tiff import OME_TIFF
from jaxmed.data.formats._picture import PICTURE

FORMATS: tuple[Format, ...] = (
    NIFTI, DICOM, NRRD, METAIMAGE, MGZ, ANALYZE, PICTURE, OME_TIFF, ARRAY
)  # fmt: skip
"""Every format, the commonest first."""

_BY_ENDING: Mapping[str, Format] = {ending: found for found in FORMATS for ending in found.endings}
ENDINGS: tuple[str, ...] = tuple(_BY_ENDING)
"""The endings of images."""
MASKS: tuple[str, ...] = tuple(ending for found in FORMATS for ending in found.masks)
"""The endings that `write_mask` writes."""
SLIDES = (".svs",)
"""The endings of whole slides alone: `jaxmed.data.slide` reads them, in boxes."""
CUT = "a whole slide, which `jaxmed tiles` cuts into pictures"


def suffix(path: str | os.PathLike) -> str:
    """Return the lower-case ending of a file: the longest that a format has, as ``.nii.gz``."""
    name = Path(path).name.lower()
    known = [ending for ending in ENDINGS if name.endswith(ending)]
    return max(known, key=len) if known else Path(name).suffix


def stem(path: str | os.PathLike) -> str:
    """Return a file's name without its ending, of which a folder and many DICOM files have none.

    >>> [stem(name) for name in ("a/b.nii.gz", "1.2.840.5", "p7#series=2", "p7/#series=2")]
    ['b', '1.2.840.5', 'p7_series2', 'p7_series2']
    """
    place = locate(path)
    name, ending = place.path.name, suffix(place.path)
    name = name[: -len(ending)] if ending in _BY_ENDING or ending in SLIDES else name
    return name + "".join(f"_{option}{value}" for option, value in place.options.items())


def format_of_name(path: Path) -> str:
    """The format of a file by its ending or else by the mark of DICOM; ``""`` if unknown."""
    found = _BY_ENDING.get(suffix(path))
    return found.name if found else DICOM.name if is_dicom(path) else ""


def is_image(path: Path) -> bool:
    """Whether a file is of a known format."""
    return format_of_name(path) != ""


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a path names a picture, whose pixels have no size in millimetres."""
    found = _BY_ENDING.get(suffix(locate(path).path))
    return found is not None and found.picture


def exists(path: str | os.PathLike) -> bool:
    """Whether there is a file or folder, which options may follow behind a ``#``.

    A pipe or a device is neither: it may have nothing to say, or no end, for ever.
    """
    place = locate(path).path
    return place.is_file() or place.is_dir()


def locate(path: str | os.PathLike) -> Place:
    """Tell a path from the options behind its ``#``, such as ``scans/p7#series=2``.

    Raises:
        DataError: an option is not written as ``name=value``.
    """
    whole = Path(path)
    text, mark, said = os.fspath(path).rpartition("#")
    if not mark or "=" not in said or whole.exists():
        return Place(whole)
    options = {}
    for part in said.replace(",", "&").split("&"):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise fault(path, "table", f"{part!r} behind the # is no option of the kind name=value")
        options[name.strip()] = value.strip()
    return Place(Path(text), options)


def spaced(path: Path, cell: Any) -> Path:
    """Add the voxel size that a table states to the path of a file that has none of its own.

    >>> spaced(Path("a.npy"), "0.7, 0.7, 5").name, spaced(Path("a.nii"), "1 1 1").name
    ('a.npy#spacing=0.7x0.7x5', 'a.nii')
    """
    found = _BY_ENDING.get(suffix(path))
    lengths = re.findall(r"[^\s,;x()\[\]]+", "" if cell is None else str(cell))
    if found is None or "spacing" not in found.options or not lengths:
        return path
    return path.with_name(f"{path.name}#spacing={'x'.join(lengths)}")


def format_of(path: str | os.PathLike) -> tuple[Format, Place]:
    """Find the format of a file or folder.

    Raises:
        DataError: it does not exist, is of no known format, or its format lacks an option.
    """
    place = locate(path)
    if not exists(path):
        raise fault(place.path, "exists", "there is no such file or folder")
    ending = suffix(place.path)
    if place.path.is_dir() or (ending not in _BY_ENDING and is_dicom(place.path)):
        found = DICOM
    elif ending in _BY_ENDING:
        found = _BY_ENDING[ending]
    elif ending in SLIDES:
        raise fault(place.path, "readable", CUT)
    else:
        known = ", ".join(ENDINGS)
        detail = f"the ending {ending!r} is none of {known}, nor is it marked as DICOM"
        raise fault(place.path, "readable", detail)
    _check_options(found, place.path, place.options)
    return found, place


def writer_of(path: Path) -> Format | None:
    """The format that writes masks with the ending of a path, if there is one."""
    ending = suffix(path)
    return next((found for found in FORMATS if ending in found.masks), None)


def mask_ending(path: str | os.PathLike, rank: int) -> str:
    """The ending of a mask in the format of its image; ``.nii.gz`` where that holds none.

    >>> [mask_ending(name, 2) for name in ("a.jpg", "a.nrrd", "a.npy")]
    ['.png', '.nrrd', '.nii.gz']
    """
    place = locate(path).path
    found = DICOM if place.is_dir() or is_dicom(place) else _BY_ENDING.get(suffix(place))
    if found is None or not found.masks or (found.picture and rank != 2):
        return ".nii.gz"
    return found.masks[0]


def _check_options(found: Format, path: Path, options: Options) -> None:
    unknown = [name for name in options if name not in found.options]
    if unknown:
        takes = f"takes {', '.join(found.options)}" if found.options else "takes no options"
        raise fault(path, "table", f"{unknown[0]!r} behind the #: {found.name} {takes}")
