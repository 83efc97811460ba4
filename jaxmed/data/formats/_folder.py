"""The images in a folder, of whatever format."""

from __future__ import annotations

from pathlib import Path

from jaxmed._files import files_below
from jaxmed.data.dicom._folder import segmented_series, series_paths
from jaxmed.data.formats._registry import format_of_name, suffix


def images_in(folder: Path, *, below: bool = True) -> list[Path]:
    """List the images in a folder, in the order of their names.

    A DICOM series is one image: the folder that holds it alone, or that folder with its number
    behind a ``#`` (``scans/p7#series=2``), or the only file. Of the two files of an Analyze pair
    the header is named.

    Args:
        folder: the folder; what begins with a dot is left out.
        below: whether folders inside it are searched too.
    """
    files = _files(folder, below=below)
    dicom = [path for path in files if format_of_name(path) == "DICOM"]
    pairs = {path.with_suffix(".img") for path in files if suffix(path) == ".hdr"}
    others = [path for path in files if format_of_name(path) not in ("", "DICOM")]
    return sorted([path for path in others if path not in pairs] + series_paths(folder, dicom))


def segmentations_in(folder: Path) -> dict[Path, list[Path]]:
    """List the DICOM segmentations in a folder by the series that each was made from.

    Returns:
        The path of a series, as `images_in` lists it, to the files of its segmentations.
    """
    dicom = [path for path in _files(folder) if format_of_name(path) == "DICOM"]
    return segmented_series(folder, dicom)


def _files(folder: Path, *, below: bool = True) -> list[Path]:
    if below:
        return sorted(files_below(folder))
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
