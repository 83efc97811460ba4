"""Find gliomas as objects in slices of brain MRI: sensitivity by false boxes a slice.

    jaxmed train tumours --seed 0

Each connected piece of a tumour's mask is an object, its box the truth; slices without a tumour
count as images without an object. Patients are dealt into folds, one of which is held out.
EfficientNet-Lite0 with ImageNet's weights, a feature pyramid, RetinaNet's head. The default run
takes some five minutes of CPU time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy import ndimage

import jaxmed as jm
from jaxmed import detection, report
from jaxmed.augment import brightness, chain, contrast, flip, random_affine
from jaxmed.data import ArraySource, Source
from jaxmed.report import DetectionResults, split_sizes, stage

from .._common.lite0 import imagenet, lite0
from ._found import found_in

_STRIDES = (4, 8, 16)  # of the pyramid's maps
_ACROSS = 255 / 128, -127 / 128  # gain and offset by which ImageNet's weights know an image


@dataclasses.dataclass(frozen=True)
class Config:
    """One training.

    Args:
        data: the folder kaggle_3m; by default that below JAXMED_DATA.
        folds: parts of the patients, of which one is held out.
        fold: which, from 0.
        size: edge of the network's input; slices of 256 pixels are made smaller.
        least: pixels of a slice of the smallest piece that is an object.
        pretrained: whether to begin with ImageNet's weights.
        epochs: passes over the training slices.
        batch: slices of a step.
        learning_rate: of AdamW, rising over a twentieth of the steps, then falling to 0.
        iou: overlap of a hit.
        seed: of folds, parameters, order and augmentation.
    """

    data: Path | None = None
    folds: int = 5
    fold: int = 0
    size: int = 128
    least: int = 25
    pretrained: bool = True
    epochs: int = 14
    batch: int = 8
    learning_rate: float = 1e-3
    iou: float = 0.3
    seed: int = 0


def run(config: Config, out: Path) -> DetectionResults:
    """Train, find, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        folder = config.data or jm.data.data_root() / "lgg_mri" / "kaggle_3m"
        source, small = objects(jm.data.lgg_mri(folder), config.size, config.least)
        dealt = jm.data.folds(
            len(source), config.folds, groups=source.groups, seed=config.seed
        )[config.fold]  # fmt: skip
        parts = {
            "train": jm.data.subset(source, dealt.train),
            "held out": jm.data.subset(source, dealt.test),
        }
    batches = jm.data.batches(parts["train"], config.batch, seed=config.seed)
    steps = config.epochs * len(batches)
    network = _network(config)
    learner = _learner(config, network, steps)
    with stage(seconds, "training"):
        trained = jm.fit(learner, batches, seed=config.seed, epochs=config.epochs, out=out)
    with stage(seconds, "evaluation"):
        test = jm.data.in_memory(parts["held out"])
        finds = detection.detector(network, iou=0.3, count=20, least=0.02)
        variables = learner.predicting.get(trained.state)
        found = found_in(finds, variables, test.arrays["image"], config.batch)
        results = report.detection(
            test.arrays["box"],
            test.arrays["box_label"],
            found["boxes"],
            found["scores"],
            found["labels"],
            classes=("tumour",),
            cases=test.case_ids,
            groups=test.groups,
            froc_iou=config.iou,
            images=lambda i: (test.arrays["image"][i, ..., 1:2] - _ACROSS[1]) / _ACROSS[0],
            title="Gliomas as objects",
        )
    healthy = int((test.arrays["box_label"] < 0).all(1).sum())
    return results.replace(
        description=(
            f"A RetinaNet, {config.epochs} epochs in batches of {config.batch} slices at "
            f"{config.size} x {config.size}. {healthy} of the {len(test)} slices held out have no "
            "tumour. They were measured once, with the averaged parameters after the last step."
        ),
        splits=split_sizes(parts),
        partition="by patient",
        history=trained.history,
        seconds=seconds,
        notes=(
            *results.notes,
            f"{small} pieces of fewer than {config.least} pixels are no objects",
        ),
    )


def objects(source: Source, size: int, least: int) -> tuple[ArraySource, int]:
    """Slices as the network takes them, with a box around each piece of their masks.

    Args:
        source: of ``image`` (height, width, channels) in [0, 1] and ``mask`` (height, width).
        size: edge of the result, which divides those of the slices.
        least: pixels of the smallest piece that counts.

    Returns:
        The slices, and how many pieces did not count.
    """
    images, boxes, small = [], [], 0
    for i in range(len(source)):
        one = source[i]
        step = one["mask"].shape[0] // size
        if any(n != step * size for n in one["mask"].shape):
            raise ValueError(
                f"--size {size}: slices of {one['mask'].shape} are not a whole number of times so "
                "large"
            )
        wide = one["image"].reshape(size, step, size, step, -1).mean((1, 3))
        images.append((wide * _ACROSS[0] + _ACROSS[1]).astype(np.float32))
        pieces, _ = ndimage.label(one["mask"] > 0, np.ones((3, 3)))
        rows = []
        for k, place in enumerate(ndimage.find_objects(pieces), 1):
            if (pieces[place] == k).sum() < least:
                small += 1
                continue
            rows.append([*(s.start / step for s in place), *(s.stop / step for s in place)])
        boxes.append(np.asarray(rows, np.float32).reshape(-1, 4))
    most = max(1, *(len(b) for b in boxes))
    box, label = np.zeros((len(boxes), most, 4), np.float32), np.full((len(boxes), most), -1)
    for i, rows in enumerate(boxes):
        box[i, : len(rows)], label[i, : len(rows)] = rows, 0
    arrays = {"image": np.stack(images), "box": box, "box_label": label.astype(np.int32)}
    held = ArraySource(
        arrays, case_ids=source.case_ids, groups=source.groups, classes=("tumour",), name="gliomas"
    )
    return held, small


def _network(config: Config) -> jm.Network:
    trunk = imagenet(lite0(drop_path=0.0)) if config.pretrained else lite0(drop_path=0.0)
    pyramid = jm.networks.pyramid(trunk, levels=(1, 2, 3), width=48)
    return jm.with_heads(pyramid, {"boxes": detection.retina_head(1, strides=_STRIDES)})


def _learner(config: Config, network: jm.Network, steps: int) -> jm.Learner:
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="warmup_cosine", steps=steps,
        weight_decay=1e-4, clip=5.0,
    )  # fmt: skip
    view = chain(
        random_affine(rotation=10.0, scale=(0.8, 1.25), translation=0.1), flip(1),
        brightness(0.1, p=0.5), contrast((0.8, 1.25), p=0.5), outside="nearest",
    )  # fmt: skip
    learner = jm.learner(network, jm.augmented(detection.box_objective(), view), optimizer)
    return jm.train.parameter_average(learner, min(0.98, 1 - 10 / max(steps, 20)))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
