r"""Ask what the border of images alone says of their class.

    jaxmed train shortcut --data cxr_covid3 --patient '^(\d{8})_' --features imagenet

A linear probe of features that are not trained is fitted to whole images, to their borders with the
centre blanked, and to their centres with the border blanked; each image is predicted by a probe
that has seen neither it nor its patient nor a near duplicate. A border from which the class can
be told is a shortcut: no disease is there. What remedies do: `remedies`.

Measured: docs/paradigms/shift.md. A run takes a quarter of a minute of a CPU core with pixels, two
minutes with ImageNet's network.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.report import Results, compare, stage

from .._common.borders import alone, blanked
from .._common.frozen import Frozen, frozen_features
from .._common.pictures import pictures
from .._common.probe import out_of_fold

GRID = {"features": ("pixels", "imagenet")}


@dataclasses.dataclass(frozen=True)
class Config:
    """One look.

    Args:
        data: a folder a class, or the name of one in the data folder.
        patient: a pattern with one group, the patient in a file's name; "" for none.
        border: its width, a share of the image's side.
        features: pixels, maps of random convolutions, or ImageNet's network.
        size: side of the images; ImageNet's network sees them at 96.
        seed: of the folds.
    """

    data: Path = Path("cxr_covid3")
    patient: str = r"^(\d{8})_"
    border: float = 0.125
    features: Frozen = "pixels"
    size: int = 32
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Fit probes to whole images, borders and centres, and compare what they tell."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        found = pictures(config.data, config.size, config.patient)
    x = found.images
    parts = {
        "whole": x,
        "border alone": alone(x, config.border, float(x.mean())),
        "centre alone": blanked(x, config.border, float(x.mean())),
    }
    predicted = {}
    for name, images in parts.items():
        with stage(seconds, name):
            features = frozen_features(images, config.features, size=96)
            predicted[name] = out_of_fold(
                features, found.labels, found.units.tolist(), seed=config.seed
            )
    results = compare(
        found.labels, predicted, classes=found.classes, cases=found.cases,
        groups=found.units.tolist(), metrics=("auc",),
        title=f"{config.data.name}: what the border tells",
        description=(
            f"{len(x)} images at {config.size} x {config.size}, borders of "
            f"{100 * config.border:g} % of a side, {config.features} features, five folds."
        ),
        partition="by patient and near duplicate, five folds",
        seconds=seconds,
        notes=(
            f"{len(found.pairs)} near duplicates of different patients stay in one fold.",
            f"{found.told.sum()} names tell a patient: {_by_class(found)}",
        ),
    )  # fmt: skip
    areas = {
        f"{name}/auc": dataclasses.replace(model["auc"], name=f"{name}/auc")
        for name, model in results.comparison.models.items()
    }
    return results.replace(metrics=areas)


def _by_class(found) -> str:
    """From which sources the classes come, as far as names tell."""
    counts = [
        f"{int(found.told[found.labels == k].sum())} of {int(np.sum(found.labels == k))} of {name}"
        for k, name in enumerate(found.classes)
    ]
    return ", ".join(counts)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
