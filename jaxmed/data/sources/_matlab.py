"""Reading of Matlab files, with one error that names the file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import scipy.io
from scipy.io.matlab import MatReadError

from jaxmed.data._error import fault

_UNREADABLE = (
    OSError, ValueError, TypeError, KeyError, NotImplementedError, MatReadError, zlib.error,
    struct.error,
)  # fmt: skip


def read_matlab(path: Path) -> dict[str, Any]:
    """Read the variables of a Matlab file by name.

    Raises:
        DataError: the file is missing, or cannot be read.
    """
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    try:
        found = scipy.io.loadmat(path)
    except _UNREADABLE as error:
        raise fault(path, "readable", f"not a whole Matlab file: {error}") from error
    return {name: value for name, value in found.items() if not name.startswith("__")}
