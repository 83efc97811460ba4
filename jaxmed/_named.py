"""What a function is called and was made of, for records that must know it again.

Pure Python and NumPy: every subpackage may use it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_DEPTH = 4  # Of what was made of what.


def named(value: Any, depth: int = _DEPTH) -> str:
    """The name of a function, with what it was made of: the same in every process.

    A function that another made is named by that one and what it holds, ``functools.partial`` by
    its arguments, a lambda by the names and constants in it. Where a function is defined is not
    looked at, so that a script and a module that is imported name it alike.

    >>> def at_least(n):
    ...     def check(x):
    ...         return x >= n
    ...     return check
    >>> named(at_least(3)), named(functools.partial(max, default=0))
    ('at_least(3)', 'max(default=0)')
    """
    if isinstance(value, functools.partial):
        given = [named(part, depth - 1) for part in value.args]
        given += [f"{k}={named(part, depth - 1)}" for k, part in sorted(value.keywords.items())]
        return f"{named(value.func, depth)}({', '.join(given)})"
    if isinstance(value, type):
        return value.__qualname__
    if callable(value) and hasattr(value, "__qualname__"):
        return _function(value, depth)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if depth <= 0:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {named(v, depth - 1)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        name = type(value).__qualname__ if hasattr(value, "_fields") else ""
        return f"{name}({', '.join(named(part, depth - 1) for part in value)})"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(named(part, depth - 1) for part in value)) + "}"
    if hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except TypeError:  # JAX's typed keys, which say what they are
            return " ".join(repr(value).split())
        return f"array{array.shape}-{_short(array.dtype.str.encode(), array.tobytes())}"
    own = getattr(value, "__dict__", {})
    parts = [f"{k}={named(v, depth - 1)}" for k, v in sorted(own.items())]
    return f"{type(value).__qualname__}({', '.join(parts)})"


def _function(function: Any, depth: int) -> str:
    maker, _, inner = function.__qualname__.partition(".<locals>.")
    code = getattr(function, "__code__", None)
    if "<lambda>" in (inner or maker) and code is not None:
        plain = [c for c in code.co_consts if isinstance(c, bool | int | float | str | None)]
        maker += f" <lambda {_short(repr((code.co_names, plain)).encode())}>"
    held = getattr(function, "__self__", None)
    if held is not None and not isinstance(held, type(np)):  # a method, and no module's function
        return f"{named(held, depth - 1)}.{function.__name__}"
    parts = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            part = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        if part is not function:
            parts.append(named(part, depth - 1) if depth > 0 else type(part).__qualname__)
    return f"{maker}({', '.join(parts)})" if parts else maker


def _short(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:8]
