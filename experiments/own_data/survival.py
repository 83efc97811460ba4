"""Predict times to an event from one's own images, records or both, and measure the predictions.

    jaxmed train survival --data TABLE --records age sex stage

TABLE has a row a case with the columns `time` and `event` (1 for the event, 0 for the end of
observation), an `image` where there are images, and any columns named as records: numbers, or words
that are taken for categories. Cells of either may be empty. `patient` keeps the cases of one
patient together. `split` names `train` and `test`, or `train` and `val`: beside a `test` what is
`val` is learned from. Else a fifth of the patients is held out.

The network gives a hazard for each interval of time (or with `--loss cox` one log hazard, whose
baseline is made from the training cases). What is held out is measured once, after the last step.

`jaxmed predict DIR TABLE -o survival.csv` predicts the cases of another table.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxmed as jm
from jaxmed.data import check_disjoint, subset
from jaxmed.inference import SurvivalModel, SurvivalRecipe
from jaxmed.report import SurvivalResults, split_sizes, stage, survival

from .._common.times import Loss, Trained, predict, train
from ._copies import check_splits, copies, units
from ._own import held_out_parts, parted
from ._survival_cases import Read, as_learned, read_cases


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
        held_out: share of the patients that is measured, where the table names no split.
        size: longer side of the images.
        network: of the images.
        drop: how often image or record is hidden in training.
        epochs: passes over the training cases.
        batch: cases of a step.
        learning_rate: of AdamW.
        seed: of the parts, parameters and order.
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
    held_out: float = 0.2
    size: int = 64
    network: Literal["resnet8", "resnet18"] = "resnet8"
    drop: float = 0.1
    epochs: int = 40
    batch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0


def run(config: Config, out: Path) -> SurvivalResults:
    """Read, train, measure what is held out."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        read = read_cases(config)
        kept, held = _parts(config, read)
        read = as_learned(read, config.records, kept)
        parts = {"train": subset(read.source, kept), "held out": subset(read.source, held)}
        parts = {name: jm.data.in_memory(part) for name, part in parts.items()}
    trunks: dict[str, Any] = {}
    if "image" in read.source.arrays:
        trunks["image"] = getattr(jm.networks, config.network)(None, stem="small")
    if read.records is not None:
        learned = parts["train"].arrays["record"]
        trunks["record"] = jm.networks.tabular(
            read.records.columns, fitted_to=learned, hidden=(32,)
        )
    with stage(seconds, "training"):
        trained = train(
            trunks, parts["train"], loss=config.loss, intervals=config.intervals,
            epochs=config.epochs, batch=config.batch, learning_rate=config.learning_rate,
            drop=config.drop, seed=config.seed, out=out,
        )  # fmt: skip
    jm.inference.save_model(out, _model(config, read, trained))
    with stage(seconds, "evaluation"):
        test = parts["held out"]
        time, event = test.arrays["survival"].T
        times = np.array(trained.edges)
        results = survival(
            time, event, predict(trained, test, times), times=times, unit=config.unit,
            cases=test.case_ids, groups=test.groups,
            title=f"Survival of {Path(read.source.name).stem}",
        )  # fmt: skip
    what = " and ".join(trunks)
    return results.replace(
        description=(
            f"{len(kept)} cases learned from by {what}, {config.epochs} epochs, {config.loss} "
            f"loss; the {len(held)} cases held out were measured once, after the last step."
        ),
        splits=split_sizes(parts),
        partition="by patient" if test.groups is not None else "by case, no patients named",
        history=trained.history, seconds=seconds, notes=(*results.notes, *read.notes),
    )  # fmt: skip


def _model(config: Config, read: Read, trained: Trained) -> SurvivalModel:
    """What `jaxmed predict` applies to the cases of another table."""
    baseline = ()
    if trained.baseline is not None:
        hazard = -np.log(trained.baseline.survival([0.0], trained.edges)[0])
        baseline = tuple(map(float, hazard))
    recipe = SurvivalRecipe(
        net=trained.network,
        times=trained.edges,
        baseline=baseline,
        image=read.image,
        records=tuple(config.records),
        categories=() if read.records is None else read.records.categories,
        unit=config.unit,
    )
    return SurvivalModel(recipe, *trained.learner.predicting.get(trained.state))


def _parts(config: Config, read: Read) -> tuple[np.ndarray, np.ndarray]:
    """Positions to learn from and to measure, which share no patient and no copy of a file.

    Raises:
        ValueError: a share that is none, or a single patient.
        DataError: the table's splits share a patient or a file, or leave nothing to learn from.
    """
    source, alike = read.source, copies(read.files)
    every = np.arange(len(source))
    names = set() if read.splits is None else {*read.splits.tolist()}
    if opened := [name for name in ("test", "val") if name in names]:
        held = read.splits == opened[0]
        check_splits(read.files, np.where(held, opened[0], "train"), alike)
        parts = every[~held], every[held]
    else:
        whole = units(len(source), source.groups, alike)
        if (len(source) if whole is None else len({*whole})) < 2:
            raise ValueError(f"{source.name}: a single patient, of whom none can be held out")
        parts = parted(
            len(source), held_out_parts(config.held_out), groups=whole, seed=config.seed,
            stratify=source.arrays["survival"][:, 1].astype(int),
        )[0]  # fmt: skip
    check_disjoint(dict(zip(("train", "held out"), parts, strict=True)), groups=source.groups)
    return parts


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
