"""Outline gliomas in three MR sequences of which any one may be missing.

    jaxmed train sequences

One network learns with a sequence hidden now and then (`drop`), and is measured with all three and
without each, on patients that it has not seen: patients are dealt into folds, and one network is
trained for each. `--drop 0` is the network that has never missed one. No run is recorded yet.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource, folds, in_memory, lgg_mri, subset
from jaxmed.networks import plan_unet
from jaxmed.paradigms import fuse, fuse_channels
from jaxmed.report import Results, compare_segmentations, segmentation, stage
from jaxmed.stats import Estimate, mean

from .._common.compared import of_models

SEQUENCES = ("pre", "FLAIR", "post")
INPUTS = {"early": ("image", "present"), "late": (*sorted(SEQUENCES), "present")}
GRID = {"fusion": ("early", "late"), "drop": (0.25, 0.0)}


@dataclasses.dataclass(frozen=True)
class Config:
    """One way to fuse.

    Args:
        data: the folder kaggle_3m; by default that below JAXMED_DATA.
        fusion: sequences as channels of one U-Net, or a U-Net each whose logits are averaged.
        drop: how often a sequence is hidden in training.
        size: side of the slices, which divides 256.
        features: channels of the first stage.
        folds: networks, each measured on a fold of patients of its own.
        steps: of each training.
        batch: slices of a step.
        learning_rate: of AdamW, falling to 0.
        seed: of folds, parameters, order and augmentation.
    """

    data: Path | None = None
    fusion: Literal["early", "late"] = "early"
    drop: float = 0.25
    size: int = 64
    features: int = 8
    folds: int = 5
    steps: int = 400
    batch: int = 16
    learning_rate: float = 3e-3
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Train a network for each fold, and measure each with every sequence missing in turn."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = slices(config)
    masks = {"all": [1, 1, 1]} | {
        f"without {name}": [int(k != name) for k in SEQUENCES] for name in SEQUENCES
    }
    said = {name: np.zeros(source.arrays["mask"].shape, np.int32) for name in masks}
    learner = make_learner(config)
    history: tuple = ()
    for number, fold in enumerate(
        folds(len(source), config.folds, groups=source.groups, seed=config.seed)
    ):
        with stage(seconds, f"training, fold {number}"):
            batches = jm.data.batches(subset(source, fold.train), config.batch, seed=config.seed)
            trained = jm.fit(
                learner, batches, seed=config.seed, steps=config.steps, out=out / f"fold_{number}"
            )
            history = history or trained.history
        with stage(seconds, "evaluation"):
            rows = source.take(fold.test)
            for name, present in masks.items():
                given = _given(config, rows["image"], present)
                logits = jm.train.predict(
                    learner, trained.state, given, size=32, inputs=INPUTS[config.fusion]
                )
                said[name][fold.test] = logits.argmax(-1)
    patients, of = np.unique(source.groups, return_inverse=True)
    truth = source.arrays["mask"]
    # A patient's slices are one case; who has no tumour in them has no Dice.
    ill = [p for p in range(len(patients)) if truth[of == p].any()]
    found = {
        name: segmentation(
            [(str(patients[p]), truth[of == p], mask[of == p]) for p in ill], classes=("tumour",)
        )
        for name, mask in said.items()
    }
    results = compare_segmentations(
        {name: one.overlap for name, one in found.items()}, classes=("tumour",), metrics=("dice",),
        title=f"Gliomas with a sequence missing, {config.fusion} fusion",
        description=(
            f"{len(ill)} patients with a tumour in their slices at {config.size} x {config.size}; "
            f"{config.folds} networks of {config.steps} steps, each measured on the patients that "
            f"it has not seen. A sequence was hidden with a probability of {config.drop:g}."
        ),
        partition="by patient", history=history, seconds=seconds,
        notes=(f"{len(patients) - len(ill)} patients without a tumour in their slices are left "
               "out of the Dice.",),
    )  # fmt: skip
    return results.replace(metrics={**of_models(results, "dice"), **losses(found)})


def losses(found: dict[str, Any]) -> dict[str, Estimate]:
    """How much Dice a patient loses where a sequence is missing."""
    dice = {name: np.array([row[0] for row in one.overlap.values["dice"]]) for name, one in
            found.items()}  # fmt: skip
    return {
        f"{name}/loss": mean(
            dice["all"] - dice[name], name=f"{name}/loss", unit="patient", bounds=(-1, 1)
        )
        for name in dice
        if name != "all"
    }


def slices(config: Config) -> ArraySource:
    """All slices in memory, each sequence of mean 0 and deviation 1."""
    whole = in_memory(lgg_mri(config.data or jm.data.data_root() / "lgg_mri" / "kaggle_3m"))
    image, mask = whole.arrays["image"], whole.arrays["mask"]
    n, side = len(image), image.shape[1]
    if side % config.size:
        raise ValueError(f"--size {config.size} does not divide the slices' {side}")
    step = side // config.size
    blocks = (n, config.size, step, config.size, step)
    image = image.reshape(*blocks, -1).mean((2, 4))
    center, spread = image.mean((1, 2), keepdims=True), image.std((1, 2), keepdims=True)
    image = ((image - center) / np.maximum(spread, 1e-3)).astype(np.float32)
    arrays = {
        "image": image,
        "mask": (mask.reshape(blocks).mean((2, 4)) >= 0.5).astype(np.int32),
        **_given(config, image, [1] * len(SEQUENCES)),
    }
    return ArraySource(
        arrays, groups=whole.groups, case_ids=whole.case_ids, classes=("background", "tumour")
    )


def _given(config: Config, image: np.ndarray, present: list[int]) -> dict[str, np.ndarray]:
    """What the network is given of images in which some sequences are missing."""
    if config.fusion == "early":
        return {"image": image, "present": np.tile(np.float32(present), (len(image), 1))}
    by_name = {name: image[..., k : k + 1] for k, name in enumerate(SEQUENCES)}
    order = [present[SEQUENCES.index(name)] for name in sorted(SEQUENCES)]
    return {**by_name, "present": np.tile(np.float32(order), (len(image), 1))}


def make_learner(config: Config) -> jm.Learner:
    """The network of the fusion, its loss and optimizer."""
    plan = plan_unet((config.size, config.size), base_features=config.features)
    net = jm.from_linen(jm.networks.unet(2, plan=plan))
    if config.fusion == "early":
        network = fuse_channels(net, drop=config.drop)
    else:
        network = fuse(dict.fromkeys(SEQUENCES, net), "mean", reads="logits", drop=config.drop)
    inputs = INPUTS[config.fusion]
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-4,
        clip=5.0,
    )  # fmt: skip
    objective = jm.supervised(jm.losses.dice_ce, target="mask", inputs=inputs)
    return jm.learner(network, objective, optimizer, inputs=inputs)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
