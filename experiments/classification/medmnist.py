"""Classify a MedMNIST set from scratch, by the protocol of its authors.

    jaxmed train medmnist --dataset breastmnist --network resnet18 --seed 0 --epochs 100

Adam at 1e-3, batches of 128, 100 epochs, the learning rate times 0.1 at 50 % and 75 %, the model
of the best validation AUC; images scaled to [-1, 1], no augmentation. AUC and ACC are as MedMNIST
defines them: the mean one-against-rest AUC, and the accuracy of the most probable class (of each
label at 0.5, where there are several).

Published for ResNet-18 at 28 x 28 (MedMNIST v2): BreastMNIST AUC .901, ACC .863; RetinaMNIST AUC
.717, ACC .524. Measured, five seeds each: .897, .862; .714, .508 (docs/results.md). A run takes a
minute on a GPU, and 12 to 20 on two CPU cores with `--compute bfloat16`. `jaxmed predict DIR
image.png` scores further images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed.cli import one_of
from jaxmed.data import MEDMNIST, in_memory, map_source, medmnist
from jaxmed.report import (
    Results,
    class_pictures,
    classification,
    feature_maps,
    split_sizes,
    stage,
)

_TASKS = {
    "binary": "binary",
    "multiclass": "multi-class",
    "ordinal": "ordinal",
    "multilabel": "multi-label",
}
_LINEAR = (2.0, -1.0)  # from [0, 1] to [-1, 1]
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclasses.dataclass(frozen=True)
class Config:
    """One training and test.

    Args:
        dataset: one of MedMNIST's 18 sets.
        network: with the stem for small images at 28, the standard one above.
        size: side of the images: 28, 64, 128 or 224.
        seed: of parameters, order of batches and dropout.
        epochs: passes over the training set.
        batch: images of a step.
        learning_rate: at the start.
        compute: precision of the forward and backward passes; parameters are float32 in both.
        compile_epochs: keep the data on the device and make each epoch one program.
        maps: test images on maps of the trained network's features, at random if there are more;
            0 for no maps.
        loader: who deals and reads the batches: `jaxmed.data.batches`, or a pipeline of Grain, as
            one would have it for images that do not fit into memory.
    """

    dataset: str = one_of("breastmnist", jm.data.MEDMNIST)
    network: Literal["resnet18", "resnet50"] = "resnet18"
    size: int = 28
    seed: int = 0
    epochs: int = 100
    batch: int = 128
    learning_rate: float = 1e-3
    compute: Literal["float32", "bfloat16"] = "float32"
    compile_epochs: bool = False
    maps: int = 1000
    loader: Literal["batches", "grain"] = "batches"


def run(config: Config, out: Path) -> Results:
    """Train, keep the best epoch by validation AUC, measure on the test set."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts = {name: _read(config, name) for name in ("train", "val", "test")}
    entry, classes = MEDMNIST[config.dataset], parts["train"].classes
    task = _TASKS[entry.task]
    several = task == "multi-label"

    make = getattr(jm.networks, config.network)
    stem = "small" if config.size <= 32 else "standard"
    network = jm.from_linen(
        # The protocol's network leaves its layers as torch makes them.
        make(len(classes), stem=stem, dtype=config.compute, kernel_init=jm.networks.torch_uniform)
    )
    loss = jm.losses.binary_cross_entropy if several else jm.losses.cross_entropy
    batches = _batches(config, parts["train"])
    recipe = jm.inference.ImageRecipe(
        task=task,
        outputs=classes,
        channels=_CHANNELS[entry.channels],
        shape=np.shape(parts["train"][0]["image"])[:-1],
        net=network,
        normalisation="linear",
        linear=_LINEAR,
    )
    optimizer = jm.train.optimizer(
        "adam", config.learning_rate, schedule="multistep", steps=config.epochs * len(batches)
    )
    learner = jm.learner(network, jm.supervised(loss), optimizer)

    def predict(state: Any, part: str) -> np.ndarray:
        logits = jm.train.predict(learner, state, parts[part], size=config.batch)
        return _sigmoid(logits) if several else special.softmax(logits, axis=-1)

    look = jm.train.evaluator(
        learner,
        parts["val"],
        {"val/auc": jm.metrics.auc(), "val/loss": jm.metrics.log_loss()},
        size=config.batch,
    )
    result = jm.fit(
        learner, batches, seed=config.seed, epochs=config.epochs, evaluate=look,
        monitor="val/auc", out=out,
        devices=jm.train.Placement(compile_epochs=config.compile_epochs),
    )  # fmt: skip
    seconds["training"] = result.seconds

    with stage(seconds, "evaluation"):
        test = parts["test"]
        results = classification(
            jm.data.column(test, "label"),
            predict(result.best_state, "test"),
            task=task,
            classes=classes,
            cases=test.case_ids,
            title=f"{config.dataset}, {config.network}, {config.size} x {config.size}",
            description=(
                f"A {config.network} trained from scratch for {config.epochs} epochs on "
                f"{len(parts['train'])} images of {config.dataset}; the epoch of the best "
                f"validation AUC ({result.best['val/auc']:.3f}, epoch {result.best['epoch']}) is "
                f"measured on the {len(test)} test images."
            ),
            splits=split_sizes(parts, classes=classes),
            flow=(
                f"{sum(map(len, parts.values()))} images of {config.dataset}",
                "official split of MedMNIST, by image: the set names no patients",
            ),
            history=result.history,
            best_step=result.best["step"],
            seconds=seconds,
            notes=tuple(test.notes),
        )
        images = [0.5 + 0.5 * test[i]["image"] for i in range(len(test))]
        pictures = class_pictures(images, results.scores, classes=classes)
        maps = None
        if config.maps:
            features = jm.train.predict(
                learner, result.best_state, test, size=config.batch, outputs="features"
            )
            maps = feature_maps(
                features, images=images, what="what the last layer sees", most=config.maps
            )
        best = learner.predicting.get(result.best_state)
        model = jm.inference.image_model(recipe, *best)
        jm.inference.save_model(out, model)
    return results.replace(pictures=pictures, maps=maps)


def _batches(config: Config, train: Any) -> Any:
    """Shuffled batches, the same at a step however often the run was cut before it."""
    if config.loader == "batches":
        return jm.data.batches(train, config.batch, seed=config.seed)
    # Grain has no weight 0 for the rows that fill the last batch, so it is left out.
    pipeline = jm.data.to_grain(train).seed(config.seed).shuffle()
    return jm.data.grain_batches(pipeline.batch(config.batch, drop_remainder=True))


def _read(config: Config, part: str) -> Any:
    source = medmnist(config.dataset, part, size=config.size)
    gain, offset = _LINEAR
    scale = lambda batch: {**batch, "image": gain * batch["image"] + offset}  # noqa: E731
    return in_memory(map_source(source, scale, batched=True))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
