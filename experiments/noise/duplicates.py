"""Find images that are there twice, under two labels too, and what they are worth to a probe.

    jaxmed train duplicates --data busi --features imagenet

Near duplicates are pairs of images much nearer to each other than images usually are. Where both
have the same label, and one is trained on and the other tested, a score is too good; where their
labels differ, one of the two is wrong. A linear probe is cross-validated with images dealt at
random, and again with near duplicates in one fold; the labels that contradict it are listed, and it
is counted how many of these are of a pair with two labels.

Measured: docs/paradigms/noise.md. A run takes a quarter of a minute of a CPU core with pixels, a
minute with ImageNet's network.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np

from jaxmed.protocols import suspect_labels
from jaxmed.report import Results, compare, stage
from jaxmed.stats import Estimate, proportion

from .._common.frozen import Frozen, frozen_features
from .._common.pictures import Pictures, pictures
from .._common.probe import out_of_fold

GRID = {"features": ("pixels", "imagenet"), "seed": (0, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Config:
    """One look.

    Args:
        data: a folder a class, or the name of one in the data folder.
        patient: a pattern with one group, the patient in a file's name; "" for none.
        features: pixels, maps of random convolutions, or ImageNet's network.
        size: side of the images; ImageNet's network sees them at 96.
        seed: of the folds.
    """

    data: Path = Path("busi")
    patient: str = ""
    features: Frozen = "pixels"
    size: int = 32
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Find near duplicates, cross-validate a probe with and without them in one fold."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        found = pictures(config.data, config.size, config.patient)
    with stage(seconds, "features"):
        features = frozen_features(found.images, config.features, size=96)
    with stage(seconds, "probes"):
        dealt = {"images at random": found.patients, "near duplicates together": found.units}
        predicted = {
            name: out_of_fold(features, found.labels, groups.tolist(), seed=config.seed)
            for name, groups in dealt.items()
        }
    honest = predicted["near duplicates together"]
    suspects = suspect_labels(honest, found.labels, groups=found.units, seed=config.seed)
    differ = [p for p in found.pairs if found.labels[p.first] != found.labels[p.second]]
    _write(out / "pairs.csv", found)
    of_two = sorted({i for p in differ for i in (p.first, p.second)})
    results = compare(
        found.labels, predicted, classes=found.classes, cases=found.cases,
        groups=found.units.tolist(), metrics=("auc",),
        title=f"{config.data.name}: near duplicates",
        description=(
            f"{len(found.labels)} images at {config.size} x {config.size}, {config.features} "
            "features, five folds. The file pairs.csv has every near duplicate."
        ),
        partition="by near duplicate in one of two, five folds",
        seconds=seconds,
        notes=(
            f"{len(found.pairs)} near duplicates, {len(differ)} of them with two labels.",
            f"{len(suspects.rows)} labels contradict the probe; of {len(of_two)} images of pairs "
            f"with two labels {np.isin(of_two, suspects.rows).sum()} do.",
        ),
    )  # fmt: skip
    metrics: dict[str, Estimate] = {
        f"{name}/auc": dataclasses.replace(model["auc"], name=f"{name}/auc")
        for name, model in results.comparison.models.items()
    }
    n = len(found.labels)
    paired = {i for p in found.pairs for i in (p.first, p.second)}
    metrics["images in pairs"] = proportion(len(paired), n, name="images in pairs")
    metrics["images in pairs of two labels"] = proportion(
        len(of_two), n, name="images in pairs of two labels"
    )
    metrics["wrong labels"] = dataclasses.replace(suspects.wrong, name="wrong labels")
    return results.replace(metrics=metrics)


def _write(path: Path, found: Pictures) -> None:
    """Every near duplicate, those of two labels first."""
    rows = sorted(found.pairs, key=lambda p: found.labels[p.first] == found.labels[p.second])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["first", "second", "label of first", "label of second", "ratio"])
        for p in rows:
            a, b = (found.classes[found.labels[i]] for i in (p.first, p.second))
            table.writerow([found.cases[p.first], found.cases[p.second], a, b, f"{p.ratio:.4f}"])


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
