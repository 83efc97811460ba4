"""`jaxmed train EXPERIMENT`: run an experiment and write its report."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from jaxmed.cli import _experiment
from jaxmed.cli._experiment import Experiment, listing


def run(arguments: Sequence[str]) -> int:
    """Read the options, run the experiment, write and print what came out."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: jaxmed train EXPERIMENT [--field value ...] [--out DIR]\n")
        print(listing())
        print("\n`jaxmed train EXPERIMENT --help` tells an experiment's fields.")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    name, *rest = arguments
    experiment = _experiment.load(name)
    config, out = parse(experiment, rest)
    out = out or Path("runs") / folder_name(experiment, config)
    command = shlex.join(["jaxmed", "train", *arguments])
    perform(experiment, config, out, command=command)
    return 0


def parse(experiment: Experiment, arguments: Sequence[str]) -> tuple[Any, Path | None]:
    """Read an experiment's fields, and `--out`, from the command line."""
    import tyro

    out = Annotated[
        Path | None, tyro.conf.arg(help="folder of checkpoints, predictions and the report")
    ]
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", Annotated[experiment.config, tyro.conf.arg(name="")]),
            ("out", out, dataclasses.field(default=None)),
        ],
    )
    parsed = tyro.cli(
        options,
        prog=f"jaxmed train {experiment.name}",
        description=experiment.description,
        args=[*arguments],
    )
    return parsed.config, parsed.out


def folder_name(experiment: Experiment, config: Any) -> str:
    """Name a run's folder after the experiment and the fields that are not the default's."""
    changed = [
        f"{field.name}={getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    return "_".join([experiment.name, *changed]).replace("/", "-").replace(" ", "")


def perform(experiment: Experiment, config: Any, out: Path, *, command: str) -> Any:
    """Run an experiment in its folder, and write its report.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    from jaxmed import report

    settings = json.loads(report.to_json(dataclasses.asdict(config)))
    record = {"experiment": experiment.name, **settings}
    _same_run(out / "config.json", record)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(report.to_json(record) + "\n", encoding="utf-8")
    results = experiment.run(config, out).replace(
        config=settings,
        command=command,
        environment=report.environment(),
        seed=settings.get("seed"),
    )
    written = report.write(results, out)
    print(report.summary(results))
    for note in results.notes:
        print(f"note: {note}")
    print(f"report: {written.report}")
    return results


def _same_run(path: Path, record: dict[str, Any]) -> None:
    """Refuse to go on in a folder that was begun with other settings."""
    if not path.exists():
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return  # cut short when it was written: nothing to compare with
    differ = [
        f"{name} was {old.get(name)!r} and is {record.get(name)!r}"
        for name in sorted({*old, *record})
        if old.get(name) != record.get(name)
    ]
    if differ:
        raise ValueError(
            f"{path.parent} holds a run with other settings ({'; '.join(differ)}): choose another "
            f"--out, or delete the folder"
        )
