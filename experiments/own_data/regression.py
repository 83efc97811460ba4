"""Measure a number in one's own images, planned from the data, trained, compared with the truth.

    jaxmed train regression --data TABLE --labels age

TABLE lists images with a number each (docs/own-data.md). Everything else is as with `jaxmed train
classification`: the plan in `plan.json`, a fifth of the patients held out, `--folds 5`, a split
`test` that is opened once, at the end.

`jaxmed predict DIR IMAGES... -o numbers.csv` measures further images.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxmed.data import ManifestSource
from jaxmed.planning import ImagePlan, image_print, plan_images
from jaxmed.report import Results, classification

from .._common.rounds import may_differ
from ._image_run import train_and_read
from ._own import opened
from ._parts import Parts, dealt

extends = partial(may_differ, field="epochs")
_DECIDED = ("size", "network", "weights", "epochs")


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: the table.
        labels: column of the number; by default `label`.
        columns: ROLE=COLUMN where a table's columns have other names: image=file patient=subject.
        patient: column of the patient.
        merge_rows: whether rows of one image, such as of its findings, are one.
        folds: networks, each with a fold of its own held out; of 1, see held_out.
        held_out: share of the patients on which a single network is measured: a fifth.
        fold: which of the parts of that size, from 0.
        seed: of folds, parameters, order of batches and augmentation.
        plan: a plan to follow, such as an edited plan.json.
        size: longer side of the images.
        network: in place of the plan's choice.
        weights: to begin with, in place of the plan's choice.
        epochs: passes over the training images; more of them let a finished run go on.
        start: folder of a run whose weights are the beginning.
    """

    data: Path | None = None
    labels: str | None = None
    columns: tuple[str, ...] = ()
    patient: str | None = None
    merge_rows: bool = False
    folds: int = 1
    held_out: float = 0.2
    fold: int = 0
    seed: int = 0
    plan: Path | None = None
    size: int | None = None
    network: Literal["resnet8", "resnet18", "resnet34", "resnet50", "efficientnet_lite0"] | None = (
        None
    )
    weights: Literal["imagenet", "scratch"] | None = None
    epochs: int | None = None
    start: Annotated[Path | None, tyro.conf.arg(aliases=["--from"])] = None


def run(config: Config, out: Path) -> Results:
    """Plan, train each fold, measure what is held out and the test set, compare."""
    source = _source(config)
    read = train_and_read(config, source, lambda parts: _plan(config, source, parts), _DECIDED, out)
    return classification(
        np.asarray(source.labels)[read.which],
        read.said[:, 0],
        task="regression",
        title=f"{_name(config)} of {Path(source.name).stem}",
        **read.about,
    )


def make_plan(config: Config) -> ImagePlan:
    """What `run` would do."""
    source = _source(config)
    return _plan(config, source, dealt(source, config))


def _name(config: Config) -> str:
    return config.labels or "label"


def _source(config: Config) -> ManifestSource:
    source = opened(config, labels=config.labels, regression=True, canonical=True)
    return dataclasses.replace(source, masks=None)


def _plan(config: Config, source: ManifestSource, parts: Parts) -> ImagePlan:
    found = image_print(source, parts.development)
    made = plan_images(
        found, (), size=config.size, network=config.network, start=config.weights,
        epochs=config.epochs,
    )  # fmt: skip
    return dataclasses.replace(made, outputs=(_name(config),))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
