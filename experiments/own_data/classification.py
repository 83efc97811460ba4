"""Classify one's own images, planned from the data, trained, measured.

    jaxmed train classification --data PATH [--labels COLUMN]

PATH is a table of images with labels, or a folder with a folder for each class
(docs/own-data.md). Labels are one class of several, or several 0/1 columns of which some cells may
be empty. The plan (`plan.json` in the run's folder: size, network, weights to begin with, weights
of the classes, augmentation, length, each with its reason) may be edited and given by `--plan`. A
fifth of the patients is held out and measured once, with the parameters after the last step;
`--folds 5` trains five networks and keeps their average. A split `test` of the data is opened once,
at the end; then the epoch is chosen by what is held out.

`jaxmed predict DIR IMAGES... -o scores.csv` scores further images.
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
from jaxmed.report import Results, class_pictures, classification, feature_maps

from .._common.explained import explanations
from .._common.rounds import may_differ
from ._image_run import Read, train_and_read
from ._images import features
from ._own import opened
from ._parts import Parts, dealt

extends = partial(may_differ, field="epochs")
_DECIDED = ("size", "network", "weights", "epochs")


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: the table or folder.
        labels: column of the labels, or several columns of 0 and 1; by default `label`, or the
            folders.
        columns: ROLE=COLUMN where a table's columns have other names: image=file patient=subject.
        classes: names of the classes in order; of folders, those to use.
        positive: the class that is told from the other, or from all others.
        patient: column of the patient; of a folder `folder` or a pattern with one group.
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
        maps: images on maps of the trained network's features, at random if there are more; 0 for
            no maps. Of several networks the first, of the images that it has not learned from.
        explain: images of these whose answers the report explains by maps over them, the surest
            ones, half of them wrong if so many are; a minute or two.
    """

    data: Path | None = None
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    positive: str | None = None
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
    maps: int = 1000
    explain: int = 0


def run(config: Config, out: Path) -> Results:
    """Plan, train each fold, classify what is held out and the test set, measure."""
    source = _source(config)
    read = train_and_read(config, source, lambda parts: _plan(config, source, parts), _DECIDED, out)
    return _results(config, read)


def make_plan(config: Config) -> ImagePlan:
    """What `run` would do."""
    source = _source(config)
    return _plan(config, source, dealt(source, config))


def _source(config: Config) -> ManifestSource:
    source = opened(
        config,
        labels=config.labels or None,
        classes=config.classes or None,
        positive=config.positive,
        canonical=True,
    )
    return dataclasses.replace(source, masks=None)


def _plan(config: Config, source: ManifestSource, parts: Parts) -> ImagePlan:
    found = image_print(source, parts.development)
    labels = np.asarray(source.labels)
    return plan_images(
        found, source.classes, several=labels.ndim == 2, size=config.size,
        network=config.network, start=config.weights, epochs=config.epochs,
    )  # fmt: skip


def _results(config: Config, read: Read) -> Results:
    whole = np.ones(len(read.which), bool)
    if read.source.known is not None:
        whole = read.source.known[read.which].all(axis=1)
    about = dict(read.about)
    if not whole.all():
        note = f"{(~whole).sum()} images with a label that is not known are not measured."
        about["notes"] = (*about["notes"], note)
        for name in ("cases", "groups"):
            if about[name] is not None:
                about[name] = tuple(np.array(about[name], object)[whole])
    results = classification(
        np.asarray(read.source.labels)[read.which][whole],
        read.said[whole],
        task=read.plan.task,
        classes=read.plan.outputs,
        title=f"Classification of {Path(read.source.name).stem}",
        **about,
    )
    images = read.images[whole]
    shown = images
    if read.plan.normalisation == "linear":
        gain, offset = read.plan.linear
        shown = (images - offset) / gain
    pictures = class_pictures(shown, results.scores, classes=read.plan.outputs)
    maps, rows = None, np.flatnonzero(read.unseen[whole])
    if config.maps and len(rows):
        groups = about["groups"]
        maps = feature_maps(
            features(read.network, images[rows]), images=shown[rows], rows=rows,
            groups=None if groups is None else [groups[int(i)] for i in rows],
            what="what the last layer sees", most=config.maps,
        )  # fmt: skip
    explained = explanations(
        read.network, images[rows], read.said[whole][rows],
        np.asarray(read.source.labels)[read.which][whole][rows],
        [about["cases"][int(i)] for i in rows], count=config.explain, seed=config.seed,
    )  # fmt: skip
    return results.replace(pictures=pictures, maps=maps, explanations=explained)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
