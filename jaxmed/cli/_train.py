"""`jaxmed train EXPERIMENT`: run an experiment and write its report."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxmed.cli._experiment import Experiment, listing, load
from jaxmed.cli._given import tell
from jaxmed.cli._runner import folder_name, run_experiment
from jaxmed.cli._settings import readable

_OUT = {
    "train": "folder of checkpoints, predictions and the report",
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
    config, out = parse(experiment, rest)
    out = out or Path("runs") / folder_name(experiment, config)
    command = shlex.join(["jaxmed", "train", *arguments])
    results = run_experiment(experiment, config, out, command=command)
    tell(results, out / "report.html")
    return 0


def parse(
    experiment: Experiment, arguments: Sequence[str], *, command: Literal["train", "plan"] = "train"
) -> tuple[Any, Path | None]:
    """Read an experiment's fields, and `--out`, from the command line."""
    import tyro

    out = Annotated[
        Path | None,
        tyro.conf.arg(help=_OUT[command], metavar="PATH"),
    ]
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", Annotated[readable(experiment.config), tyro.conf.arg(name="")]),
            ("out", out, dataclasses.field(default=None)),
        ],
    )
    parsed = tyro.cli(
        options,
        prog=f"jaxmed {command} {experiment.name}",
        description=experiment.description,
        args=[*arguments],
    )
    names = [field.name for field in dataclasses.fields(experiment.config)]
    config = experiment.config(**{name: getattr(parsed.config, name) for name in names})
    return config, parsed.out
