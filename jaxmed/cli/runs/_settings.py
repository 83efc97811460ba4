"""Settings of an experiment from text or values, each read as its field of `Config` is typed."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import textwrap
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

Config = TypeVar("Config")


def one_of(default: str, names: Iterable[str], *, strict: bool = True) -> Any:
    """A field of `Config` that takes one of the names that a list in the code has.

    ``--help`` shows them all, which the type `str` cannot.

    Args:
        default: what it is by default.
        names: the names, such as the keys of a table of methods.
        strict: whether another one is refused as it is read. If not the experiment judges, since it
            knows better what to say, or takes several names, or more than these.

    Returns:
        The field: ``row: str = one_of("supervised", ROWS)``.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     row: str = one_of("plain", ("plain", "cross"))
    >>> read_settings(Config, {"row": "cross"}).row
    'cross'
    """
    return dataclasses.field(default=default, metadata={"names": tuple(names), "strict": strict})


def read_settings(config: type, settings: Mapping[str, Any], *, of: str = "") -> Any:
    """An experiment's settings out of a mapping; what is left out keeps its default.

    Text is read as the command line reads it: ``"48"`` for ``int | None``, ``"40,56,40"`` for a
    tuple, ``"None"``, ``"true"``, a choice of a ``Literal``, a path. Values of Python are taken
    if the field's type has them.

    Args:
        config: the experiment's dataclass.
        settings: values, or their text, by field.
        of: the experiment's name, for messages.

    Returns:
        An instance of ``config``.

    Raises:
        ValueError: a field that is not there, or a value that its type does not have; names both.
    """
    types = _types(config, extras=False)
    names = [field.name for field in dataclasses.fields(config) if field.init]
    who = of or config.__qualname__
    if unknown := [name for name in settings if name not in names]:
        raise ValueError(f"{who} has no setting {unknown[0]!r}; it has {', '.join(names)}")
    found = {name: _read(who, name, types[name], value) for name, value in settings.items()}
    return config(**found)


def several(config: type, field: str, text: str) -> list[str]:
    """The values that a text names for one field: parts at commas, but one for a tuple."""
    annotation = typing.get_type_hints(config).get(field)
    return [text] if _is_sequence(annotation) else text.split(",")


def options(config: Any, names: Sequence[str] | None = None) -> list[str]:
    """The words of the command line that give these settings.

    Args:
        config: an instance of an experiment's dataclass.
        names: the fields; by default those that differ from their defaults.
    """
    if names is None:
        fields = dataclasses.fields(config)
        names = [f.name for f in fields if getattr(config, f.name) != f.default]
    words: list[str] = []
    for name in names:
        value, flag = getattr(config, name), name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, str) and value.startswith("-"):
            words.append(f"--{flag}={value}")
        else:
            words += [f"--{flag}", *_words(value)]
    return words


def _read(who: str, name: str, annotation: Any, value: Any) -> Any:
    """One value by the reader of the command line itself."""
    import tyro

    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        # Settings of settings: an instance is what it is, a mapping is read.
        if isinstance(value, annotation):
            return value
        if isinstance(value, Mapping):
            return read_settings(annotation, value, of=f"{who}'s {name}")
    if isinstance(value, str) and _is_sequence(annotation):
        words = value.replace(",", " ").split()
    else:
        words = _words(value)
    if annotation is bool:
        said = {"true": "True", "yes": "True", "1": "True", "false": "False", "no": "False"}
        words = [{**said, "0": "False"}.get(word.lower(), word) for word in words]
    # With `=` a value may begin with a dash.
    flag = f"--{name}"
    arguments = [f"{flag}={words[0]}"] if len(words) == 1 else [flag, *words]
    single = dataclasses.make_dataclass("Single", [(name, annotation)])
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            read = getattr(tyro.cli(single, args=arguments), name)
    except SystemExit:
        read = dataclasses.MISSING
    if read is dataclasses.MISSING or not _same(read, value):
        raise ValueError(f"{who}: {name} is {_type_in_words(annotation)}, got {value!r}")
    return read


def _types(config: type, *, extras: bool) -> dict[str, Any]:
    """The type of each field; of one that takes a listed name, these names."""
    hints = typing.get_type_hints(config, include_extras=extras)
    for field in dataclasses.fields(config):
        if field.metadata.get("strict"):
            hints[field.name] = typing.Literal[field.metadata["names"]]
    return hints


def _words(value: Any) -> list[str]:
    """A value as words of the command line."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(part) for part in value]
    return [str(value)]


def _same(read: Any, value: Any) -> bool:
    """Whether what was read is the value that was given: no text for a number, no 3 for a name."""
    if isinstance(value, str):
        return True
    if isinstance(value, Sequence):
        return isinstance(read, Sequence) and list(read) == list(value)
    return bool(read == value) or (read != read and value != value)


def _is_sequence(annotation: Any) -> bool:
    """Whether a type, or one of a union, is of several values."""
    origin = typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, tuple | list | set | frozenset):
        return True
    if origin is typing.Literal:
        return False
    return any(map(_is_sequence, typing.get_args(annotation)))


def _type_in_words(annotation: Any) -> str:
    """A type in words."""
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(annotation)))
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("pathlib.", "")


def readable(config: type) -> type:
    """The same settings, of which help shows what is given and not how it is stored: `--data PATH`.

    Without it an option that may be left out is shown as `--data {None}|PATH`, with a default of
    `None`, and one of a base class without its words.
    """
    import tyro

    words = {name: text for kind in reversed(config.__mro__) for name, text in _args(kind).items()}
    hints = _types(config, extras=True)
    fields = []
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        given = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        kinds = [kind for kind in typing.get_args(given) if kind is not type(None)]
        shown: dict[str, Any] = {}
        if len(kinds) == 1 and type(None) in typing.get_args(given):
            shown["metavar"] = _metavar(kinds[0])
        if "names" in field.metadata:
            shown["metavar"] = _metavar(typing.Literal[field.metadata["names"]])
        if field.default is None or field.default == () or field.default == "":
            shown["help_behavior_hint"] = ""
        if field.name in words and field.name not in _args(config):
            shown["help"] = words[field.name]
        if shown:
            hint = Annotated[hint, tyro.conf.arg(**shown)]
        if field.default is dataclasses.MISSING:
            default = dataclasses.field(default_factory=field.default_factory)
        else:
            default = dataclasses.field(default=field.default)
        fields.append((field.name, hint, default))
    typed = dataclasses.make_dataclass(config.__name__, fields, frozen=True)
    typed.__doc__ = config.__doc__
    return typed


def _args(config: type) -> dict[str, str]:
    """What the docstring of a class says of each of its fields, under `Args:`."""
    _, found, text = inspect.cleandoc(config.__dict__.get("__doc__") or "").partition("Args:\n")
    entries: dict[str, str] = {}
    for line in textwrap.dedent(text.split("\n\n")[0]).splitlines() if found else ():
        name, colon, said = line.partition(":")
        if colon and not line.startswith(" "):
            entries[name] = said.strip()
        elif entries:
            entries[[*entries][-1]] += f" {line.strip()}"
    return entries


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "{" + ",".join(map(str, typing.get_args(kind))) + "}"
    known = {int: "INT", float: "FLOAT", str: "TEXT"}
    return known.get(kind) or getattr(kind, "__name__", "VALUE").upper()


def ask(config: type[Config], arguments: Sequence[str], **about: Any) -> Config:
    """Read settings from the command line; `about` is what `tyro.cli` takes besides."""
    import tyro

    said = tyro.cli(readable(config), args=[*arguments], **about)
    names = [field.name for field in dataclasses.fields(said)]
    return config(**{name: getattr(said, name) for name in names})
