"""One experiment, run in its folder: for the command, a grid of runs, and a user's script."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxmed._files import owning, write_whole
from jaxmed.cli.runs._experiment import Experiment, load
from jaxmed.cli.runs._settings import options, read_settings

if TYPE_CHECKING:
    from jaxmed.report import Results

_CONFIG, _ERROR = "config.json", "error.txt"
_PLANS = ("plan.json", "plans")  # of an experiment that plans before it trains


def run_experiment(
    experiment: str | os.PathLike | Experiment,
    settings: Any = None,
    out: str | os.PathLike | None = None,
    *,
    command: str | None = None,
    study: Mapping[str, str] | None = None,
    folder_of: Callable[[Any], Path] | None = None,
    prepare: Callable[[Experiment, Any, Path], None] | None = None,
) -> Results:
    """Run an experiment and write its report, as `jaxmed train` does.

    The folder then holds ``config.json``, ``metrics.json``, ``report.html`` and what the experiment
    writes itself; the same call goes on where a run was cut. Settings are read before anything
    runs, by the same rules as on the command line.

    Args:
        experiment: its name (`jaxmed list`), or the path of a file with ``Config`` and ``run``.
        settings: values, or their text, by field; or an instance of its ``Config``.
        out: folder of the run; by default ``runs/NAME`` with the settings that are not the
            defaults.
        command: what the report names as the way to make the run again; by default the
            `jaxmed train` line with these settings.
        study: what only the authors know, by the fields of `report.FIELDS`.
        folder_of: ``(config) -> folder`` of another run's settings. An experiment with a function
            ``in_grid(config, folder_of)`` then compares itself with the runs that this names.
        prepare: ``(experiment, config, folder)``, called in the run's folder before it runs.

    Returns:
        The results, as they were written.

    Raises:
        ValueError: no such experiment, no such setting, a value that its type does not have, or a
            folder that holds a run with other settings.
        Exception: what the experiment raises. Its traceback is in ``error.txt`` in the folder;
            where settings or data were refused at once, the folder is as it was.

    Examples:
        >>> run_experiment("medmnist", {"epochs": "ten"})
        Traceback (most recent call last):
        ValueError: medmnist: epochs is int, got 'ten'
    """
    found = experiment if isinstance(experiment, Experiment) else load(experiment)
    given = {} if settings is None else settings
    named = tuple(given) if isinstance(given, Mapping) else None
    config = settings_of(found, given)
    place = Path("runs") / folder_name(found, config) if out is None else Path(out)
    if command is None:
        name = found.name if found.ours else os.fspath(found.path)
        command = shlex.join(["jaxmed", "train", name, *options(config, named)])

    from jaxmed import report

    stored = json.loads(report.to_json(dataclasses.asdict(config)))
    with owning(place):
        return _run(found, config, place, stored, command, study or {}, folder_of, prepare)


def _run(
    found: Experiment,
    config: Any,
    place: Path,
    stored: dict[str, Any],
    command: str,
    study: Mapping[str, str],
    folder_of: Callable[[Any], Path] | None,
    prepare: Callable[[Experiment, Any, Path], None] | None,
) -> Results:
    """Run an experiment in the folder that this process owns."""
    from jaxmed import report

    record = {"experiment": found.name, **stored}
    if places := _places(config):
        record["places"] = places
    there = {path.name for path in place.iterdir()}
    _begin(place, record, _defaults(found.config), getattr(found.module, "extends", None))
    in_grid = getattr(found.module, "in_grid", None)
    linked = in_grid(config, folder_of) if folder_of is not None and in_grid else config
    try:
        if prepare is not None:
            prepare(found, linked, place)
        results = found.run(linked, place)
        results = results.replace(
            study={**results.study, **study},
            config=stored,
            command=command,
            environment=report.environment(),
            seed=stored.get("seed"),
        )
        report.write(results, place)
        if (place / "model.json").exists():
            write_whole(place / "model_card.md", report.model_card(results))
    except Exception as error:
        _failed(place, error, there)
        raise
    (place / _ERROR).unlink(missing_ok=True)
    return results


def settings_of(experiment: Experiment, settings: Any) -> Any:
    """An experiment's settings, from an instance of its `Config` or from a mapping.

    Raises:
        ValueError: no such setting, or a value that its type does not have.
    """
    if isinstance(settings, experiment.config):
        return settings
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"settings are a mapping or {experiment.name}'s Config, got {type(settings).__name__}"
        )
    return read_settings(experiment.config, settings, of=experiment.name)


def folder_name(experiment: Experiment, config: Any) -> str:
    """Name a run's folder after the experiment and the fields that are not the default's."""
    changed = [
        f"{field.name}={_short(getattr(config, field.name))}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    return "_".join([experiment.name, *changed]).replace("/", "-").replace(" ", "")


def _short(value: Any) -> str:
    """A setting as part of a folder's name; of a path its last part."""
    if isinstance(value, Path):
        return value.resolve().name
    if value and isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return str(value)


def _failed(out: Path, error: Exception, there: set[str]) -> None:
    """Keep what was done and the traceback; of a start that did nothing, leave nothing.

    Settings that were refused would otherwise refuse the right ones after them. A plan alone is
    nothing done, unless it was there before.
    """
    refused = isinstance(error, ValueError | OSError)  # the user's, told in its message
    names = {path.name for path in out.iterdir()} - {".lock"}
    if refused and _CONFIG not in there and names - there <= {_CONFIG, *_PLANS}:
        for path in (out / name for name in names - there):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    if names <= {_CONFIG, _ERROR}:
        (out / _CONFIG).unlink(missing_ok=True)
        if refused:
            (out / _ERROR).unlink(missing_ok=True)
            return
    with contextlib.suppress(OSError):  # on a full disk
        write_whole(out / _ERROR, traceback.format_exc())


def _places(config: Any) -> dict[str, str]:
    """Where the files and folders that settings name lie, from wherever they are named."""
    return {
        field.name: str(value.resolve())
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), Path) and value.exists()
    }


def _defaults(config: type) -> dict[str, Any]:
    """The settings that a run has where none are given, as they are written down."""
    from jaxmed import report

    fields: Any = dataclasses.fields(config)
    given = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    return json.loads(report.to_json(given))


def _begin(
    out: Path,
    record: dict[str, Any],
    defaults: dict[str, Any],
    extends: Callable[..., bool] | None,
) -> None:
    """Write the settings down, and refuse a folder that was begun with others.

    A setting that is newer than the run was what it is by default. ``extends(before, after, out)``
    tells whether the run there goes on by the new ones.
    """
    from jaxmed import report

    path = out / _CONFIG
    try:
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else record
    except ValueError:
        old = record  # cut short when it was written: nothing to compare with
    if old.get("experiment", record["experiment"]) != record["experiment"]:
        raise ValueError(
            f"{out} holds a run of {old['experiment']}, not of {record['experiment']}: choose "
            "another --out, or delete the folder"
        )
    old = {**defaults, **old}
    places, before = record.get("places", {}), old.get("places", {})
    differ = [
        f"{name} was {old.get(name)!r} and is {record.get(name)!r}"
        for name in sorted({*old, *record} - {"places"})
        if old.get(name) != record.get(name)
        and not (name in places and places[name] == before.get(name))
    ]
    if differ and not (extends is not None and extends(old, record, out)):
        raise ValueError(
            f"{out} holds a run with other settings ({'; '.join(differ)}): choose another "
            f"--out, or delete the folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, report.to_json(record) + "\n")
