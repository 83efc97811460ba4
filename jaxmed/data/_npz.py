"""Arrays of NumPy's archives, of which a member may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def array_of(file: Mapping[str, Any], name: str) -> np.ndarray:
    """An array of an open `.npz`.

    Raises:
        ValueError: the member is no array; NumPy would give its bytes.
    """
    found = file[name]
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{name!r} is no array of NumPy")
    return found
