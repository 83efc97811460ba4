"""Plans as JSON files that people read and edit."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxmed._files import write_whole

Plan = TypeVar("Plan")


def write_plan(path: str | os.PathLike, plan: Any) -> None:
    """Write a plan; lists of numbers stand in one line."""
    fields = dataclasses.asdict(plan)
    why = fields.pop("why", None)
    text = _indented({**fields, **({} if why is None else {"why": why})})
    write_whole(Path(path), text + "\n")


def read_plan(path: str | os.PathLike, kind: type[Plan]) -> Plan:
    """Read a plan.

    Args:
        path: the file.
        kind: `SegmentationPlan`, `ImagePlan`, `BoxPlan`, `InstancePlan` or `SurvivalPlan`.

    Raises:
        ValueError: not JSON, an unknown or missing field, or a value of another type; names it.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    try:
        return _made(kind, found, "")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def plan_of(kind: type[Plan], table: Mapping[str, Any]) -> Plan:
    """Make a plan of a table as JSON has it, each value checked as `read_plan` does.

    Raises:
        ValueError: an unknown or missing field, or a value of another type; names it.
    """
    return _made(kind, dict(table), "")


def _made(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON into a value of an annotated type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        options = [option for option in inner if option is not type(None)]
        for option in options[:-1]:
            try:
                return _made(option, value, where)
            except ValueError:
                pass
        return _made(options[-1], value, where)
    if origin is typing.Literal:
        if value not in inner:
            raise ValueError(f"{where} is one of {', '.join(map(repr, inner))}, got {value!r}")
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is a list, got {value!r}")
        each = [inner[0]] * len(value) if inner[-1] is ... else [*inner]
        if len(each) != len(value):
            raise ValueError(f"{where} has {len(each)} entries, got {value!r}")
        return tuple(_made(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(each, value)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is an object, got {value!r}")
        return {key: _made(inner[1], v, f"{where}.{key}") for key, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain: Any = kind  # what is left: bool, int, float, str
    if not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        raise ValueError(f"{where} is {plain.__name__}, got {value!r}")
    return value


def _dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where or 'a plan'} is an object, got {value!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    if unknown := sorted(set(value) - set(fields)):
        raise ValueError(f"there is no field {prefix}{unknown[0]}; there are {', '.join(fields)}")
    missing = [
        name
        for name, f in fields.items()
        if name not in value
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"the field {prefix}{missing[0]} is missing")
    made = {name: _made(hints[name], v, f"{prefix}{name}") for name, v in value.items()}
    try:
        return kind(**made)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from error


def _indented(value: Any, depth: int = 0) -> str:
    pad = "  " * (depth + 1)
    if isinstance(value, Mapping) and value:
        inner = ",\n".join(
            f"{pad}{json.dumps(str(k))}: {_indented(v, depth + 1)}" for k, v in value.items()
        )
        return f"{{\n{inner}\n{'  ' * depth}}}"
    return json.dumps(value, default=list)
