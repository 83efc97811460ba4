"""A network as data: which public constructor made it, with which options."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import typing
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Network
from jaxmed.core._made import how_made

# What a description may name. Reading one calls Linen modules, dataclasses, and functions that
# return a network, of these modules: nothing else.
_PUBLIC = (
    "jaxmed.networks", "jaxmed.paradigms", "jaxmed.core", "jaxmed.inference", "jaxmed.losses",
    "jaxmed.generative", "jaxmed.reinforcement", "jaxmed.detection", "jaxmed.explain",
    "jaxmed.registration",
    "flax.linen", "jax.nn", "jax.nn.initializers",
)  # fmt: skip
_FORMAT = "jaxmed network 1"


class DescriptionError(ValueError):
    """What cannot be written down as data, or data that describes nothing; says which part."""


# What a traceback shows is the name a user can import.
DescriptionError.__module__ = "jaxmed.inference"


def describe(value: Network | nn.Module | Any) -> dict[str, Any]:
    """Describe a network as data that JSON can hold; :func:`build` makes it again.

    A constructor is named by its public name (``jaxmed.networks.UNet``), its options follow: plain
    values, tuples, dtypes, plans, other modules and networks, functions that are public by name
    (``jaxmed.networks.torch_uniform``, ``jax.nn.gelu``), and ``functools.partial`` of what is
    public. All options are written, defaults too: a later default changes no stored network.

    Args:
        value: a Linen module, a network made by :func:`~jaxmed.core.from_linen` or by the functions
            of :mod:`jaxmed.paradigms` on such networks, a :class:`~jaxmed.networks.UNetPlan`.

    Returns:
        The description. It holds no parameters.

    Raises:
        DescriptionError: an option that is no data (a lambda, a closure, an array), or a module
            or network of the user's own; names the option.

    Examples:
        >>> from jaxmed import networks
        >>> table = describe(networks.mlp(2, hidden=(8,), dtype=jnp.bfloat16))
        >>> table["call"], table["options"]["hidden"], table["options"]["dtype"]
        ('jaxmed.networks.MLP', [8], {'dtype': 'bfloat16'})
        >>> build(table).hidden
        (8,)
    """
    found = _described(value, "")
    if not isinstance(found, dict) or "call" not in found:
        raise DescriptionError(f"a network or module is described, not {value!r}")
    return {"format": _FORMAT, **found}


def build(description: Mapping[str, Any]) -> Any:
    """Make again what :func:`describe` described.

    Args:
        description: as :func:`describe` returns it, or as JSON keeps that.

    Returns:
        The module, network or plan.

    Raises:
        DescriptionError: another format, a name that is not public, or options that this version
            of the constructor does not take.
    """
    table = dict(description)
    written = table.pop("format", None)
    if written != _FORMAT:
        raise DescriptionError(f"the description has the format {written!r}, not {_FORMAT!r}")
    return _built(table)


def _described(value: Any, at: str) -> Any:
    """A value as JSON; ``at`` says where it stands."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if (dtype := _dtype(value)) is not None:
        return {"dtype": dtype}
    if isinstance(value, Network):
        return _network(value, at)
    if isinstance(value, nn.Module):
        return _module(value, at)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        names: tuple[str, ...] = getattr(value, "_fields")  # noqa: B009
        return _call(type(value), dict(zip(names, value, strict=True)), at)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        options = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return _call(type(value), options, at)
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise DescriptionError(
                f"{at or 'a mapping'} has the key {odd[0]!r}, which is not a name"
            )
        return {"dict": {k: _described(v, _below(at, k)) for k, v in value.items()}}
    if isinstance(value, tuple | list):
        items = [_described(v, _below(at, i)) for i, v in enumerate(value)]
        return items if isinstance(value, tuple) else {"list": items}
    if isinstance(value, functools.partial):
        return {
            "partial": _name_of(value.func, at),
            "args": [_described(v, _below(at, i)) for i, v in enumerate(value.args)],
            "options": {k: _described(v, _below(at, k)) for k, v in value.keywords.items()},
        }
    return {"name": _name_of(value, at)}


def _network(network: Network, at: str) -> dict[str, Any]:
    note = how_made(network)
    if note is None:
        raise DescriptionError(
            f"{at or 'the network'} is of functions or NNX modules of one's own, so nothing says "
            "how to make it again: make it by jaxmed.from_linen and the functions of "
            "jaxmed.paradigms, or save its parameters alone (jaxmed.train.save) and keep the code"
        )
    for name in _PUBLIC:
        module = importlib.import_module(name)
        if note.by in getattr(module, "__all__", ()):
            options = {k: _described(v, _below(at, k)) for k, v in note.options.items()}
            return {"call": f"{name}.{note.by}", "options": options}
    raise DescriptionError(f"{at or 'the network'}: {note.by} is not a public function")


def _module(module: nn.Module, at: str) -> dict[str, Any]:
    options = {}
    for field in dataclasses.fields(module):
        if not field.init or field.name == "parent":
            continue
        value = getattr(module, field.name)
        # A default that is no data, such as an initialiser of Flax made by a call, is left out.
        given = value is not field.default
        if field.name == "name" and value is None:
            continue
        try:
            options[field.name] = _described(value, _below(at, field.name))
        except DescriptionError:
            if given:
                raise
    return {"call": _name_of(type(module), at), "options": options}


def _call(kind: type, options: Mapping[str, Any], at: str) -> dict[str, Any]:
    return {
        "call": _name_of(kind, at),
        "options": {k: _described(v, _below(at, k)) for k, v in options.items()},
    }


def _dtype(value: Any) -> str | None:
    """The name of a dtype, however it was written; None for anything else."""
    kinds = isinstance(value, type) and issubclass(value, np.generic)
    if isinstance(value, np.dtype) or kinds or isinstance(value, type(jnp.float32)):
        return jnp.dtype(value).name
    return None


def _name_of(value: Any, at: str) -> str:
    """Public name of a class or function."""
    name = str(getattr(value, "__name__", ""))
    for place in _PUBLIC if name else ():
        module = importlib.import_module(place)
        if getattr(module, name, None) is value and _shown(module, name):
            return f"{place}.{name}"
    where = f"{at} is " if at else ""
    raise DescriptionError(
        f"{where}{_kind_of(value)}, for which jaxmed, flax.linen and jax.nn have no public name, "
        "so it cannot be written down: take what has one, or save the parameters alone "
        "(jaxmed.train.save) and keep the code that makes the network"
    )


def _shown(module: Any, name: str) -> bool:
    return not name.startswith("_") and name in getattr(module, "__all__", (name,))


def _kind_of(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__module__}.{value.__qualname__}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the function {value.__module__}.{value.__qualname__}"
    return f"a {type(value).__name__}"


def _below(at: str, name: str | int) -> str:
    return f"{at}.{name}" if at else str(name)


def _built(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_built(part) for part in data)
    if not isinstance(data, Mapping):
        return data
    kind = next(iter(data), None)
    if kind == "call" and isinstance(data.get("options"), Mapping):
        return _called(data["call"], {k: _built(v) for k, v in data["options"].items()})
    if kind == "partial" and isinstance(data.get("options"), Mapping):
        arguments = _built(data.get("args", []))
        options = {k: _built(v) for k, v in data["options"].items()}
        return functools.partial(_resolved(data["partial"]), *arguments, **options)
    if kind == "dict" and isinstance(data["dict"], Mapping):
        return {k: _built(v) for k, v in data["dict"].items()}
    if kind == "list" and isinstance(data["list"], list):
        return [_built(part) for part in data["list"]]
    if kind == "name":
        return _resolved(data["name"])
    try:
        if kind == "dtype":
            return jnp.dtype(data["dtype"])
        if kind == "float":
            return float(data["float"])
    except (TypeError, ValueError) as error:
        raise DescriptionError(f"no {kind} is {data[kind]!r}") from error
    raise DescriptionError(f"{dict(data)!r:.80} describes nothing")


def _called(name: str, options: dict[str, Any]) -> Any:
    constructor = _resolved(name)
    if not _constructs(constructor):
        raise DescriptionError(f"{name} is not a constructor of a network")
    try:
        return constructor(**options)
    except TypeError as error:
        raise DescriptionError(f"{name} of this version does not take its options: {error}") from (
            error
        )


def _constructs(value: Any) -> bool:
    """Whether a public name may be called: a module, plain data, or what returns a network."""
    if isinstance(value, type):
        plain = issubclass(value, tuple) and hasattr(value, "_fields")
        return issubclass(value, nn.Module) or plain or dataclasses.is_dataclass(value)
    return callable(value) and typing.get_type_hints(value).get("return") is Network


def _resolved(name: Any) -> Any:
    place, _, last = str(name).rpartition(".")
    if place not in _PUBLIC:
        raise DescriptionError(f"{name!r} is not a public name of {', '.join(_PUBLIC)}")
    module = importlib.import_module(place)
    if not hasattr(module, last) or not _shown(module, last):
        raise DescriptionError(f"{place} of this version has no {last!r}")
    return getattr(module, last)
