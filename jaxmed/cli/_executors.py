"""Executors: one function called on many tasks, in processes of SLURM, Dask or Ray.

The engines are other packages' own (`_engines`). What all share stands here: how one is asked for,
and that a task whose process was lost is handed out again.
"""

from __future__ import annotations

import contextlib
import re
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from jaxmed.cli._engines import ENGINES, LostError, TaskError, package_of

Name = Literal["local", "slurm", "dask", "ray"]
NAMES: tuple[Name, ...] = get_args(Name)

_ATTEMPTS = 3
_PAUSE = 0.2  # seconds between two looks at what has ended


def resources_of(pairs: Sequence[str]) -> dict[str, Any]:
    """What a job is given, of KEY=VALUE; whole numbers are numbers.

    >>> resources_of(["timeout_min=600", "slurm_partition=gpu"])
    {'timeout_min': 600, 'slurm_partition': 'gpu'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not key or not sign:
            raise ValueError(f"--resources are KEY=VALUE, such as timeout_min=600, got {pair!r}")
        found[key] = int(value) if re.fullmatch(r"-?\d+", value) else value
    return found


def add_executor(parser: Any) -> None:
    """Add who does a command's work, and how many do, to a parser."""
    parser.add_argument(
        "--executor", choices=NAMES, default=None,
        help="who does the work: local, processes of this machine; slurm, jobs, both by submitit; "
        "dask or ray; by default this process",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=None,
        help="processes; of an executor 2 by default, of slurm or a running cluster all it has",
    )  # fmt: skip
    parser.add_argument(
        "--resources", nargs="+", default=(), metavar="KEY=VALUE",
        help="of a job: timeout_min=600 gpus_per_node=1 slurm_partition=gpu; of a running cluster "
        "address=HOST:PORT",
    )  # fmt: skip


def executor_of(given: Any) -> Executor | None:
    """The executor that such options ask for.

    Raises:
        ValueError: options of an executor without one, or that are none.
        MissingPackage: its package is not installed.
    """
    if given.executor is not None:
        return Executor(given.executor, given.workers, resources_of(given.resources))
    if said := [name for name in ("workers", "resources") if getattr(given, name)]:
        raise ValueError(f"--{said[0]} is of an executor: name one by --executor")
    return None


class ExecutorError(RuntimeError):
    """Tasks that failed; the first one's traceback is a note of it."""


@dataclass(frozen=True)
class Executor:
    """An engine, how many tasks it has at a time, and what each is given.

    Attributes:
        name: `local` and `slurm` are submitit's, a process or a job a task; `dask` and `ray` keep
            their processes from task to task.
        workers: tasks at a time. None: two, but for `slurm` and a running cluster of Dask or Ray
            all of them, whose scheduler decides.
        resources: of submitit the parameters of a job (``timeout_min``, ``gpus_per_node``,
            ``cpus_per_task``, ``mem_gb``, ``slurm_partition`` and so on); of the others ``address``
            of a running cluster, and what a task takes up there (of Dask ``GPU``, of Ray
            ``num_gpus``, ``num_cpus``).

    Raises:
        MissingPackage: the package of the engine is not installed; names the extra.
        ValueError: another name, or less than one worker.
    """

    name: Name
    workers: int | None = None
    resources: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"an executor is one of {', '.join(NAMES)}, got {self.name!r}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"an executor has at least 1 worker, got {self.workers}")
        package_of(self.name)

    def map(
        self, function: Callable[[Any], Any], tasks: Mapping[str, Any], *, folder: Path
    ) -> Iterator[tuple[str, Any]]:
        """Call the function on each task, and yield names and results as they come.

        A task whose process was lost (killed, out of memory, its machine gone) is handed out again,
        twice at the most. One that fails stops no other.

        Args:
            function: of a module that workers can import.
            tasks: by name; plain values, which are pickled.
            folder: for the engine's files; all workers share it.

        Raises:
            ExecutorError: when all others have ended, if a task failed or was lost for good.
        """
        engine = ENGINES[self.name](self.name, folder, self.workers, dict(self.resources or {}))
        waiting, losses = deque(tasks), Counter[str]()
        running: dict[str, Any] = {}
        failed: dict[str, Exception] = {}
        with contextlib.closing(engine):
            try:
                while waiting or running:
                    while waiting and (engine.room is None or len(running) < engine.room):
                        name = waiting.popleft()
                        running[name] = engine.submit(function, tasks[name])
                    ended = [name for name, job in running.items() if engine.done(job)]
                    for name in ended:
                        try:
                            value = engine.result(running.pop(name))
                        except LostError as error:
                            losses[name] += 1
                            if losses[name] < _ATTEMPTS:
                                waiting.append(name)
                            else:
                                failed[name] = error
                        except Exception as error:
                            failed[name] = error
                        else:
                            yield name, value
                    if not ended:
                        time.sleep(_PAUSE)
            finally:
                for job in running.values():
                    engine.cancel(job)
        if failed:
            raise _told(failed, len(tasks))


def _told(failed: Mapping[str, Exception], total: int) -> ExecutorError:
    """The failures as one error."""
    name, first = next(iter(failed.items()))
    told = str(first)
    if not isinstance(first, LostError | TaskError):
        told = "".join(traceback.format_exception(first))
    why = told.strip().splitlines()[0 if isinstance(first, LostError) else -1]
    error = ExecutorError(f"{len(failed)} of {total} tasks failed; {name}: {why}")
    error.add_note(f"{name}:\n{told}")
    return error
