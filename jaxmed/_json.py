"""Strict JSON of what numerical code holds.

Pure Python: every subpackage may use it, those that stand without JAX too.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """What JSON can hold, of any value.

    NaN becomes ``None``, an infinity ``"inf"`` or ``"-inf"``, an array a list, a named tuple or a
    result with ``to_dict`` a dict, a path its text, and what is none of these its ``str``.

    >>> plain({"auc": float("nan"), "limits": (0.5, float("inf"))})
    {'auc': None, 'limits': [0.5, 'inf']}
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Strict JSON of :func:`plain`'s form of a value."""
    return json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
