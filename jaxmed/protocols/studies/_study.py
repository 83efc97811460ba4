"""`study`: trains every arm on every fold with every seed."""

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
from jaxmed.data import as_source, case_ids, check_disjoint, subset, take
from jaxmed.data import batches as cut
from jaxmed.protocols.studies._records import digest, open_folder, read_record, write_record
from jaxmed.protocols.studies._replicates import Replicate, Strategy, train_replicates
from jaxmed.protocols.studies._splits import Split, with_inner
from jaxmed.protocols.studies._tuned import Tuned, choose
from jaxmed.train import predict

Summary = str | Callable[[Any, Mapping[str, np.ndarray]], Any]


class Failure(NamedTuple):
    """A training without predictions, and the reason."""

    arm: str
    repeat: int
    fold: int
    seed: int
    why: str


class Choice(NamedTuple):
    """The choice of a tuned arm in one training part, and the candidates' inner scores."""

    arm: str
    repeat: int
    fold: int
    seed: int
    chosen: str
    scores: dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Study:
    """Result of `study`.

    Attributes:
        arms: names.
        splits: as given.
        seeds: as given.
        outputs: `(arm, split index, seed)` to (test cases, ...) predictions, without failed ones.
        labels: (cases, ...) truth.
        cases: (cases,) names.
        groups: (cases,) patients, or None.
        failures: trainings without predictions.
        choices: candidate settings of tuned arms.
        trials: arm to the number of configurations tried; 1 for a plain arm.
        settings: steps or epochs, batch size, strategy.
        seconds: duration of training and prediction, those of resumed records included.
    """

    arms: tuple[str, ...]
    splits: tuple[Split, ...]
    seeds: tuple[int, ...]
    outputs: Mapping[tuple[str, int, int], np.ndarray]
    labels: np.ndarray
    cases: tuple[str, ...]
    groups: tuple[Any, ...] | None
    failures: tuple[Failure, ...] = ()
    choices: tuple[Choice, ...] = ()
    trials: Mapping[str, int] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class _Job(NamedTuple):
    """One training of the study: indices of split and inner fold (-1: none), and the seed."""

    at: int
    inner: int
    seed: int
    split: Split


def study(
    arms: Mapping[str, Learner | Tuned],
    data: Any,
    splits: Sequence[Split],
    *,
    seeds: int | Sequence[int] = 1,
    epochs: int | None = None,
    steps: int | None = None,
    size: int = 32,
    inputs: str = "image",
    label: str = "label",
    outputs: str = "logits",
    summary: Summary = "softmax",
    groups: Sequence[Any] | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    strategy: Strategy = "auto",
    width: int = 8,
    progress: bool = True,
) -> Study:
    """Train every arm on every split with every seed, and predict the test parts.

    Each training has the same result as `train.fit` on its own; arms share the key and the batch
    order of a split and a seed, so that they differ in nothing else. One compiled learner serves
    all trainings of an arm.

    Args:
        arms: name to learner, or to `tuned` candidates, selected by inner folds.
        data: a source, or a dict of arrays, of all cases.
        splits: result of `k_fold` or a similar function.
        seeds: number of seeds, counted from 0, or the seeds themselves.
        epochs: passes over each training part; this or `steps`.
        steps: steps of each training.
        size: batch size.
        inputs: the array that the network takes.
        label: the array of the truth.
        outputs: the predicted endpoint.
        summary: transformation of the stored endpoint: `softmax`, `sigmoid` or `none`,
            or `(endpoint (cases, ...), examples) -> (cases, ...)`, such as the Dice of each case.
        groups: (cases,) patients; by default the source's. A split that divides a patient is an
            error.
        out: a folder for the records of completed trainings; the same call resumes from there.
            Seeds, splits and arms may be added. A changed learner is detected by the shapes of its
            parameters only: for another learning rate use another name or folder.
        resume: whether to resume; if not, earlier records are deleted.
        strategy: `sequential` or `vmap`, see the design page; `auto` depends on the platform.
        width: trainings per program, for `vmap`.
        progress: whether to show a progress bar.

    Returns:
        The predictions, failures and choices. A training whose loss is not finite is a failure,
        and the study goes on.

    Raises:
        ValueError: for no arm, both or none of epochs and steps, two splits with the same repeat
            and fold, or a folder of another study.
        DataError: if a split leaks a case or a patient, or a record cannot be read.
        KeyError: if the data lack `inputs` or `label`.
    """
    source = as_source(data)
    if (epochs is None) == (steps is None):
        raise ValueError(f"a study needs either epochs or steps, got {epochs=}, {steps=}")
    many = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not arms or not splits or not many or len(set(many)) < len(many):
        raise ValueError("a study needs an arm, a split and a seed, each seed once")
    patients = groups if groups is not None else getattr(source, "groups", None)
    _check_splits(splits, patients, len(source))
    example = source[0]
    for name in (inputs, label):
        if name not in example:
            raise KeyError(f"the examples have no array {name!r}; they have {sorted(example)}")
    folder = None if out is None else Path(out)
    names = tuple(str(case) for case in case_ids(source))
    settings = {"epochs": epochs, "steps": steps, "size": size, "outputs": outputs}
    if isinstance(summary, str):
        settings["summary"] = summary
    if folder is not None:
        open_folder(folder, {**settings, "cases": digest(names)}, resume=resume)
    truth = np.asarray(take(source, np.arange(len(source)))[label])
    total = sum(_trainings(arm, len(splits) * len(many)) for arm in arms.values())
    bar = tqdm(total=total, unit="training", disable=None if progress else True)

    def run(name: str, learner: Learner, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Any]]:
        """Return the record of each job, training those not on disk."""
        waiting = {}
        mark = "" if folder is None else _shapes(learner, source, size)
        for job in jobs:
            kept = None if folder is None else read_record(folder, _name(name, job))
            for what, now in (("split", digest(job.split.train, job.split.test)), ("shapes", mark)):
                if kept is not None and kept[what] != now:
                    raise ValueError(
                        f"{folder} holds {_name(name, job)} with another {what}: give another "
                        "folder, or resume=False"
                    )
            if kept is None:
                waiting[_name(name, job)] = job
                continue
            bar.update()
            yield job, kept
        begun = time.monotonic()
        replicates = [_replicate(key, job, epochs, steps, size) for key, job in waiting.items()]
        for made in train_replicates(
            learner, source, replicates, size=size, strategy=strategy, width=width
        ):
            job = waiting[made.replicate.name]
            found = np.zeros(0)
            if made.state is not None:
                part = subset(source, job.split.test)
                raw = predict(
                    learner, made.state, cut(part, size, shuffle=False), inputs=inputs,
                    outputs=outputs,
                )  # fmt: skip
                found = summarised(summary, raw, part)
            record = {
                "arm": name, "repeat": job.split.repeat, "fold": job.split.fold, "inner": job.inner,
                "seed": job.seed, "split": digest(job.split.train, job.split.test),
                "shapes": mark, "error": made.error, "seconds": round(time.monotonic() - begun, 3),
                "outputs": found,
            }  # fmt: skip
            begun = time.monotonic()
            if folder is not None:
                write_record(folder, made.replicate.name, record)
            bar.update()
            yield job, record

    found: dict[tuple[str, int, int], np.ndarray] = {}
    failures: list[Failure] = []
    choices: list[Choice] = []
    seconds = 0.0
    outer = [_Job(i, -1, seed, one) for i, one in enumerate(splits) for seed in many]
    with bar:
        for name, arm in arms.items():
            plan: list[tuple[str, Learner, list[_Job]]]
            if isinstance(arm, Tuned):
                inner = _inner(arm, outer, len(source), patients, truth)
                scores: dict[tuple[int, int], dict[str, list[float]]] = {
                    (job.at, job.seed): {c: [] for c in arm.candidates} for job in outer
                }
                for candidate, learner in arm.candidates.items():
                    for job, record in run(f"{name}~{candidate}", learner, inner):
                        scores[job.at, job.seed][candidate].append(
                            _score(arm.metric, truth[job.split.test], record)
                        )
                        seconds += record["seconds"]
                plan = [(c, learner, []) for c, learner in arm.candidates.items()]
                for job in outer:
                    table = scores[job.at, job.seed]
                    chosen = choose(arm, table)
                    at = (job.split.repeat, job.split.fold, job.seed)
                    choices.append(Choice(name, *at, chosen, table))
                    next(jobs for c, _, jobs in plan if c == chosen).append(job)
                plan = [(f"{name}~{c}", learner, jobs) for c, learner, jobs in plan]
            else:
                plan = [(name, arm, outer)]
            for label_, learner, jobs in plan:
                for job, record in run(label_, learner, jobs):
                    seconds += record["seconds"]
                    if record["error"]:
                        at = (job.split.repeat, job.split.fold, job.seed)
                        failures.append(Failure(name, *at, record["error"]))
                    else:
                        found[name, job.at, job.seed] = record["outputs"]
    return Study(
        arms=tuple(arms),
        splits=tuple(splits),
        seeds=many,
        outputs=found,
        labels=truth,
        cases=names,
        groups=None if patients is None else tuple(patients),
        failures=tuple(failures),
        choices=tuple(choices),
        trials={
            name: len(arm.candidates) if isinstance(arm, Tuned) else 1 for name, arm in arms.items()
        },
        settings={**settings, "strategy": strategy},
        seconds=round(seconds, 3),
    )


def summarised(summary: Summary, raw: Any, part: Any) -> np.ndarray:
    """Return the stored summary of an endpoint, one entry per case."""
    if summary == "none":
        return np.asarray(raw)
    if summary == "softmax":
        return np.asarray(jax.nn.softmax(np.asarray(raw, np.float32), axis=-1))
    if summary == "sigmoid":
        return np.asarray(jax.nn.sigmoid(np.asarray(raw, np.float32)))
    if isinstance(summary, str):
        raise ValueError(f"summary is softmax, sigmoid, none or a function, got {summary!r}")
    kept = np.asarray(summary(raw, take(part, np.arange(len(part)))))
    if kept.ndim < 1 or len(kept) != len(part):
        raise ValueError(f"summary gave the shape {kept.shape} for {len(part)} cases")
    return kept


def _check_splits(splits: Sequence[Split], patients: Any, n: int) -> None:
    seen = set()
    for one in splits:
        if (one.repeat, one.fold) in seen:
            raise ValueError(f"two splits are repeat {one.repeat}, fold {one.fold}")
        seen.add((one.repeat, one.fold))
        for part in (one, *one.inner):
            if max(part.train.max(), part.test.max()) >= n:
                raise ValueError(f"a split names position {part.train.max()} of {n} cases")
            check_disjoint({"train": part.train, "test": part.test}, groups=patients)
        for inner in one.inner:
            check_disjoint({"inner": [*inner.train, *inner.test], "test": one.test})


def _shapes(learner: Learner, source: Any, size: int) -> str:
    """Compute a digest of the shapes of a learner's state."""
    batch = cut(source, size, shuffle=False)[0]
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    return digest([(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(state)])


def _trainings(arm: Learner | Tuned, outer: int) -> int:
    return outer * (1 + arm.folds * len(arm.candidates)) if isinstance(arm, Tuned) else outer


def _name(arm: str, job: _Job) -> str:
    inner = "" if job.inner < 0 else f"-i{job.inner}"
    return f"{arm}-r{job.split.repeat}-f{job.split.fold}{inner}-s{job.seed}"


def _replicate(name: str, job: _Job, epochs: int | None, steps: int | None, size: int) -> Replicate:
    """Return the replicate of a job: arms share its key and batch order."""
    at = (job.split.repeat, job.split.fold, job.inner + 1)
    key = stream(jax.random.key(job.seed), "study", *at)
    order = int(np.random.SeedSequence([job.seed, *at]).generate_state(1)[0])
    total = steps if epochs is None else epochs * -(-len(job.split.train) // size)
    return Replicate(name, np.asarray(job.split.train), key, order, int(total))


def _inner(
    arm: Tuned, outer: Sequence[_Job], n: int, patients: Any, truth: np.ndarray
) -> list[_Job]:
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
            _Job(job.at, i, job.seed, inner._replace(repeat=one.repeat, fold=one.fold))
            for i, inner in enumerate(one.inner)
        ]
    return jobs


def _score(metric: Callable[..., Any], truth: np.ndarray, record: Mapping[str, Any]) -> float:
    """Compute the metric of a record; NaN for a failed training or if undefined."""
    if record["error"]:
        return float("nan")
    try:
        value = metric(truth, record["outputs"])
    except ValueError:  # such as one class in a small fold
        return float("nan")
    return float(getattr(value, "value", value))
