"""Find lesions in noisy phantoms, pictures or volumes: sensitivity by false boxes an image.

    jaxmed train lesions --rank 3 --seed 0

Ellipsoids are lesions; boxes that are as large and as bright are not, and some images have none. A
small residual network, a feature pyramid, RetinaNet's head. The default run takes some two to three
minutes of CPU time; to expect is a CPM of .9 or more.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

import jaxmed as jm
from jaxmed import detection, report
from jaxmed.augment import chain, flip
from jaxmed.data import ArraySource, phantoms
from jaxmed.networks import ResNet
from jaxmed.report import DetectionResults, split_sizes, stage

from ._found import found_in


@dataclasses.dataclass(frozen=True)
class Config:
    """One training.

    Args:
        rank: 2 for pictures, 3 for volumes.
        side: voxels along each axis.
        train: training images.
        test: test images.
        objects: most objects an image, lesions and others.
        noise: standard deviation; objects stand out by 0.3 to 0.7.
        bias: of the logarithm of a smooth factor.
        width: channels of the residual network at the image's own grid; the pyramid's are twice.
        steps: of the training.
        batch: images of a step.
        learning_rate: of Adam, falling to 0 by a cosine.
        form: how boxes are predicted: size, relative to anchors, or sides, by distances.
        iou: overlap of a hit.
        seed: of phantoms, parameters, order and augmentation.
    """

    rank: Literal[2, 3] = 3
    side: int = 32
    train: int = 96
    test: int = 64
    objects: int = 4
    noise: float = 0.15
    bias: float = 0.2
    width: int = 12
    steps: int = 160
    batch: int = 8
    learning_rate: float = 3e-3
    form: Literal["size", "sides"] = "size"
    iou: float = 0.1
    seed: int = 0


def run(config: Config, out: Path) -> DetectionResults:
    """Train, find, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts = {
            name: _lesions(config, n, 2 * config.seed + i)
            for i, (name, n) in enumerate({"train": config.train, "test": config.test}.items())
        }
    trunk = jm.networks.pyramid(
        ResNet(depths=(1, 1, 1), width=config.width, norm="group"), levels=(1, 2),
        width=2 * config.width,
    )  # fmt: skip
    head = detection.retina_head(1, strides=(2, 4), depth=1, form=config.form)
    network = jm.with_heads(trunk, {"boxes": head})
    optimizer = jm.train.optimizer(
        "adam", learning_rate=config.learning_rate, schedule="cosine", steps=config.steps, clip=5.0
    )
    objective = jm.augmented(detection.box_objective(), chain(flip()))
    learner = jm.learner(network, objective, optimizer)
    with stage(seconds, "training"):
        batches = jm.data.batches(parts["train"], config.batch, seed=config.seed)
        trained = jm.fit(learner, batches, seed=config.seed, steps=config.steps, out=out)
    test = parts["test"].arrays
    with stage(seconds, "evaluation"):
        finds = detection.detector(network, iou=0.3, count=3 * config.objects, least=0.02)
        variables = learner.predicting.get(trained.state)
        found = found_in(finds, variables, test["image"], config.batch)
        results = report.detection(
            test["box"],
            test["box_label"],
            found["boxes"],
            found["scores"],
            found["labels"],
            classes=("lesion",),
            cases=parts["test"].case_ids,
            froc_iou=config.iou,
            images=lambda i: test["image"][i],
            title=f"Lesions in {config.rank}D phantoms",
        )
    healthy = int((test["box_label"] < 0).all(1).sum())
    return results.replace(
        description=(
            f"A RetinaNet of {jm.core.count_parameters(variables.params):,} parameters, "
            f"{config.steps} steps of {config.batch} images of {config.side} voxels along each "
            f"axis. {healthy} of the {config.test} test images have no lesion. Nothing was chosen "
            "by the test images."
        ),
        splits=split_sizes(parts),
        partition="Drawn from generators of different seeds.",
        history=trained.history,
        seconds=seconds,
    )


def _lesions(config: Config, n: int, seed: int) -> ArraySource:
    """Phantoms in which the first class alone counts, its boxes before the others'."""
    source = phantoms.detection(
        n, (config.side,) * config.rank, classes=2, objects=config.objects, noise=config.noise,
        bias=config.bias, seed=seed,
    )  # fmt: skip
    arrays = {**source.arrays}
    lesion = arrays["box_label"] == 0
    order = np.argsort(~lesion, axis=1, kind="stable")
    label = np.where(lesion, 0, -1).astype(np.int32)
    arrays["box_label"] = np.take_along_axis(label, order, axis=1)
    box = np.where(lesion[..., None], arrays["box"], 0)
    arrays["box"] = np.take_along_axis(box, order[..., None], axis=1)
    return ArraySource(arrays, case_ids=source.case_ids, classes=("lesion",), name="lesions")


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
