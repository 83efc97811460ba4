"""The trainings of an experiment, shared out to the processes of an executor."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmed.cli._executors import Executor, ExecutorError
from jaxmed.cli.runs._experiment import Experiment, load
from jaxmed.cli.runs._settings import read_settings

_JOBS = "jobs"  # the engine's own files and logs


class Share(NamedTuple):
    """Some trainings of an experiment, in plain values that a process elsewhere is given.

    Attributes:
        experiment: its name or the path of its file.
        settings: that are not the defaults, by field.
        out: folder of the run, which all processes share.
        names: of the trainings.
        place: folder in which the command was given, where relative paths begin.
    """

    experiment: str
    settings: Mapping[str, Any]
    out: str
    names: tuple[str, ...]
    place: str


def share_out(
    executor: Executor, experiment: Experiment, config: Any, out: Path, *, per_job: int = 1
) -> None:
    """Have the executor make all trainings of a run that have no record yet.

    Args:
        executor: whose processes make them.
        experiment: one with ``trainings(config, out, only) -> names``, which makes the trainings
            in ``only`` and returns the names of those without a record.
        config: its settings.
        out: folder of the run.
        per_job: trainings that one task makes, one after the other.

    Raises:
        ExecutorError: a training failed, or a round of tasks recorded nothing.
    """
    # Processes of this machine, this one too, have its accelerator together.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    name = experiment.name if experiment.ours else str(experiment.path.resolve())
    before: Sequence[str] = ()
    while missing := experiment.module.trainings(config, out, ()):
        if missing == before:
            raise ExecutorError(f"{missing[0]} was made and left no record in {out}")
        before = missing
        shares = {
            missing[i]: Share(
                name, _changed(config), str(out.resolve()), missing[i : i + per_job], os.getcwd()
            )
            for i in range(0, len(missing), per_job)
        }
        print(f"{len(missing)} trainings are to be made", file=sys.stderr, flush=True)
        made = 0
        for first, _ in executor.map(make, shares, folder=out / _JOBS):
            made += len(shares[first].names)
            print(f"{made} of {len(missing)} trainings", file=sys.stderr, flush=True)


def make(share: Share) -> None:
    """Make the trainings of a share, in a process of the executor."""
    with contextlib.chdir(share.place):
        experiment = load(share.experiment)
        config = read_settings(experiment.config, share.settings, of=experiment.name)
        experiment.module.trainings(config, Path(share.out), share.names)


def _changed(config: Any) -> dict[str, Any]:
    """The settings that are not the defaults, those of settings too, as plain values."""
    found = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
    return {
        name: dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
        for name, value in found.items()
    }
