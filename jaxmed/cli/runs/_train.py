"""`jaxmed train EXPERIMENT`: run an experiment and write its report."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from jaxmed.cli._executors import Executor, Name, executor_of
from jaxmed.cli._given import read_study, tell
from jaxmed.cli.runs._experiment import Experiment, listing, load
from jaxmed.cli.runs._hosts import Hosts, follow, lead
from jaxmed.cli.runs._runner import folder_name, run_experiment
from jaxmed.cli.runs._settings import readable
from jaxmed.cli.runs._shares import share_out

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
    asked = parse(experiment, rest)
    said = read_study(asked.study)
    out = asked.out or Path("runs") / folder_name(experiment, asked.config)
    command = shlex.join(["jaxmed", "train", *arguments])
    executor = asked.shared.engine()
    if executor is not None and asked.hosts.hosts:
        raise ValueError("--hosts is one training in several processes, --executor is many: one")
    with asked.hosts.joined() as leads:
        if not leads:
            follow(experiment, asked.config, out)
            return 0
        prepare = lead if asked.hosts.hosts else None
        if executor is not None:
            prepare = functools.partial(share_out, executor, per_job=asked.shared.per_job)
        results = run_experiment(
            experiment, asked.config, out, command=command, study=said, prepare=prepare
        )
    tell(results, out / "report.html")
    return 0


@dataclasses.dataclass(frozen=True)
class Shared:
    """Where the trainings of a run are made.

    Args:
        executor: who makes the trainings: `local`, processes of this machine; `slurm`, jobs, both
            by submitit; `dask` or `ray`. By default this process, one after the other.
        workers: trainings at a time; by default 2, and with `slurm` or a running cluster all.
        per_job: trainings that a job makes, one after the other.
        resources: KEY=VALUE of a job, as its engine names them: timeout_min=600 gpus_per_node=1
            slurm_partition=gpu; of a running cluster of Dask or Ray address=HOST:PORT.
    """

    executor: Name | None = None
    workers: int | None = None
    per_job: int = 1
    resources: tuple[str, ...] = ()

    def engine(self) -> Executor | None:
        """The executor that is asked for.

        Raises:
            ValueError: options of an executor without one, or a number below 1.
            MissingPackage: its package is not installed.
        """
        if self.per_job < 1:
            raise ValueError(f"--per-job is at least 1, got {self.per_job}")
        return executor_of(self)


class Parsed(NamedTuple):
    """What the command line says.

    Attributes:
        config: the experiment's settings.
        out: the folder, if one is named.
        study: the file of the authors' own words, if one is named.
        shared: who makes the trainings.
        hosts: whether this is one of several processes that train together.
    """

    config: Any
    out: Path | None
    study: Path | None
    shared: Shared
    hosts: Hosts


def parse(
    experiment: Experiment,
    arguments: Sequence[str],
    *,
    command: Literal["train", "plan"] = "train",
    alone: bool = False,
) -> Parsed:
    """Read an experiment's fields, `--out`, and of a training `--study`, from the command line.

    A training takes other processes too (`--hosts`), and one that has `trainings` to share out an
    executor, unless it is to be made `alone`.
    """
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
    joins = command == "train" and not alone
    many = joins and hasattr(experiment.module, "trainings")
    shared, hosts = (Annotated[readable(kind), tyro.conf.arg(name="")] for kind in (Shared, Hosts))
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", Annotated[readable(experiment.config), tyro.conf.arg(name="")]),
            *([("shared", shared)] if many else []),
            *([("hosts", hosts)] if joins else []),
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
    config = _as(experiment.config, parsed.config)
    shared = _as(Shared, parsed.shared) if many else Shared()
    hosts = _as(Hosts, parsed.hosts) if joins else Hosts()
    return Parsed(config, parsed.out, getattr(parsed, "study", None), shared, hosts)


def _as(kind: type, parsed: Any) -> Any:
    return kind(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(kind)})
