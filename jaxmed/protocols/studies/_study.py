"""`study`: trains every arm on every fold with every seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from tqdm import tqdm

from jaxmed._json import plain
from jaxmed._named import named
from jaxmed.core import Learner, network_inputs
from jaxmed.data import as_source, case_ids, check_disjoint, column
from jaxmed.data._source import fingerprint
from jaxmed.protocols.studies._jobs import Job, Maker, inner_jobs, score, trainings
from jaxmed.protocols.studies._options import Flat, Reading, TrainingPlan, merged
from jaxmed.protocols.studies._procedure import Procedure
from jaxmed.protocols.studies._records import digest, open_folder
from jaxmed.protocols.studies._result import Choice, Failure, Study
from jaxmed.protocols.studies._splits import Split
from jaxmed.protocols.studies._tuned import Tuned, choose


def study(
    arms: Mapping[str, Learner | Tuned | Procedure],
    data: Any,
    splits: Sequence[Split],
    *,
    seeds: int | Sequence[int] = 1,
    training: TrainingPlan | None = None,
    reading: Reading | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    only: Collection[str] | None = None,
    progress: bool = True,
    **options: Unpack[Flat],
) -> Study:
    """Train every arm on every split with every seed, and predict the test parts.

    Each training has the same result as `train.fit` on its own; arms share the key and the batch
    order of a split and a seed, so that they differ in nothing else. One compiled learner serves
    all trainings of an arm.

    Args:
        arms: name to learner, to `tuned` candidates, selected by inner folds, or to a `Procedure`,
            which trains and predicts by itself.
        data: a source, or a dict of arrays, of all cases. Where all arms are procedures it may lack
            `inputs` and `label`, and `training` and `reading` have no use.
        splits: of `k_fold` and its like.
        seeds: how many, from 0, or which.
        training: duration and batch size of each training, and how trainings run together.
        reading: names of the arrays, and what is stored of a prediction.
        out: a folder for the records of completed trainings; the same call resumes from there.
            Seeds, splits and arms may be added. A changed learner (network, objective, optimizer
            or a number in them) is refused by the program of its step, a changed procedure by its
            settings, other data by a checksum of what is in memory.
        resume: whether to resume; if not, earlier records are deleted.
        only: names of the trainings that this call may make, for a study that several processes
            share out (`missing` of what it returns names them): none of them makes one that another
            is making. The others' records are read where they are there.
        progress: whether to show a progress bar.
        **options: fields of `training` and `reading` by their own names, such as `epochs=`,
            `steps=`, `size=` and `groups=`.

    Returns:
        The predictions, failures and choices; with `only`, the names of what is missing. A
        training whose loss is not finite is a failure, and the study goes on.

    Raises:
        ValueError: for no arm, both or none of epochs and steps, two splits with the same repeat
            and fold, or a folder of another study.
        TypeError: for an unknown option.
        DataError: if a split leaks a case or a patient, or a record cannot be read.
        KeyError: if the data lack `inputs` or `label`.
    """
    source = as_source(data)
    learners = any(not isinstance(arm, Procedure) for arm in arms.values())
    training, reading = merged(training, reading, options, learners=learners)
    many = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if only is not None and (out is None or not resume):
        raise ValueError("a part of a study (only=) is recorded in out=, and resume=True")
    if not arms or not splits or not many or len(set(many)) < len(many):
        raise ValueError("a study needs an arm, a split and a seed, each seed once")
    patients = getattr(source, "groups", None) if reading.groups is None else reading.groups
    _check_splits(splits, patients, len(source))
    example = source[0]
    if learners:
        network_inputs(example, reading.inputs)
    if learners and reading.label not in example:
        raise KeyError(f"the examples have no array {reading.label!r}; they have {sorted(example)}")
    folder = None if out is None else Path(out)
    names = tuple(str(case) for case in case_ids(source))
    settings = _settings(training, reading) if learners else {}
    if folder is not None:
        about = {"cases": digest(names), "data": fingerprint(source)}
        open_folder(folder, {**settings, **about}, resume=resume)
    truth = np.full(len(source), np.nan)
    if reading.label in example:
        truth = np.asarray(column(source, reading.label))
    total = sum(trainings(arm, len(splits) * len(many)) for arm in arms.values())
    bar = tqdm(total=total, unit="training", disable=None if progress else True)
    may = None if only is None else frozenset(only)
    maker = Maker(source, training, reading, folder, bar, may)

    found: dict[tuple[str, int, int], np.ndarray] = {}
    failures: list[Failure] = []
    choices: list[Choice] = []
    seconds = 0.0
    outer = [Job(i, -1, seed, one) for i, one in enumerate(splits) for seed in many]
    with bar:
        for name, arm in arms.items():
            plan: list[tuple[str, Learner | Procedure, list[Job]]] = []
            if isinstance(arm, Tuned):
                inner = inner_jobs(arm, outer, len(source), patients, truth)
                chosen, spent = _chosen(maker, name, arm, outer, inner, truth)
                choices += [choice for choice in chosen if choice is not None]
                seconds += spent
                for candidate, learner in arm.candidates.items():
                    jobs = [j for j, c in zip(outer, chosen) if c and c.chosen == candidate]
                    plan.append((f"{name}~{candidate}", learner, jobs))
            else:
                plan.append((name, arm, outer))
            for label, learner, jobs in plan:
                for job, record in maker.records(label, learner, jobs):
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
        settings={**settings, **({"strategy": training.strategy} if learners else {})},
        seconds=round(seconds, 3),
        missing=tuple(maker.missing),
    )


def _settings(training: TrainingPlan, reading: Reading) -> dict[str, Any]:
    """What decides the records beside arms, splits and seeds: a folder is of one such set."""
    settings: dict[str, Any] = {
        "epochs": training.epochs, "steps": training.steps, "size": training.size,
        "outputs": reading.outputs, "inputs": plain(reading.inputs),
    }  # fmt: skip
    summary = reading.summary
    settings["summary"] = summary if isinstance(summary, str) else named(summary)
    return settings


def _chosen(
    maker: Maker,
    name: str,
    arm: Tuned,
    outer: Sequence[Job],
    inner: Sequence[Job],
    truth: np.ndarray,
) -> tuple[list[Choice | None], float]:
    """The choice of a tuned arm in each outer training part, and the seconds it took.

    None where an inner training is missing, so that there is no choice yet.
    """
    scores: dict[tuple[int, int], dict[str, list[float]]] = {
        (job.at, job.seed): {c: [] for c in arm.candidates} for job in outer
    }
    seconds = 0.0
    for candidate, learner in arm.candidates.items():
        for job, record in maker.records(f"{name}~{candidate}", learner, inner):
            value = score(arm.metric, truth[job.split.test], record)
            scores[job.at, job.seed][candidate].append(value)
            seconds += record["seconds"]
    choices: list[Choice | None] = []
    folds = Counter((job.at, job.seed) for job in inner)
    for job in outer:
        table = scores[job.at, job.seed]
        if any(len(values) < folds[job.at, job.seed] for values in table.values()):
            choices.append(None)
            continue
        at = (job.split.repeat, job.split.fold, job.seed)
        choices.append(Choice(name, *at, choose(arm, table), table))
    return choices, seconds


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
