"""Which files of a data set tell who was imaged."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data.dicom._dataset import dicom_files, is_dicom
from jaxmed.data.dicom._identity import burned_in_text
from jaxmed.data.formats._folder import images_in
from jaxmed.data.formats._registry import format_of, locate
from jaxmed.data.sources._dataset import open_dataset
from jaxmed.data.tables._table import TABLES

_SHOWN = 8


def identity(path: str | os.PathLike) -> list[Fault]:
    """List what in the headers of a data set's files tells who was imaged, and where text may show.

    It names elements, never their values: of DICOM the main ones that the Basic Confidentiality
    Profile removes (PS3.15), of pictures the notes of a camera (EXIF) on persons, times and places,
    of NIfTI, NRRD and MetaImage the entries that hold a patient's name or a DICOM file's elements.
    Pixels are not looked at: ``burned-in`` follows from what the header says, or does not say, of
    the kinds of images that scanners write the patient's name into. This is a help to find what was
    forgotten and no de-identification: private elements, for one, are not searched.

    Args:
        path: a file, a folder, or a table of images, as `check` takes.

    Returns:
        One finding a folder and kind, of rule ``identity`` or ``burned-in``; ``check(path,
        identity=True)`` counts them as faults.

    Raises:
        DataError: the path does not exist.
    """
    headers: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    pixels: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in sorted(set(_files(Path(path)))):
        try:
            names, why = _notes(file), burned_in_text(file) if is_dicom(file) else ""
        except DataError:
            continue  # a fault of another rule
        if names:
            headers[file.parent, ", ".join(names)].append(file)
        if why:
            pixels[file.parent, why].append(file)
    found = [_finding(files, "identity", _listed(what)) for (_, what), files in headers.items()]
    return found + [_finding(files, "burned-in", why) for (_, why), files in pixels.items()]


def _finding(files: list[Path], rule: str, what: str) -> Fault:
    if len(files) == 1:
        return Fault(str(files[0]), rule, what)
    return Fault(str(files[0].parent), rule, f"{len(files)} files, such as {files[0].name}: {what}")


def _listed(names: str) -> str:
    several = names.split(", ")
    more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
    return f"the header states {', '.join(several[:_SHOWN])}{more}"


def _notes(file: Path) -> tuple[str, ...]:
    found, place = format_of(file)
    return found.notes(place) if found.notes else ()


def _files(path: Path) -> Iterator[Path]:
    place = locate(path).path
    if place.is_dir():
        yield from _of(images_in(place))
        yield from dicom_files(place)
    elif place.suffix.lower() in TABLES:
        with contextlib.suppress(DataError):  # what `check` says of the table
            source, _ = open_dataset(place)
            if source is not None:
                yield from _of(file for row in source.images for file in row)
    elif place.exists():
        yield place
    else:
        raise fault(place, "exists", "there is no such file or folder")


def _of(images: Iterable[Path]) -> Iterator[Path]:
    for image in images:
        place = locate(image).path
        if place.is_dir():
            yield from dicom_files(place)
        elif place.is_file():
            yield place
