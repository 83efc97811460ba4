"""The trainings of a study: which there are, and each made, or read where it was made before."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxmed.core import Learner, stream
from jaxmed.data import batches as cut
from jaxmed.data import subset
from jaxmed.protocols.studies._options import Reading, TrainingPlan, summarised
from jaxmed.protocols.studies._records import digest, read_record, write_record
from jaxmed.protocols.studies._replicates import Replicate, train_replicates
from jaxmed.protocols.studies._splits import Split, with_inner
from jaxmed.protocols.studies._tuned import Tuned
from jaxmed.train import predict


class Job(NamedTuple):
    """One training of the study: the split's number, the inner fold's (-1: none), the seed."""

    at: int
    inner: int
    seed: int
    split: Split


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes the record of each job of a learner; what is in the folder is not made again.

    Attributes:
        source: all cases.
        plan: of each training.
        reading: what is read and kept.
        folder: of the records, or None.
        bar: of progress, a step a training.
    """

    source: Any
    plan: TrainingPlan
    reading: Reading
    folder: Path | None
    bar: tqdm

    def records(
        self, name: str, learner: Learner, jobs: Sequence[Job]
    ) -> Iterator[tuple[Job, Mapping[str, Any]]]:
        """Give each job and its record, those on disk first.

        Raises:
            ValueError: a record of another split, or of a learner of other shapes.
        """
        waiting: dict[str, Job] = {}
        mark = "" if self.folder is None else _shapes(learner, self.source, self.plan.size)
        for job in jobs:
            kept = self._kept(job_name(name, job), job, mark)
            if kept is None:
                waiting[job_name(name, job)] = job
                continue
            self.bar.update()
            yield job, kept
        begun = time.monotonic()
        for made in train_replicates(
            learner,
            self.source,
            [replicate(key, job, self.plan) for key, job in waiting.items()],
            size=self.plan.size,
            strategy=self.plan.strategy,
            width=self.plan.width,
        ):
            job = waiting[made.replicate.name]
            found = np.zeros(0)
            if made.state is not None:
                found = self._predicted(learner, made.state, job)
            record = {
                "arm": name, "repeat": job.split.repeat, "fold": job.split.fold, "inner": job.inner,
                "seed": job.seed, "split": digest(job.split.train, job.split.test),
                "shapes": mark, "error": made.error, "seconds": round(time.monotonic() - begun, 3),
                "outputs": found,
            }  # fmt: skip
            begun = time.monotonic()
            if self.folder is not None:
                write_record(self.folder, made.replicate.name, record)
            self.bar.update()
            yield job, record

    def _kept(self, name: str, job: Job, mark: str) -> Mapping[str, Any] | None:
        """The record on disk, if there is one and it is of this job."""
        if self.folder is None:
            return None
        kept = read_record(self.folder, name)
        for what, now in (("split", digest(job.split.train, job.split.test)), ("shapes", mark)):
            if kept is not None and kept[what] != now:
                raise ValueError(
                    f"{self.folder} holds {name} with another {what}: give another folder, or "
                    "resume=False"
                )
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


def trainings(arm: Learner | Tuned, outer: int) -> int:
    """How many trainings an arm needs for so many outer ones."""
    return outer * (1 + arm.folds * len(arm.candidates)) if isinstance(arm, Tuned) else outer


def job_name(arm: str, job: Job) -> str:
    """The name of a job's record."""
    inner = "" if job.inner < 0 else f"-i{job.inner}"
    return f"{arm}-r{job.split.repeat}-f{job.split.fold}{inner}-s{job.seed}"


def replicate(name: str, job: Job, plan: TrainingPlan) -> Replicate:
    """The run of a job: arms share its key and its order of batches."""
    at = (job.split.repeat, job.split.fold, job.inner + 1)
    key = stream(jax.random.key(job.seed), "study", *at)
    order = int(np.random.SeedSequence([job.seed, *at]).generate_state(1)[0])
    epoch = -(-len(job.split.train) // plan.size)
    total = plan.steps if plan.epochs is None else plan.epochs * epoch
    return Replicate(name, np.asarray(job.split.train), key, order, int(total or 0))


def inner_jobs(
    arm: Tuned, outer: Sequence[Job], n: int, patients: Any, truth: np.ndarray
) -> list[Job]:
    """The inner trainings of each outer one; its split's own folds, or `arm.folds` new ones."""
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
    """The metric of a record; NaN for a failed training or where it is not defined."""
    if record["error"]:
        return float("nan")
    try:
        value = metric(truth, record["outputs"])
    except ValueError:  # such as one class in a small fold
        return float("nan")
    return float(getattr(value, "value", value))


def _shapes(learner: Learner, source: Any, size: int) -> str:
    """A digest of the shapes of a learner's state."""
    batch = cut(source, size, shuffle=False)[0]
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    return digest([(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(state)])
