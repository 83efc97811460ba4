"""Reading of Matlab files, with one error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scipy.io

from jaxmed.data._error import fault, reading


def read_matlab(path: Path) -> dict[str, Any]:
    """Read the variables of a Matlab file by name.

    Raises:
        DataError: the file is missing, or cannot be read.
    """
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    with reading(path, "the Matlab file"):
        found = scipy.io.loadmat(path)
    return {name: value for name, value in found.items() if not name.startswith("__")}
