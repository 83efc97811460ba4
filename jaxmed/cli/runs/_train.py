"""`jaxmed train EXPERIMENT`: run an experiment and write its report."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxmed.cli._given import read_study, tell
from jaxmed.cli.runs._experiment import Experiment, listing, load
from jaxmed.cli.runs._runner import folder_name, run_experiment
from jaxmed.cli.runs._settings import readable

_OUT = {
    "train": "folder of checkpoints, predictions and the report, by default one in `runs` that is "
    "named after the options",
    "plan": "file of the plan, by default plan.json",
}


def run(arguments: Sequence[str]) -> int:
    """Read the options, run the experiment, write and print what came out."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: jaxmed train EXPERIMENT [--field value ...] [--out DIR]\n")
        print(listing())
        print("\n`jaxmed train EXPERIMENT --help` tells an experiment's fields.")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    name, *rest = arguments
    experiment = load(name)
    config, out, study = parse(experiment, rest)
    said = read_study(study)
    out = out or Path("runs") / folder_name(experiment, config)
    command = shlex.join(["jaxmed", "train", *arguments])
    results = run_experiment(experiment, config, out, command=command, study=said)
    tell(results, out / "report.html")
    return 0


def parse(
    experiment: Experiment, arguments: Sequence[str], *, command: Literal["train", "plan"] = "train"
) -> tuple[Any, Path | None, Path | None]:
    """Read an experiment's fields, `--out`, and of a training `--study`, from the command line."""
    import tyro

    out = Annotated[
        Path | None,
        tyro.conf.arg(help=_OUT[command], help_behavior_hint="", metavar="PATH"),
    ]
    study = Annotated[
        Path | None,
        tyro.conf.arg(
            help="TOML with what only you know, for the report and the model card "
            "(docs/evaluating.md)",
            help_behavior_hint="",
            metavar="PATH",
        ),
    ]
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", Annotated[readable(experiment.config), tyro.conf.arg(name="")]),
            ("out", out, dataclasses.field(default=None)),
            *([("study", study, dataclasses.field(default=None))] if command == "train" else []),
        ],
    )
    parsed = tyro.cli(
        options,
        prog="jaxmed study"
        if experiment.ours and experiment.name == "study"
        else f"jaxmed {command} {experiment.name}",
        description=experiment.description,
        args=[*arguments],
    )
    names = [field.name for field in dataclasses.fields(experiment.config)]
    config = experiment.config(**{name: getattr(parsed.config, name) for name in names})
    return config, parsed.out, getattr(parsed, "study", None)
