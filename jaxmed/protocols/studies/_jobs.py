"""Trainings of a study: their enumeration, execution and resumption."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxmed._files import owning_in_turn
from jaxmed.core import Learner, stream
from jaxmed.data import batches as cut
from jaxmed.data import subset
from jaxmed.protocols.studies._options import Reading, TrainingPlan, summarised
from jaxmed.protocols.studies._procedure import Procedure
from jaxmed.protocols.studies._records import (
    claim,
    digest,
    read_record,
    running,
    write_record,
)
from jaxmed.protocols.studies._replicates import Replicate, train_replicates, why_ended
from jaxmed.protocols.studies._splits import Split, with_inner
from jaxmed.protocols.studies._tuned import Tuned
from jaxmed.train import NonFiniteLossError, place_batch, predict
from jaxmed.train._identity import differences, program_digest
from jaxmed.train._program import program


class Job(NamedTuple):
    """One training of the study: indices of split and inner fold (-1: none), and the seed."""

    at: int
    inner: int
    seed: int
    split: Split


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes the records of an arm's jobs, except those already in the folder.

    Attributes:
        source: all cases.
        plan: options of each training.
        reading: names of arrays and the stored summary.
        folder: folder of the records, or None.
        bar: progress bar, one step per training.
        only: names of the trainings that may be made, each by one process at a time; all of them,
            of a folder that is this process's, if None.
        missing: names of the trainings that were neither on disk nor made.
    """

    source: Any
    plan: TrainingPlan
    reading: Reading
    folder: Path | None
    bar: tqdm
    only: frozenset[str] | None = None
    missing: list[str] = dataclasses.field(default_factory=list)

    def records(
        self, name: str, arm: Learner | Procedure, jobs: Sequence[Job]
    ) -> Iterator[tuple[Job, Mapping[str, Any]]]:
        """Yield each job and its record, those on disk first; without those that are missing.

        Raises:
            ValueError: if a record is of another split, of another learner, or of a procedure with
                other settings.
        """
        waiting: dict[str, Job] = {}
        mark = {} if self.folder is None else _mark(arm, self.source, self.plan.size)
        for job in jobs:
            kept = self._kept(job_name(name, job), job, mark)
            if kept is None:
                waiting[job_name(name, job)] = job
                continue
            yield job, kept
        with contextlib.ExitStack() as held:
            if self.only is not None:
                self.missing.extend(key for key in waiting if key not in self.only)
                waiting = {key: job for key, job in waiting.items() if key in self.only}
                yield from self._claimed(waiting, mark, held)
            yield from self._made(name, arm, waiting, mark)

    def _claimed(
        self, waiting: dict[str, Job], mark: Mapping[str, Any], held: contextlib.ExitStack
    ) -> Iterator[tuple[Job, Mapping[str, Any]]]:
        """Keep the trainings to this process; yield, and take out, what others made meanwhile."""
        assert self.folder is not None
        for key in sorted(waiting):  # in one order, so that no two processes wait for each other
            place = claim(self.folder, key)
            held.callback(_removed, place)
            held.enter_context(owning_in_turn(place))
            kept = self._kept(key, waiting[key], mark)
            if kept is not None:
                yield waiting.pop(key), kept

    def _made(
        self, name: str, arm: Learner | Procedure, waiting: Mapping[str, Job], mark: dict[str, Any]
    ) -> Iterator[tuple[Job, Mapping[str, Any]]]:
        """Make each training, write its record and yield it."""
        begun = time.monotonic()
        made = self._run(arm, waiting) if isinstance(arm, Procedure) else self._fit(arm, waiting)
        for key, outputs, error in made:
            job = waiting[key]
            record = {
                "arm": name, "repeat": job.split.repeat, "fold": job.split.fold, "inner": job.inner,
                "seed": job.seed, "split": digest(job.split.train, job.split.test),
                **mark, "error": error, "seconds": round(time.monotonic() - begun, 3),
                "outputs": outputs,
            }  # fmt: skip
            begun = time.monotonic()
            if self.folder is not None:
                write_record(self.folder, key, record)
            self.bar.update()
            yield job, record

    def _fit(
        self, learner: Learner, waiting: Mapping[str, Job]
    ) -> Iterator[tuple[str, np.ndarray, str]]:
        """Yield the name, outputs and error of each training of a learner."""
        for made in train_replicates(
            learner,
            self.source,
            [replicate(key, job, self.plan) for key, job in waiting.items()],
            size=self.plan.size,
            strategy=self.plan.strategy,
            width=self.plan.width,
        ):
            found = np.zeros(0)
            if made.state is not None:
                found = self._predicted(learner, made.state, waiting[made.replicate.name])
            yield made.replicate.name, found, made.error

    def _run(
        self, arm: Procedure, waiting: Mapping[str, Job]
    ) -> Iterator[tuple[str, np.ndarray, str]]:
        """Yield the name, outputs and error of each training that a procedure makes."""
        for key, job in waiting.items():
            with tempfile.TemporaryDirectory() as scratch:
                place = Path(scratch) if self.folder is None else running(self.folder, key)
                place.mkdir(parents=True, exist_ok=True)
                found, error = np.zeros(0), ""
                try:
                    found = np.asarray(arm.run(job.split.train, job.split.test, _order(job), place))
                except NonFiniteLossError as problem:
                    error = why_ended(problem)
                if not error and (found.ndim < 1 or len(found) != len(job.split.test)):
                    raise ValueError(
                        f"the procedure of {key} gave the shape {found.shape} for "
                        f"{len(job.split.test)} cases"
                    )
                yield key, found, error  # and only then, when it is recorded:
                shutil.rmtree(place, ignore_errors=True)

    def _kept(self, name: str, job: Job, mark: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the record on disk, or None; check that it is of this job."""
        if self.folder is None:
            return None
        kept = read_record(self.folder, name)
        if kept is None:
            return None
        said = ""
        if kept["split"] != digest(job.split.train, job.split.test):
            said = "another split"
        elif kept["shapes"] != mark["shapes"]:
            said = "another network or other settings"
        elif "step" in mark and (told := differences(kept, {"step": mark["step"]})):
            said = f"another learner ({told[0]})"
        if said:
            raise ValueError(
                f"{self.folder} holds {name} with {said}: give another folder, or resume=False"
            )
        # A kill between the record and this left it.
        shutil.rmtree(running(self.folder, name), ignore_errors=True)
        self.bar.update()
        return kept

    def _predicted(self, learner: Learner, state: Any, job: Job) -> np.ndarray:
        part = subset(self.source, job.split.test)
        raw = predict(
            learner,
            state,
            cut(part, self.plan.size, shuffle=False),
            inputs=self.reading.inputs,
            outputs=self.reading.outputs,
        )
        return summarised(self.reading.summary, raw, part)


def trainings(arm: Learner | Tuned | Procedure, outer: int) -> int:
    """Return the number of trainings of an arm for a number of outer ones."""
    return outer * (1 + arm.folds * len(arm.candidates)) if isinstance(arm, Tuned) else outer


def job_name(arm: str, job: Job) -> str:
    """Return the name of a job's record."""
    inner = "" if job.inner < 0 else f"-i{job.inner}"
    return f"{arm}-r{job.split.repeat}-f{job.split.fold}{inner}-s{job.seed}"


def replicate(name: str, job: Job, plan: TrainingPlan) -> Replicate:
    """Return the replicate of a job: arms share its key and batch order."""
    key = stream(jax.random.key(job.seed), "study", *_place(job))
    epoch = -(-len(job.split.train) // plan.size)
    total = plan.steps if plan.epochs is None else plan.epochs * epoch
    return Replicate(name, np.asarray(job.split.train), key, _order(job), int(total or 0))


def _place(job: Job) -> tuple[int, int, int]:
    return job.split.repeat, job.split.fold, job.inner + 1


def _order(job: Job) -> int:
    """Return the seed of a job's order of batches, the same for all arms."""
    return int(np.random.SeedSequence([job.seed, *_place(job)]).generate_state(1)[0])


def inner_jobs(
    arm: Tuned, outer: Sequence[Job], n: int, patients: Any, truth: np.ndarray
) -> list[Job]:
    """Return the inner trainings of each outer one: its split's folds, or `arm.folds` new ones."""
    classes = truth if truth.ndim == 1 and truth.dtype.kind in "biu" else None
    jobs = []
    for job in outer:
        one = job.split
        if not one.inner:
            one = with_inner(
                one, n, arm.folds, groups=patients, stratify=classes, seed=one.repeat * 1009
            )
        jobs += [
            Job(job.at, i, job.seed, inner._replace(repeat=one.repeat, fold=one.fold))
            for i, inner in enumerate(one.inner)
        ]
    return jobs


def score(metric: Callable[..., Any], truth: np.ndarray, record: Mapping[str, Any]) -> float:
    """Compute the metric of a record; NaN for a failed training or if undefined."""
    if record["error"]:
        return float("nan")
    try:
        value = metric(truth, record["outputs"])
    except ValueError:  # such as one class in a small fold
        return float("nan")
    return float(getattr(value, "value", value))


def _removed(folder: Path) -> None:
    """Remove what a killed process left of its claim, if nobody else has it now."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _mark(arm: Learner | Procedure, source: Any, size: int) -> dict[str, Any]:
    """By what an arm is known again: the shapes and the program of a learner, or settings."""
    if isinstance(arm, Procedure):
        return {"shapes": digest(*sorted(arm.settings.items()))}
    batch, key = place_batch(cut(source, size, shuffle=False)[0], None), jax.random.key(0)
    state = jax.eval_shape(arm.init, key, batch)
    shapes = digest([(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(state)])
    step = program_digest(arm, program(arm, key, batch), batch, key)
    return {"shapes": shapes, "step": step}
