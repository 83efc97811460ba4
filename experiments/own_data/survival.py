"""Predict times to an event from one's own images, records or both, and measure the predictions.

    jaxmed train survival --data TABLE --records age sex stage

TABLE has a row a case with the columns `time` and `event` (1 for the event, 0 for the end of
observation), an `image` where there are images, and any columns named as records: numbers, or words
that are taken for categories. Cells of either may be empty. `patient` keeps the cases of one
patient together. `split` names `train` and `test`, or `train` and `val`: beside a `test` what is
`val` is learned from. Else a fifth of the patients is held out, and measured; `--folds 5` trains
five networks, each on four fifths, and keeps their average.

The network gives a hazard for each interval of time (or with `--loss cox` one log hazard, whose
baseline is made from the training cases). The plan (`plan.json` in the run's folder: times, sizes,
categories, length, each with its reason) may be edited and given by `--plan`. What is held out is
measured once, after the last step.

`jaxmed predict DIR TABLE -o survival.csv` predicts the cases of another table.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import jaxmed as jm
from jaxmed.inference import average_models
from jaxmed.planning import SurvivalPlan
from jaxmed.report import SurvivalResults, stage, survival

from .._common.rounds import may_differ, told
from .._common.times import Loss, inputs_of
from ._own import begun_with, kept_plan
from ._parts import Parts, deal, notes, partition, sizes
from ._survival_cases import Read, prepared, read_cases
from ._survival_fit import DECIDED, check_plan, fit, plan_of, recipe_of

extends = partial(may_differ, field="epochs")


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: the table.
        time: its column of the time to the event or to the end of observation.
        event: its column of 1 for the event and 0 for censored.
        image: its column of images, which are left out if it has none.
        records: columns of numbers or categories.
        patient: its column of the patient, if there is one.
        unit: of time, for figures.
        loss: hazards of intervals, or Cox's partial likelihood.
        intervals: of hazards, and times at which survival is measured.
        folds: networks, each with a fold of its own held out; of 1, see held_out.
        held_out: share of the patients that is measured, where the table names no split.
        fold: which of the parts of that size, from 0.
        plan: a plan to follow, such as an edited plan.json.
        size: longer side of the images.
        network: of the images.
        drop: how often image or record is hidden in training.
        epochs: passes over the training cases; more of them let a finished run go on.
        batch: cases of a step.
        learning_rate: of AdamW.
        seed: of the parts, parameters and order.
        start: folder of a run whose weights are the beginning.
    """

    data: Path | None = None
    time: str = "time"
    event: str = "event"
    image: str = "image"
    records: tuple[str, ...] = ()
    patient: str = "patient"
    unit: str = ""
    loss: Loss = "discrete"
    intervals: int = 8
    folds: int = 1
    held_out: float = 0.2
    fold: int = 0
    plan: Path | None = None
    size: int = 64
    network: Literal["resnet8", "resnet18"] = "resnet8"
    drop: float = 0.1
    epochs: int = 40
    batch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0
    start: Annotated[Path | None, tyro.conf.arg(aliases=["--from"])] = None


def run(config: Config, out: Path) -> SurvivalResults:
    """Plan, train each fold, predict what is held out or the test cases, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        read = read_cases(config)
        parts = _dealt(config, read)
        plan = kept_plan(
            config, out, SurvivalPlan, lambda: plan_of(config, read, parts), DECIDED, "epochs"
        )
        check_plan(config.plan or out / "plan.json", plan, read)
        recipe = recipe_of(plan, config.unit)
        begun = begun_with(recipe, config.start)
        every, cells = prepared(read, recipe)
    part = lambda which: jm.data.in_memory(jm.data.subset(every, which))  # noqa: E731
    several, choose = len(parts.folds) > 1, len(parts.test) > 0
    models, history, step, said = [], (), 0, {}
    for number, (train, held) in enumerate(parts.folds):
        folder = out / f"fold_{number}" if several else out
        with stage(seconds, f"training, fold {number}" if several else "training"):
            seen = part(held) if len(held) else None
            model, result = fit(config, plan, recipe, part(train), seen, folder)
        models.append(model)
        history, step = history or result.history, result.step
        if not choose:
            said |= dict(zip(held.tolist(), _said(model, part(held)), strict=True))
    model = average_models(models)
    jm.inference.save_model(out, model)
    which = parts.test if choose else np.array(sorted(said))
    measured = part(which)
    with stage(seconds, "evaluation"):
        rows = _said(model, measured) if choose else np.stack([said[int(i)] for i in which])
        results = survival(
            *measured.arrays["survival"].T, rows, times=np.array(plan.times), unit=config.unit,
            cases=measured.case_ids, groups=measured.groups,
            title=f"Survival of {read.table.path.stem}",
        )  # fmt: skip
    return results.replace(
        description=_described(plan, parts, config.start),
        splits=sizes(every, parts),
        partition=partition(every, "case"),
        flow=parts.flow,
        history=history,
        best_step=step,
        seconds=seconds,
        notes=(
            *results.notes,
            *notes(every, parts, "case"),
            *cells,
            *begun,
            *told(plan.ended, plan.epochs, "epochs", test=choose),
        ),
    )


def make_plan(config: Config) -> SurvivalPlan:
    """What `run` would do."""
    read = read_cases(config)
    return plan_of(config, read, _dealt(config, read))


def _dealt(config: Config, read: Read) -> Parts:
    """What is learned from and measured; of a single network beside a test set all is learned from.

    Raises:
        ValueError: a share or a fold that is none, or a single patient.
        DataError: the table's splits share a patient or a file, or leave nothing to learn from.
    """
    parts = deal(read.dealt, config, look=False)
    train, held = parts.folds[0]
    if np.array_equal(train, held):
        raise ValueError(f"{read.table.path}: a single patient, of whom none can be held out")
    return parts


def _said(model: Any, cases: Any) -> np.ndarray:
    """Probabilities (cases, times) of being free of the event."""
    given = {name: cases.arrays[name] for name in inputs_of(cases)}
    return model.survival(given)


def _described(plan: SurvivalPlan, parts: Parts, start: Path | None) -> str:
    what = " and ".join(["image"] * bool(plan.shape) + ["record"] * bool(plan.records))
    n, tests = len(parts.folds), len(parts.test)
    begin = "" if start is None else f" from the weights of {start.name}"
    learned = parts.folds[0][0] if n == 1 else parts.development
    text = f"{len(learned)} cases learned from by {what}, {plan.epochs} epochs{begin}, "
    text += f"{plan.loss} loss"
    if n > 1:
        text += f", by {n} networks, each without a fold of its own"
    text += "; plan.json holds all choices and their reasons. "
    if not tests:
        return text + (
            "What is held out is predicted once, after the last step; nothing was chosen by it."
        )
    by = "" if n == 1 else f" by all {n} networks, averaged,"
    return text + f"The {tests} test cases are predicted once,{by} after the last step."


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
