"""Engines that run tasks in other processes: what is asked of one, and how each does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from jaxmed.data._optional import optional

_PACKAGES = {
    "local": ("submitit", "slurm"), "slurm": ("submitit", "slurm"),
    "dask": ("distributed", "dask"), "ray": ("ray", "ray"),
}  # fmt: skip
_DAYS = 2  # of a job, where --resources names no timeout_min; SLURM ends one that takes longer


def package_of(name: str) -> Any:
    """The package of an engine.

    Raises:
        MissingPackage: it is not installed; names the extra.
    """
    package, extra = _PACKAGES[name]
    return optional(package, f"the executor {name}", extra=extra)


class LostError(RuntimeError):
    """The process of a task ended before the task did."""


class TaskError(RuntimeError):
    """A task that failed; the message is the traceback of its process."""


class Engine(Protocol):
    """What an executor asks of an engine.

    Attributes:
        room: tasks that it is given at a time; None: all.
    """

    room: int | None

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Hand a task out; returns what the engine knows it by."""
        ...

    def done(self, job: Any) -> bool:
        """Whether a task has ended, in whatever way."""
        ...

    def result(self, job: Any) -> Any:
        """What the function returned.

        Raises:
            LostError: the process ended, or the engine gave the task up.
            Exception: the function's own.
        """
        ...

    def cancel(self, job: Any) -> None:
        """End a task that is not wanted any more."""
        ...

    def close(self) -> None:
        """End the processes that this engine has begun."""
        ...


class _Submitit:
    """A process or a SLURM job a task; its log is in the folder."""

    def __init__(
        self, name: str, folder: Path, workers: int | None, resources: dict[str, Any]
    ) -> None:
        self.submitit = submitit = package_of(name)
        self.room = workers or (2 if name == "local" else None)
        self.executor = submitit.AutoExecutor(folder, cluster=name)
        given = {"timeout_min": _DAYS * 24 * 60, "name": "jaxmed", **resources}
        try:
            self.executor.update_parameters(**given)
        except (NameError, AssertionError) as error:
            raise ValueError(f"--resources: {str(error).splitlines()[0]}") from error

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        # What SLURM preempts, or ends for its time, goes into its queue again.
        again = self.submitit.helpers.FunctionSequence()
        again.add(function, task)
        return self.executor.submit(again)

    def done(self, job: Any) -> bool:
        return job.done()

    def result(self, job: Any) -> Any:
        error = job.exception()
        if error is None:
            return job.result()[0]
        if isinstance(error, self.submitit.core.utils.FailedJobError):
            _, _, trace = str(error).partition("-" * 22 + "\n")
            raise TaskError(trace.partition("-" * 22)[0].strip() or str(error))
        log = job.paths.stderr
        raise LostError(f"its process ended before it did; see {log}") from error

    def cancel(self, job: Any) -> None:
        job.cancel(check=False)

    def close(self) -> None:
        pass  # each process ends with its task


class _Dask:
    """Tasks of a running Dask cluster, or of one on this machine that ends with them."""

    def __init__(
        self, name: str, folder: Path, workers: int | None, resources: dict[str, Any]
    ) -> None:
        self.distributed = distributed = package_of(name)
        self.resources = resources
        address = self.resources.pop("address", None)
        self.room = workers if address else None
        self.cluster = address or distributed.LocalCluster(
            n_workers=workers or 2, threads_per_worker=1, memory_limit=None,
            dashboard_address=None, local_directory=str(folder),
        )  # fmt: skip
        self.client = distributed.Client(self.cluster)

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        return self.client.submit(function, task, pure=False, resources=self.resources or None)

    def done(self, job: Any) -> bool:
        return job.done()

    def result(self, job: Any) -> Any:
        gone = self.distributed.scheduler.KilledWorker, self.distributed.CancelledError
        try:
            return job.result()
        except gone as error:
            raise LostError(f"its worker ended before it did ({error})") from error

    def cancel(self, job: Any) -> None:
        job.cancel()

    def close(self) -> None:
        self.client.close()
        if not isinstance(self.cluster, str):
            self.cluster.close()


class _Ray:
    """Tasks of a running Ray cluster, or of one on this machine that ends with them."""

    def __init__(
        self, name: str, folder: Path, workers: int | None, resources: dict[str, Any]
    ) -> None:
        self.ray = package_of(name)
        self.resources = resources
        address = self.resources.pop("address", None)
        self.room = workers if address else None
        local = {} if address else {"num_cpus": workers or 2}
        self.ray.init(address=address, include_dashboard=False, log_to_driver=False, **local)

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        given = {"num_cpus": 1, **self.resources}
        return self.ray.remote(**given)(function).remote(task)

    def done(self, job: Any) -> bool:
        return bool(self.ray.wait([job], timeout=0)[0])

    def result(self, job: Any) -> Any:
        try:
            return self.ray.get(job)
        except self.ray.exceptions.RayTaskError:
            raise
        except self.ray.exceptions.RayError as error:
            raise LostError(f"its worker ended before it did ({error})") from error

    def cancel(self, job: Any) -> None:
        self.ray.cancel(job, force=True)

    def close(self) -> None:
        self.ray.shutdown()


ENGINES: dict[str, Callable[..., Engine]] = {
    "local": _Submitit, "slurm": _Submitit, "dask": _Dask, "ray": _Ray,
}  # fmt: skip
