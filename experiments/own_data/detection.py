"""Find objects in one's own images: a detector trained on boxes, measured by AP and FROC.

    jaxmed train detection --data PATH

PATH is COCO's JSON, a folder of Pascal VOC, or a table with a row a box (docs/detection.md);
pictures or volumes. A trunk with ImageNet's weights (a small residual network for volumes), a
feature pyramid over the maps that suit the objects' sizes, RetinaNet's head; the parameters are
averaged over the steps. The plan (`plan.json` in the run's folder, each choice with its reason) may
be edited and given by `--plan`. A split `test` of the data is measured once, at the end; without
one a fifth of the patients is held out, and measured; `--folds 5` trains five networks, each on
four fifths, and keeps all: their boxes are fused.

`jaxmed predict DIR IMAGES... -o boxes.csv` finds objects in further images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed import report
from jaxmed.augment import Augmentation, brightness, chain, contrast, flip, random_affine
from jaxmed.data import ArraySource, BoxSource, box_dataset, read_image
from jaxmed.data.tables._columns import parse_columns
from jaxmed.detection import box_objective
from jaxmed.inference import BoxModel, BoxRecipe, box_model, save_model
from jaxmed.planning import BoxPlan
from jaxmed.report import DetectionResults, stage
from jaxmed.stats import box_average_precision

from ._boxes import Dealt, dealt, found_in, joined, plan_of, prepared, recipe_of, sizes
from ._own import kept_plan, repeated

_DECIDED = (
    "size", "network", "weights", "width", "depth", "epochs", "batch", "learning_rate", "rotation",
    "scale", "mirror", "nms", "most", "least",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: COCO's JSON, a folder of Pascal VOC, or a table of boxes.
        classes: names of the classes, in order.
        columns: ROLE=COLUMN where a table's columns have other names: image=file label=kind.
        corners: of VOC: inclusive, numbers of pixels from 1, or edges, coordinates.
        folds: networks, each with a fold of its own held out; of 1, see held_out.
        held_out: share of the patients that is measured, where the data name no split.
        fold: which of the parts of that size, from 0.
        plan: a plan to follow, such as an edited plan.json.
        train_on: train, or trainval: the images of the split val too, without a learning curve.
        size: longer side of the network's input; larger images are made smaller. By default 320 of
            pictures and 96 of volumes.
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
        seed: of folds, parameters, order of batches and augmentation.
    """

    data: Path | None = None
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    corners: Literal["inclusive", "edges"] = "inclusive"
    folds: int = 1
    held_out: float = 0.2
    fold: int = 0
    plan: Path | None = None
    train_on: Literal["train", "trainval"] = "train"
    size: int | None = None
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
    """Plan, train each fold, find objects in what is held out or the test images, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = _source(config)
        parts = dealt(source, config)
        plan = kept_plan(
            config, out, BoxPlan, lambda: plan_of(config, source, parts), _DECIDED, "epochs"
        )
        _fits(config.plan or out / "plan.json", plan, source)
        if not any((source.box_labels[i] >= 0).any() for i in parts.measured):
            raise ValueError(
                f"{source.name}: no image that is measured has a box, so nothing can be: change "
                "the splits, or --seed and --held-out"
            )
        recipe, network = recipe_of(plan)
        test = prepared(source, parts.test, recipe) if parts.test else None
    models, history, step, found = [], (), 0, {}
    for number, (train, held) in enumerate(parts.folds):
        folder = out if len(parts.folds) == 1 else out / f"fold_{number}"
        with stage(seconds, "training" if len(parts.folds) == 1 else f"training, fold {number}"):
            seen = _Looked(source, held, prepared(source, held, recipe) if held else None)
            learned = prepared(source, train, recipe)
            model, trained = _trained(config, plan, recipe, network, learned, seen, folder)
        models.append(model)
        history, step = history or trained.history, trained.step
        if test is None and seen.images is not None:
            with stage(seconds, "evaluation"):
                found |= dict(zip(held, found_in(model, seen.images), strict=True))
    model = joined(models)
    save_model(out, model)
    which = parts.measured
    with stage(seconds, "evaluation"):
        if test is not None:
            found = dict(zip(parts.test, found_in(model, test), strict=True))
        groups = source.groups
        results = report.detection(
            [source.boxes[i] for i in which],
            [source.box_labels[i] for i in which],
            *_columns([found[i] for i in which]),
            classes=source.classes,
            cases=[source.case_ids[i] for i in which],
            groups=None if groups is None else [groups[i] for i in which],
            crowd=[source.crowd[i] for i in which],
            images=lambda i: read_image(source.images[which[i]]).array,
            title=f"Detection in {Path(source.name).stem}",
        )
    return results.replace(
        description=_described(plan, parts),
        splits=sizes(source, parts),
        flow=parts.flow,
        history=history,
        best_step=step,
        seconds=seconds,
        notes=(*source.notes, *results.notes),
    )


def make_plan(config: Config) -> BoxPlan:
    """What `run` would do."""
    source = _source(config)
    return plan_of(config, source, dealt(source, config))


def _source(config: Config) -> BoxSource:
    if config.data is None:
        raise ValueError("--data: name COCO's JSON, a folder of VOC or a table of boxes")
    return box_dataset(
        config.data,
        classes=config.classes or None,
        corners=config.corners,
        columns=parse_columns(config.columns),
    )


def _fits(where: Path, plan: BoxPlan, source: BoxSource) -> None:
    """Refuse a plan that was given, or edited, for other data."""
    image = read_image(source.images[0]).array
    for what, has, wants in (
        ("the classes", [*plan.classes], [*source.classes]),
        ("spatial axes", len(plan.shape), image.ndim - 1),
        ("channels", len(plan.channels), image.shape[-1]),
    ):
        if has != wants:
            raise ValueError(f"{where} is of {what} {has}, the data are of {wants}: plan anew")


class _Looked(NamedTuple):
    """Images that are looked at while training, as the network takes them; perhaps none."""

    source: BoxSource
    rows: list[int]
    images: ArraySource | None

    def ap50(self, model: BoxModel) -> float:
        """Average precision at an overlap of half."""
        assert self.images is not None
        return box_average_precision(
            [self.source.boxes[i] for i in self.rows],
            [self.source.box_labels[i] for i in self.rows],
            *_columns(found_in(model, self.images)),
            crowd=[self.source.crowd[i] for i in self.rows],
            n_resamples=0,
        ).value


def _trained(
    config: Config,
    plan: BoxPlan,
    recipe: BoxRecipe,
    network: jm.Network,
    learned: ArraySource,
    seen: _Looked,
    out: Path,
) -> tuple[BoxModel, jm.train.FitResult]:
    """Train one network; without boxes to look at there is no curve of them."""
    batches = jm.data.batches(repeated(learned, plan.batch, least=1), plan.batch, seed=config.seed)
    learner = _learner(plan, network, plan.epochs * len(batches))
    blank = box_model(recipe, None, None)

    def look(state: jm.LearnerState) -> dict[str, float]:
        model = blank._replace(**learner.predicting.get(state)._asdict())
        return {"held out/ap50": seen.ap50(model)}

    boxes = any((seen.source.box_labels[i] >= 0).any() for i in seen.rows)
    looks = jm.train.Evaluation(look, every=max(1, plan.epochs // 8)) if boxes else None
    result = jm.fit(learner, batches, seed=config.seed, epochs=plan.epochs, out=out, evaluate=looks)
    model = blank._replace(**learner.predicting.get(result.state)._asdict())
    save_model(out, model)
    return model, result


def _columns(found) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    return [f.boxes for f in found], [f.scores for f in found], [f.labels for f in found]


def _learner(plan: BoxPlan, network: jm.Network, steps: int) -> jm.Learner:
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=plan.learning_rate, schedule="warmup_cosine", steps=steps,
        weight_decay=1e-4, clip=5.0,
    )  # fmt: skip
    objective = jm.paradigms.augmented(box_objective(), _augmentation(plan))
    learner = jm.learner(network, objective, optimizer)
    return jm.train.parameter_average(learner, min(0.99, 1 - 10 / max(steps, 20)))


def _augmentation(plan: BoxPlan) -> Augmentation:
    steps = [random_affine(rotation=plan.rotation, scale=(1 / plan.scale, plan.scale),
                           translation=0.1)]  # fmt: skip
    if plan.mirror:
        steps.append(flip(plan.mirror))
    return chain(*steps, brightness(0.1, p=0.5), contrast((0.8, 1.25), p=0.5), outside="constant")


def _described(plan: BoxPlan, parts: Dealt) -> str:
    shape = " x ".join(map(str, plan.shape))
    n = len(parts.folds)
    text = f"{'A RetinaNet' if n == 1 else f'{n} RetinaNets'}, {plan.epochs} epochs in batches of "
    text += f"{plan.batch} at {shape}; plan.json holds all choices and their reasons. "
    if parts.test:
        by = "" if n == 1 else f" by all {n} networks, whose boxes are fused,"
        text += f"The test images are read once,{by} "
    else:
        text += "What is held out is read once "
    return text + ("with the averaged parameters after the last step; nothing was chosen by it.")


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
