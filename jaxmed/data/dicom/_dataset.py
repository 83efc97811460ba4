"""DICOM files on disk: which there are, and their headers."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxmed._files import files_below
from jaxmed.data._error import fault, reading
from jaxmed.data._optional import optional

_PREAMBLE = 128
_DIRECTORY = "1.2.840.10008.1.3.10"  # the class of a DICOMDIR
_quiet = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning of values that the standard does not allow, by showing them.

    A patient's name may be one. The filters of warnings belong to all threads, hence the lock.
    """
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def pydicom() -> Any:
    """The package pydicom, or the error that names the extra to install."""
    return optional("pydicom", "DICOM")


def is_dicom(path: Path) -> bool:
    """Whether a file says of itself that it is DICOM: ``DICM`` behind 128 bytes."""
    if not path.is_file():  # a pipe may have nothing to say for ever
        return False
    try:
        with open(path, "rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def is_directory(path: Path) -> bool:
    """Whether a file is by its name the table of contents of a medium."""
    return path.name.upper().startswith("DICOMDIR")


def dicom_files(folder: Path) -> Iterator[Path]:
    """The DICOM files in a folder and the folders below it, in the order of their names."""
    for path in files_below(folder):
        if not is_directory(path) and is_dicom(path):
            yield path


def read_header(path: Path) -> Any:
    """Read the data set of a file but for its pixels."""
    return _read(path, stop_before_pixels=True)


def read_whole(path: Path) -> Any:
    """Read the data set of a file with its pixels, which are decoded later."""
    return _read(path, stop_before_pixels=False)


def _read(path: Path, *, stop_before_pixels: bool) -> Any:
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    with reading(path, "the DICOM file"):
        # A file without its preamble is read as well, if what follows is a data set.
        read = pydicom().dcmread
        with quiet():
            dataset = read(path, stop_before_pixels=stop_before_pixels, force=True)
            for _ in dataset:
                pass  # pydicom converts a value when it is first seen, and warns then
            if str(dataset.file_meta.get("MediaStorageSOPClassUID")) == _DIRECTORY:
                raise ValueError("it is a DICOMDIR, which lists other files; name their folder")
            if not dataset or "SOPClassUID" not in dataset:
                raise ValueError("it has no SOP class, as every DICOM object has")
    return dataset
