"""What a function is, as text: by it a folder of prepared examples knows how it was made."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import tokenize
import types
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))


def told(value: Any, _seen: frozenset[int] = frozenset()) -> str:
    """Describe a function by its code, its defaults, what it closes over and its module's names.

    Plain values, containers, arrays, dataclasses and functions of the same module are told by their
    content, anything else by its type or name.

    >>> k = 2
    >>> told(lambda x: k * x) == told(lambda x: 3 * x)
    False
    """
    if id(value) in _seen:
        return "itself"
    seen = _seen | {id(value)}
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        plain = array.dtype.kind in "biufcSU"
        content = zlib.crc32(np.ascontiguousarray(array).tobytes()) if plain else ""
        return f"array {array.dtype} {array.shape} {content}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{told(k, seen)}: {told(v, seen)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(told(v, seen) for v in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(told(v, seen) for v in value)) + "}"
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return f"partial({', '.join(told(part, seen) for part in parts)})"
    if inspect.ismethod(value):
        return f"{told(value.__func__, seen)} of {told(value.__self__, seen)}"
    if inspect.isfunction(value):
        return _function(value, seen)
    kind = value if isinstance(value, type) else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return f"{name}({', '.join(told(field, seen) for field in fields)})"
    return name


def _function(function: types.FunctionType, seen: frozenset[int]) -> str:
    names = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    parts = [function.__module__ or "", function.__qualname__, _code(function)]
    for name, cell in names.items():
        try:
            parts.append(f"{name}={told(cell.cell_contents, seen)}")
        except ValueError:  # not yet assigned
            continue
    for name in sorted(_names(function.__code__) & function.__globals__.keys()):
        value = function.__globals__[name]
        if not inspect.isfunction(value) or value.__module__ == function.__module__:
            parts.append(f"{name}={told(value, seen)}")
    parts += [told(function.__defaults__, seen), told(function.__kwdefaults__, seen)]
    return "\n".join(parts)


def _code(function: types.FunctionType) -> str:
    """The source, which is the same in every version of Python, or else the compiled code."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        # Not in a file; or, of code that was made from text, in one that holds something else.
        return _compiled(function.__code__)


def _compiled(code: types.CodeType) -> str:
    constants = [_compiled(c) if isinstance(c, types.CodeType) else told(c) for c in code.co_consts]
    return f"{code.co_code!r} {code.co_names} {constants}"


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*inner)
