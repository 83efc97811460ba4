"""One line that says what a network, an objective or a learner is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_DEPTH = 6  # Of what is inside what: a line, not a listing.
_FORMS = {"within", "added", "stateless", "from_functions", "from_linen", "from_nnx"}


def describe(function: Callable[..., Any], depth: int = _DEPTH) -> str:
    """``maker(part, part)`` of a function made in another: who made it, and of what.

    What a function was made of stands in its closure, so that a paradigm of one's own is described
    without having to say anything.
    """
    function = getattr(function, "__wrapped__", function)
    name = getattr(function, "__qualname__", type(function).__name__)
    maker = name.split(".<locals>")[0].removesuffix(".__call__").lstrip("_")
    module = getattr(function, "__self__", None)
    if module is not None and not isinstance(module, type):
        maker = type(module).__name__
    parts: list[str] = []
    for value in _closure(function):
        parts += [part for part in _parts(value, depth - 1) if part not in (*parts, maker)]
    if maker in _FORMS and len(parts) == 1:
        return parts[0]
    return f"{maker}({', '.join(parts)})" if parts and depth > 0 else maker


def _closure(function: Callable[..., Any]) -> Iterator[Any]:
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # A cell that has not been filled yet.
            continue


def _parts(value: Any, depth: int) -> list[str]:
    """What is worth naming of a value in a closure: the ideas, modules and losses."""
    if depth < 0:
        return []
    # Asked by form, so that this file stands below those of the three ideas.
    fields = getattr(value, "_fields", ())
    for main in ("loss", "apply", "step"):
        if main in fields and "init" in fields:
            return [describe(getattr(value, main), depth)]
    kind = type(value)
    if any(base.__module__.startswith("flax.linen") for base in kind.__mro__[:-1]):
        return [kind.__name__]
    if callable(value) and getattr(value, "__module__", "").startswith("jaxmed.losses"):
        return [getattr(value, "__qualname__", "loss").split(".<locals>")[0]]
    if isinstance(value, dict):
        return [part for inner in value.values() for part in _parts(inner, depth)]
    if isinstance(value, tuple | list) and not fields:
        return [part for inner in value for part in _parts(inner, depth)]
    if "network" in fields:
        return _parts(getattr(value, "network", None), depth)
    return []
