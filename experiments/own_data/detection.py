"""Find objects in one's own images: a detector trained on boxes, measured by AP and FROC.

    jaxmed train detection --data PATH

PATH is COCO's JSON, a folder of Pascal VOC, or a table with a row a box (docs/detection.md);
pictures or volumes. A trunk with ImageNet's weights (a small residual network for volumes), a
feature pyramid over the maps that suit the objects' sizes, RetinaNet's head; the parameters are
averaged over the steps. A split `test` of the data is measured once, at the end; without one a
fifth of the patients is held out, and measured.

`jaxmed predict DIR IMAGES... -o boxes.csv` finds objects in further images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

import jaxmed as jm
from jaxmed import report
from jaxmed.augment import Augmentation, brightness, chain, contrast, flip, random_affine
from jaxmed.data import box_dataset, read_image
from jaxmed.data.tables._columns import parse_columns
from jaxmed.detection import box_objective
from jaxmed.inference import box_model, save_model
from jaxmed.report import DetectionResults, stage
from jaxmed.stats import box_average_precision

from ._boxes import dealt, found_in, prepared, recipe_of, sizes
from ._own import repeated


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: COCO's JSON, a folder of Pascal VOC, or a table of boxes.
        classes: names of the classes, in order.
        columns: ROLE=COLUMN where a table's columns have other names: image=file label=kind.
        corners: of VOC: inclusive, numbers of pixels from 1, or edges, coordinates.
        held_out: share of the patients that is measured, where the data name no split.
        train_on: train, or trainval: the images of the split val too, without a learning curve.
        size: longer side of the network's input; larger images are made smaller.
        network: the trunk; efficientnet_lite0 of pictures, resnet8 of volumes by default.
        weights: of efficientnet_lite0, to begin with; imagenet by default.
        width: channels of the feature pyramid.
        depth: convolutions of each tower of the head.
        epochs: passes over the training images.
        batch: images of a step.
        learning_rate: of AdamW, rising over a twentieth of the steps, then falling to 0.
        rotation: largest angle of augmentation, in degrees: boxes around turned boxes are wider.
        scale: largest magnification of augmentation, and the inverse of the smallest.
        mirror: whether images are mirrored.
        nms: overlap above which the less sure of two boxes of a class is left out.
        most: boxes an image, at most.
        least: boxes with a score at or below this are not told.
        seed: of parameters, order of batches and augmentation.
    """

    data: Path | None = None
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    corners: Literal["inclusive", "edges"] = "inclusive"
    held_out: float = 0.2
    train_on: Literal["train", "trainval"] = "train"
    size: int = 320
    network: Literal["efficientnet_lite0", "resnet8", "resnet18"] | None = None
    weights: Literal["imagenet", "scratch"] | None = None
    width: int = 64
    depth: int = 2
    epochs: int = 40
    batch: int = 8
    learning_rate: float = 1e-3
    rotation: float = 0.0
    scale: float = 1.25
    mirror: bool = True
    nms: float = 0.5
    most: int = 100
    least: float = 0.02
    seed: int = 0


def run(config: Config, out: Path) -> DetectionResults:
    """Train, find objects in what is held out, measure."""
    if config.data is None:
        raise ValueError("--data: name COCO's JSON, a folder of VOC or a table of boxes")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = box_dataset(
            config.data,
            classes=config.classes or None,
            corners=config.corners,
            columns=parse_columns(config.columns),
        )
        parts = dealt(source, config.held_out, config.seed, config.train_on)
        if not any((source.box_labels[i] >= 0).any() for i in parts.test):
            raise ValueError(
                f"{source.name}: no image that is measured has a box, so nothing can be: change "
                "the splits, or --seed and --held-out"
            )
        recipe, network = recipe_of(config, source, parts)
        train, test = (prepared(source, rows, recipe) for rows in (parts.train, parts.test))
        apart = parts.held and parts.held != parts.test
        held = prepared(source, parts.held, recipe) if apart else test
    batches = jm.data.batches(
        repeated(train, config.batch, least=1), config.batch, seed=config.seed
    )
    steps = config.epochs * len(batches)
    learner = _learner(config, network, steps)
    blank = box_model(recipe, None, None)

    def look(state) -> dict[str, float]:
        model = blank._replace(**learner.predicting.get(state)._asdict())
        found = found_in(model, held)
        truth = [source.boxes[i] for i in parts.held], [source.box_labels[i] for i in parts.held]
        value = box_average_precision(
            *truth, *_columns(found), crowd=[source.crowd[i] for i in parts.held], n_resamples=0
        )
        return {"held out/ap50": value.value}

    seen = any(len(source.box_labels[i]) for i in parts.held)
    looks = jm.train.Evaluation(look, every=max(1, config.epochs // 8)) if seen else None
    with stage(seconds, "training"):
        trained = jm.fit(
            learner, batches, seed=config.seed, epochs=config.epochs, out=out, evaluate=looks
        )
    model = blank._replace(**learner.predicting.get(trained.state)._asdict())
    save_model(out, model)
    with stage(seconds, "evaluation"):
        found = found_in(model, test)
        groups = source.groups
        results = report.detection(
            [source.boxes[i] for i in parts.test],
            [source.box_labels[i] for i in parts.test],
            *_columns(found),
            classes=source.classes,
            cases=[source.case_ids[i] for i in parts.test],
            groups=None if groups is None else [groups[i] for i in parts.test],
            crowd=[source.crowd[i] for i in parts.test],
            images=lambda i: read_image(source.images[parts.test[i]]).array,
            title=f"Detection in {Path(source.name).stem}",
        )
    return results.replace(
        description=_described(config, recipe, parts),
        splits=sizes(source, parts),
        flow=parts.flow,
        history=trained.history,
        best_step=trained.step,
        seconds=seconds,
        notes=(*source.notes, *results.notes),
    )


def _columns(found) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    return [f.boxes for f in found], [f.scores for f in found], [f.labels for f in found]


def _learner(config: Config, network: jm.Network, steps: int) -> jm.Learner:
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="warmup_cosine", steps=steps,
        weight_decay=1e-4, clip=5.0,
    )  # fmt: skip
    objective = jm.paradigms.augmented(box_objective(), _augmentation(config))
    learner = jm.learner(network, objective, optimizer)
    return jm.train.parameter_average(learner, min(0.99, 1 - 10 / max(steps, 20)))


def _augmentation(config: Config) -> Augmentation:
    steps = [random_affine(rotation=config.rotation, scale=(1 / config.scale, config.scale),
                           translation=0.1)]  # fmt: skip
    if config.mirror:
        steps.append(flip())
    return chain(*steps, brightness(0.1, p=0.5), contrast((0.8, 1.25), p=0.5), outside="constant")


def _described(config: Config, recipe, parts) -> str:
    shape = " x ".join(map(str, recipe.shape))
    measured = "The test images are" if parts.held != parts.test else "What is held out is"
    return (
        f"A RetinaNet, {config.epochs} epochs in batches of {config.batch} at {shape}. {measured} "
        "read once with the averaged parameters after the last step; nothing was chosen by it."
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
