"""Train a network on images whose border tells the class, with one remedy, and see what it uses.

    jaxmed train remedies --data cxr_covid3 --remedy swap

A small ResNet is cross-validated by patient and near duplicate. The test images of each fold are
shown to it in three ways: as they are; each with the border of an image of another class, so that
who looks at the border is misled; and the border alone, of which who does not look at it can say
nothing. A remedy helps if the second number comes near the first, and the third near .5. The
first alone says nothing: a shortcut makes it better.

Remedies: `crop` and `mask` show the centre alone, in training as in the test; `swap` trains with
the borders of other images; `augment`, `fourier` and `mixstyle` change styles; `weights` and
`balanced` change how much classes count; `coral`, `mmd` and `dann` draw the features of images
together with those of images with other borders, which are given without labels. Files whose
name tells a patient are taken for one source and the others for another, which `fourier` and
`mixstyle` mix between.

Measured: docs/paradigms/shift.md. A run takes about two minutes of a CPU core.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optax

import jaxmed as jm
from jaxmed import paradigms
from jaxmed.core import Learner
from jaxmed.data import ArraySource, balanced_batches, batches, folds
from jaxmed.report import Results, compare, stage

from .._common.borders import alone, blanked, centre, exchanged, swap
from .._common.pictures import Pictures, pictures
from .._common.plain import Plain

Remedy = Literal[
    "none", "crop", "mask", "swap", "augment", "fourier", "mixstyle", "weights", "balanced",
    "coral", "mmd", "dann",
]  # fmt: skip
GRID = {"remedy": Remedy.__args__, "seed": (0, 1, 2)}
_WAYS = ("as they are", "borders exchanged", "border alone")


@dataclasses.dataclass(frozen=True)
class Config:
    """One remedy.

    Args:
        data: a folder a class, or the name of one in the data folder.
        patient: a pattern with one group, the patient in a file's name; "" for none.
        remedy: which, or none.
        border: its width, a share of the image's side.
        size: side of the images.
        folds: of the cross-validation.
        epochs: passes over the training images.
        batch: images of a step; rounded up to a multiple of the classes for `balanced`.
        learning_rate: of Adam, which falls to 0.
        strength: weight of `coral`, `mmd` and `dann`.
        seed: of folds, parameters, order and exchanged borders.
    """

    data: Path = Path("cxr_covid3")
    patient: str = r"^(\d{8})_"
    remedy: Remedy = "none"
    border: float = 0.125
    size: int = 48
    folds: int = 5
    epochs: int = 20
    batch: int = 48
    learning_rate: float = 3e-3
    strength: float = 0.3
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Cross-validate with one remedy; test with the borders as they are, exchanged, and alone."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        found = pictures(config.data, config.size, config.patient)
        x, labels = found.images, found.labels
        parts = folds(
            len(x), config.folds, groups=found.units.tolist(), stratify=labels.tolist(),
            seed=config.seed,
        )  # fmt: skip
    most = max(len(part.train) for part in parts)
    steps = config.epochs * -(-most // config.batch)
    predicted = {way: np.empty((len(x), len(found.classes))) for way in _WAYS}
    plain = None
    with stage(seconds, "training"):
        for number, part in enumerate(parts):
            fill = float(x[part.train].mean())
            source = _source(config, found, part.train, fill)
            if plain is None:
                plain = Plain(_learner(config, labels, len(found.classes), steps))
            seed = config.seed * config.folds + number
            state = plain.train(_batches(config, source, seed), steps, seed)
            shown = {
                "as they are": x[part.test],
                "borders exchanged": exchanged(
                    x[part.test], labels[part.test], config.border, config.seed
                ),
                "border alone": alone(x[part.test], config.border, fill),
            }
            for way, images in shown.items():
                seen = _seen(config, images, fill)
                predicted[way][part.test] = plain.probabilities(state, seen)
    results = compare(
        labels, predicted, classes=found.classes, cases=found.cases,
        groups=found.units.tolist(), metrics=("auc",),
        title=f"{config.data.name}: {config.remedy}",
        description=(
            f"One network of each fold, {len(x)} images at {config.size} x {config.size} shown to "
            f"it in three ways; borders of {100 * config.border:g} % of a side, {config.folds} "
            f"folds, {config.epochs} epochs, remedy: {config.remedy}."
        ),
        partition=f"by patient and near duplicate, {config.folds} folds",
        seconds=seconds,
    )  # fmt: skip
    areas = {
        f"{way}/auc": dataclasses.replace(model["auc"], name=f"{way}/auc")
        for way, model in results.comparison.models.items()
    }
    return results.replace(metrics=areas)


def _source(config: Config, found: Pictures, rows: np.ndarray, fill: float) -> ArraySource:
    return ArraySource(
        {
            "image": _seen(config, found.images[rows], fill).astype(np.float32),
            "label": found.labels[rows],
            "domain": found.told[rows].astype(np.int32),
        }
    )


def _seen(config: Config, images: np.ndarray, fill: float) -> np.ndarray:
    """The images as the network is shown them, in training and after."""
    if config.remedy == "crop":
        return centre(images, config.border)
    return blanked(images, config.border, fill) if config.remedy == "mask" else images


def _batches(config: Config, source: ArraySource, seed: int) -> Any:
    if config.remedy != "balanced":
        return batches(source, config.batch, seed=seed)
    classes = len(np.unique(source.arrays["label"]))
    return balanced_batches(source, -(-config.batch // classes) * classes, seed=seed)


def _learner(config: Config, labels: np.ndarray, classes: int, steps: int) -> Learner:
    """The learner of a remedy."""
    network = jm.from_linen(jm.networks.resnet8(classes, width=8))
    loss, inputs = jm.losses.cross_entropy, "image"
    if config.remedy == "weights":
        loss = partial(loss, class_weights=jm.losses.class_balanced_weights(np.bincount(labels)))
    if config.remedy == "mixstyle":
        network = paradigms.mixstyle(network, at="stage[12]_block1")
        inputs = ("image", "domain", "weight")
    objective = jm.supervised(loss, inputs=inputs)
    view: Any = {
        "swap": swap(config.border),
        "augment": jm.augment.strong(flips=()),
        "fourier": jm.augment.fourier_mix(domain="domain", p=0.5),
    }.get(config.remedy)
    if view is not None:
        objective = jm.augmented(objective, view)
    aligned: Any = {
        "coral": paradigms.coral, "mmd": paradigms.mmd, "dann": paradigms.dann,
    }.get(config.remedy)  # fmt: skip
    if aligned is not None:
        # The other domain: the same images with the borders of others.
        beside = swap(config.border, "unlabelled")
        objective = aligned(objective, weight=config.strength)
        inner = objective

        def init(key, network, params, state, batch):
            return inner.init(key, network, params, state, {**batch, "unlabelled": batch["image"]})

        objective = jm.augmented(objective, beside)._replace(init=init)
    rate = optax.cosine_decay_schedule(config.learning_rate, steps)
    return jm.learner(network, objective, optax.adam(rate), inputs=inputs)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
