"""One training in several processes, on one machine or on many: `jaxmed train ... --hosts`.

All processes run the experiment. Process 0 owns the run's folder and writes the report; the others
plan, read and train as it does, and what they write themselves goes to a folder that is deleted.
Checkpoints are all processes' work, in the run's folder.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxmed.cli.runs._experiment import Experiment


@dataclass(frozen=True)
class Hosts:
    """Whether a run is of several processes, and which this one is.

    Args:
        hosts: train together with all processes that are started by the same command: by srun, MPI
            or Kubernetes, which are found, else as the three options below say.
        coordinator: HOST:PORT of process 0, any free port.
        processes: how many there are.
        process: which of them this one is, from 0.
    """

    hosts: bool = False
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None

    @contextlib.contextmanager
    def joined(self) -> Iterator[bool]:
        """Join the others, if there are; gives whether this process leads.

        Raises:
            ValueError: options of several processes without `--hosts`, or that say too little.
        """
        if not self.hosts:
            for name in ("coordinator", "processes", "process"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name} is of a run of several processes: add --hosts")
            yield True
            return
        import jax

        from jaxmed import train

        with train.hosts(self.coordinator, self.processes, self.process):
            yield jax.process_index() == 0


def lead(experiment: Experiment, config: Any, out: Path) -> None:
    """Let the others begin, once the run's folder is this process's and its settings are right."""
    from jaxmed.train._hosts import wait

    wait("begun")
    wait("copied")


def follow(experiment: Experiment, config: Any, out: Path) -> None:
    """Do what process 0 does, from the plan and the settings that are in its folder."""
    from jaxmed.train._hosts import wait

    wait("begun")
    with tempfile.TemporaryDirectory(prefix="jaxmed-") as scratch:
        for path in out.glob("*.json"):
            shutil.copy(path, scratch)
        wait("copied")
        experiment.run(config, Path(scratch))
