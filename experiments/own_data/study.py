"""Compare ways to train on one's own images, cross-validated, every pair tested.

    jaxmed study --data PATH --arms network=resnet18,resnet34 learning_rate=0.001,0.0001
    jaxmed study --data PATH --task segmentation --arms configuration=2d,3d_fullres
    jaxmed study --data TABLE --sites hospital --arms network=resnet18,resnet34

PATH is as with `jaxmed train`. Arms are all combinations of the values of the plan's fields, or
plans that `jaxmed plan` wrote: `--arms plan=small.json,large.json`. Every arm is trained on every
fold from every seed, in the same order; the report has each arm's metrics with intervals for other
cases and other trainings, and for each pair the t-test corrected for overlapping training sets,
corrected for the number of pairs. With `--sites` the folds are the sites of a column, each
predicted by what was trained on all others; the report has every site's metrics, their mean over
sites with an interval over sites, and what to expect at another. A killed study goes on where it
was. `--executor slurm` (local, dask, ray) makes the trainings in jobs of their own, all in one
folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.cli import one_of
from jaxmed.data import ManifestSource
from jaxmed.planning import read_plan, write_plan
from jaxmed.report import Results, stage
from jaxmed.stats.comparison._multiplicity import METHODS

from . import _study_images, _study_masks
from ._copies import copies, files_of, units
from ._own import mask_labels, opened, unsaid
from ._parts import split_names

Task = Literal["classification", "regression", "segmentation"]
# Options that mean nothing in another task.
_OF_CLASSES = ("classes", "positive")
_OF_IMAGES = ("labels", "size", "epochs")
_OF_MASKS = ("map", "memory_gb", "steps")


@dataclasses.dataclass(frozen=True)
class Config:
    """One study.

    Args:
        data: the table or folder.
        arms: FIELD=VALUE,VALUE of the plan, or plan=FILE,FILE.
        task: what is learned; by default segmentation of data with masks and no labels, else
            classification.
        labels: column of the labels, or several columns of 0 and 1; by default `label`, or the
            folders.
        columns: ROLE=COLUMN where a table's columns have other names: image=file patient=subject.
        classes: names of the classes in order; of folders, those to use; of masks the background
            first.
        positive: the class that is told from the other, or from all others.
        map: NUMBER=CLASS or RED,GREEN,BLUE=CLASS, where masks are written otherwise: 255=1 0=0.
        patient: column of the patient; of a folder `folder` or a pattern with one group.
        merge_rows: whether rows of one image, such as of its findings, are one.
        sites: column of the site, scanner or year, of which one at a time is left out, in place of
            folds.
        folds: into how many the patients are dealt.
        repeats: how often they are dealt anew.
        seeds: trainings of each arm on each fold.
        size: longer side of the images.
        epochs: passes over the training images.
        memory_gb: memory that the plan of a segmentation may fill.
        steps: of each training of a segmentation.
        adjustment: of the p-values: holm, hochberg, hommel, bonferroni, benjamini-hochberg, none.
    """

    data: Path | None = None
    arms: tuple[str, ...] = ()
    task: Task | None = None
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    positive: str | None = None
    map: tuple[str, ...] = ()
    patient: str | None = None
    merge_rows: bool = False
    sites: str | None = None
    folds: int = 5
    repeats: int = 1
    seeds: int = 1
    size: int | None = None
    epochs: int | None = None
    memory_gb: float | None = None
    steps: int | None = None
    adjustment: str = one_of("holm", METHODS, strict=False)


def run(config: Config, out: Path) -> Results:
    """Plan the arms, train each on every fold from every seed, compare."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        dealt = _dealt(config)
    source, arms, module = dealt.source, dealt.arms, dealt.module
    _write_plans(arms, out)
    with stage(seconds, "training"):
        study, about = module.trained_arms(config, source, arms, out / "trainings")
    results = jm.report.from_study(
        study,
        adjustment=config.adjustment,
        sites=config.sites,
        title=f"Study of {Path(source.name).stem}",
        **about,
    )
    return results.replace(notes=(*source.notes, *dealt.told, *results.notes))


def trainings(config: Config, out: Path, only: Collection[str]) -> tuple[str, ...]:
    """Make the trainings of these names, and name those that have no record.

    Whoever makes some follows the plans of whoever named them: another machine's would be others.
    """
    source, arms, module, _ = _dealt(config)
    if only:
        arms = {name: read_plan(_plan_file(out, name), type(p)) for name, p in arms.items()}
    else:
        _write_plans(arms, out)
    return module.trained_arms(config, source, arms, out / "trainings", only=only)[0].missing


def _write_plans(arms: dict[str, Any], out: Path) -> None:
    for name, plan in arms.items():
        write_plan(_plan_file(out, name), plan)


def _plan_file(out: Path, name: str) -> Path:
    return out / "plans" / f"{name}.json".replace("/", "_")


class _Dealt(NamedTuple):
    """What a study is of: images, the plan of each arm, the task's module, what is told of them."""

    source: ManifestSource
    arms: dict[str, Any]
    module: Any
    told: tuple[str, ...]


def _dealt(config: Config) -> _Dealt:
    """Open the images, leave out a test set, plan the arms."""
    source, task, told = _source(config)
    _check_options(config, task)
    held = split_names(source) == "test"  # a study chooses, so it is left for what is chosen
    source = source.where(np.flatnonzero(~held).tolist())
    if alike := copies(files_of(source)):
        whole = tuple(map(str, units(len(source), source.groups, alike) or ()))
        source = dataclasses.replace(source, groups=whole)
        told.append(f"{len(alike)} images have copies, which stay in one fold.")
    if held.any():
        told.append(f"{held.sum()} images of the split test are left out.")
    module: Any = _study_masks if task == "segmentation" else _study_images
    return _Dealt(source, module.planned_arms(config, source, task), module, tuple(told))


def _source(config: Config) -> tuple[ManifestSource, Task, list[str]]:
    """The images, what is learned of them, and how that was told.

    Raises:
        ValueError: labels of another task.
    """
    task, told = config.task, []
    if task is None:
        there = opened(config, labels=config.labels or None, positive=None, canonical=True)
        masks_alone = there.labels is None and there.masks is not None
        task = "segmentation" if masks_alone else "classification"
        if task == "segmentation":
            told = ["There are masks and no labels, so that segmentation is studied (--task)."]
    if task == "segmentation":
        source = opened(config, labels=(), mask_labels=mask_labels(config), canonical=True)
        if source.masks is None:
            raise ValueError(f"{source.name}: no masks, of which a study of segmentation is")
        return source, task, told
    source = opened(
        config, labels=config.labels or None, classes=config.classes or None,
        positive=config.positive,
        regression=task == "regression", canonical=True,
    )  # fmt: skip
    if task == "regression" and len(config.labels) > 1:
        raise ValueError(
            f"a study of regression is of one number: --labels {' '.join(config.labels)}"
        )
    return dataclasses.replace(source, masks=None), task, told


def _check_options(config: Config, task: Task) -> None:
    """Refuse what the task has no use for."""
    useless = {
        "classification": _OF_MASKS,
        "regression": (*_OF_CLASSES, *_OF_MASKS),
        "segmentation": ("positive", *_OF_IMAGES),
    }[task]
    if said := unsaid(config, useless):
        raise ValueError(f"a study of {task} has no --{said[0].replace('_', '-')}")


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
