"""Predict times to an event from one's own images, records or both, and measure the predictions.

    jaxmed train survival --data TABLE --records age sex stage

TABLE has a row a case with the columns `time` and `event` (1 for the event, 0 for the end of
observation), an `image` where there are images, and any columns named as records: numbers, or words
that are taken for categories. Cells of either may be empty. `patient` keeps the cases of one
patient together, `split` names `train` and `test`; else a fifth of the patients is held out.

The network gives a hazard for each interval of time (or with `--loss cox` one log hazard, whose
baseline is made from the training cases). What is held out is measured once, after the last step.

`jaxmed predict DIR TABLE -o survival.csv` predicts the cases of another table.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource, folds, subset
from jaxmed.data.tables._records import Records, read_records
from jaxmed.data.tables._table import Table, is_missing, read_table
from jaxmed.inference import ImageRecipe, SurvivalModel, SurvivalRecipe, prepare_image
from jaxmed.report import SurvivalResults, split_sizes, stage, survival

from .._common.times import Loss, Trained, predict, train
from ._own import split_name


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


class Read(NamedTuple):
    """What a table holds.

    Attributes:
        source: `survival`, and `image`, `record`, `present` as far as there are any.
        records: how its record columns were read, or None.
        image: how its images are prepared, or None.
        splits: `train`, `val` or `test` of each case, or None.
        notes: how cells were read.
    """

    source: ArraySource
    records: Records | None
    image: ImageRecipe | None
    splits: np.ndarray | None
    notes: tuple[str, ...]


def run(config: Config, out: Path) -> SurvivalResults:
    """Read, train, measure what is held out."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        read = read_cases(config)
        kept, held = _parts(config, read)
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


def read_cases(config: Config) -> Read:
    """The cases of the table, in memory.

    Raises:
        ValueError: no table, a column that is not there, neither images nor records.
        DataError: a cell that is no time or event, an image that cannot be read.
    """
    if config.data is None:
        raise ValueError("--data: name a table with the columns time and event")
    table = read_table(config.data, config.time, config.event, config.image, config.patient)
    for option, name in (("time", config.time), ("event", config.event)):
        if name not in table.columns:
            raise table.fault(f"there is no column {name!r}; name it by --{option}")
    rows = range(len(table.rows))
    times = np.array(
        [[table.number(i, name) for name in (config.time, config.event)] for i in rows]
    )
    for i in rows:
        if times[i, 0] < 0 or times[i, 1] not in (0, 1):
            raise table.fault(
                f"{table.where(i)}: {config.time} must be 0 or later and {config.event} 0 or 1, "
                f"but they are {times[i, 0]:g} and {times[i, 1]:g}"
            )
    arrays, present = {"survival": times.astype(np.float32)}, {}
    recipe, found, notes = None, None, ()
    if config.image in table.columns:
        arrays["image"], present["image"], recipe = _images(config, table)
    if config.records:
        found = read_records(table, config.records)
        arrays["record"], notes = found.values, found.notes
        present["record"] = ~np.isnan(found.values).all(1)
    if not present:
        raise table.fault(
            f"there is no column {config.image!r} and --records names none: nothing to learn from"
        )
    if len(present) > 1 or not next(iter(present.values())).all():
        here = [present[name] for name in sorted(present)]
        arrays["present"] = np.stack(here, axis=1).astype(np.float32)
    patients = None
    if config.patient in table.columns:
        patients = tuple(str(row[config.patient]) for row in table.rows)
    splits = None
    if "split" in table.columns:
        splits = np.array([split_name(str(r["split"]), str(table.path)) for r in table.rows])
    source = ArraySource(
        arrays, case_ids=tuple(table.where(i) for i in rows), groups=patients, name=str(table.path)
    )
    return Read(source, found, recipe, splits, notes)


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


def _images(config: Config, table: Table) -> tuple[np.ndarray, np.ndarray, ImageRecipe]:
    """Images of one size, zeros where there is none, which there are, how they are prepared."""
    found: list[np.ndarray | None] = []
    recipe = None
    for row in table.rows:
        if is_missing(row[config.image]):
            found.append(None)
            continue
        scan = jm.data.read_image(table.path.parent / str(row[config.image]), canonical=True)
        if recipe is None:
            shape = scan.space.shape
            small = tuple(max(8, round(n * config.size / max(shape))) for n in shape)
            channels = tuple(f"channel {i}" for i in range(scan.array.shape[-1]))
            recipe = ImageRecipe(
                "regression", ("risk",), channels, small,
                getattr(jm.networks, config.network)(1, stem="small"),
            )  # fmt: skip
        found.append(prepare_image(recipe, scan))
    some = next((x for x in found if x is not None), None)
    if some is None or recipe is None:
        raise table.fault(f"no cell of {config.image} names an image")
    blank = np.zeros_like(some)
    return (
        np.stack([blank if x is None else x for x in found]),
        np.array([x is not None for x in found]),
        recipe,
    )


def _parts(config: Config, read: Read) -> tuple[np.ndarray, np.ndarray]:
    """Positions to learn from and to measure."""
    every = np.arange(len(read.source))
    if read.splits is not None and {"train", "test"} <= set(read.splits):
        return every[read.splits != "test"], every[read.splits == "test"]
    if not 0 < config.held_out <= 0.5:
        raise ValueError(f"--held-out is a share above 0 and at most 0.5, got {config.held_out}")
    fold = folds(
        len(every), round(1 / config.held_out), groups=read.source.groups, seed=config.seed,
        stratify=read.source.arrays["survival"][:, 1].astype(int),
    )[0]  # fmt: skip
    return fold.train, fold.test


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
