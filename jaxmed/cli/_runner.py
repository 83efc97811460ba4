"""One experiment, run in its folder: for the command, a grid of runs, and a user's script."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxmed._files import write_whole
from jaxmed.cli._experiment import Experiment, load
from jaxmed.cli._settings import options, read_settings

if TYPE_CHECKING:
    from jaxmed.report import Results

_CONFIG, _ERROR = "config.json", "error.txt"


def run_experiment(
    experiment: str | os.PathLike | Experiment,
    settings: Any = None,
    out: str | os.PathLike | None = None,
    *,
    command: str | None = None,
    folder_of: Callable[[Any], Path] | None = None,
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
        folder_of: ``(config) -> folder`` of another run's settings. An experiment with a function
            ``in_grid(config, folder_of)`` then compares itself with the runs that this names.

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
    there = place.exists()
    _begin(place, {"experiment": found.name, **stored})
    in_grid = getattr(found.module, "in_grid", None)
    linked = in_grid(config, folder_of) if folder_of is not None and in_grid else config
    try:
        results = found.run(linked, place).replace(
            config=stored,
            command=command,
            environment=report.environment(),
            seed=stored.get("seed"),
        )
        report.write(results, place)
    except Exception as error:
        _failed(place, error, there=there)
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
        f"{field.name}={getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    return "_".join([experiment.name, *changed]).replace("/", "-").replace(" ", "")


def _failed(out: Path, error: Exception, *, there: bool) -> None:
    """Keep what was done and the traceback; of a start that did nothing, leave nothing.

    Settings that were refused would otherwise refuse the right ones after them.
    """
    if {path.name for path in out.iterdir()} <= {_CONFIG, _ERROR}:
        (out / _CONFIG).unlink(missing_ok=True)
        if isinstance(error, ValueError | OSError):  # the user's, told in its message
            (out / _ERROR).unlink(missing_ok=True)
            if not there:
                out.rmdir()
            return
    write_whole(out / _ERROR, traceback.format_exc())


def _begin(out: Path, record: dict[str, Any]) -> None:
    """Write the settings down, and refuse a folder that was begun with others."""
    from jaxmed import report

    path = out / _CONFIG
    try:
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else record
    except ValueError:
        old = record  # cut short when it was written: nothing to compare with
    differ = [
        f"{name} was {old.get(name)!r} and is {record.get(name)!r}"
        for name in sorted({*old, *record})
        if old.get(name) != record.get(name)
    ]
    if differ:
        raise ValueError(
            f"{out} holds a run with other settings ({'; '.join(differ)}): choose another "
            f"--out, or delete the folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, report.to_json(record) + "\n")
