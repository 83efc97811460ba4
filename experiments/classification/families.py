"""Several networks against one: five of a kind, four families, their mean and their stack.

    jaxmed train families --dataset retinamnist

On a MedMNIST set are trained: five ResNets that differ in their start alone, as one program; a
vision transformer; logistic regression on the features of ImageNet's EfficientNet-Lite0; and random
convolutions with least squares. The validation part, which none of them sees, weighs the families
(`jaxmed.protocols.weighted_average`: non-negative weights that add up to 1, by log loss); the test
part measures each, the five together, the families' equal mean, and the stack. Nothing else is
chosen.

Differences are paired by image (`jaxmed.report.compare`); the network that a seed makes is one
draw, so `--seed` should be repeated. Some minutes of a CPU core. Not yet on record.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed.cli import one_of
from jaxmed.data import MEDMNIST, column, in_memory, map_source, medmnist
from jaxmed.paradigms import closed_form
from jaxmed.protocols import linear_probe, pool, weighted_average
from jaxmed.report import Results, compare, split_sizes, stage

from .._common.frozen import frozen_features
from .._common.sets import ONE_LABEL

GRID = {"dataset": ("retinamnist", "breastmnist"), "seed": (0, 1, 2)}
FAMILIES = ("ResNet-8", "ViT", "ImageNet probe", "closed form")


@dataclasses.dataclass(frozen=True)
class Config:
    """One set, one seed.

    Args:
        dataset: a set of MedMNIST with one label an image.
        seed: of parameters, order of batches and random filters.
        members: networks of a kind.
        epochs: passes over the training images.
        batch: images of a step.
        learning_rate: of AdamW, at the start; it falls to 0 along a cosine.
        size: side of the images for ImageNet's network.
        units: random units of the closed form.
        examples: training images used at most; by default all.
    """

    dataset: str = one_of("retinamnist", ONE_LABEL, strict=False)
    seed: int = 0
    members: int = 5
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 2e-3
    size: int = 96
    units: int = 300
    examples: int | None = None


def run(config: Config, out: Path) -> Results:
    """Train each family, weigh them on the validation part, compare all on the test part."""
    entry = MEDMNIST.get(config.dataset)
    if entry is None or entry.task == "multilabel":
        raise ValueError(f"--dataset {config.dataset}: a set of MedMNIST with one label an image")
    if config.members < 2:
        raise ValueError(f"--members {config.members}: two or more")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts = {name: _read(config, name) for name in ("train", "val", "test")}
        truth = {name: column(part, "label") for name, part in parts.items()}
        classes = tuple(parts["train"].classes)
    said: dict[str, dict[str, np.ndarray]] = {}
    with stage(seconds, "networks"):
        several = _networks(config, parts, out / "resnet8")
        said["ResNet-8"] = {name: p[0] for name, p in several.items()}
        transformer = jm.networks.vit(len(classes), patch=4, width=64, depth=4, heads=4)
        alone = dataclasses.replace(config, members=1)
        said["ViT"] = {
            name: p[0] for name, p in _networks(alone, parts, out / "vit", transformer).items()
        }
    with stage(seconds, "probe"):
        said["ImageNet probe"] = _probe(config, parts, truth)
    with stage(seconds, "closed form"):
        said["closed form"] = _solved(config, parts, truth["val"])
    with stage(seconds, "ensembles"):
        held = {name: said[name]["val"] for name in FAMILIES}
        stack = weighted_average(held, truth["val"], loss="log")
        tested = {name: said[name]["test"] for name in FAMILIES}
        models = {
            **tested,
            f"{config.members} ResNet-8": several["test"].mean(0),
            "mean": pool(tested),
            "stack": stack.combine(tested),
        }
    weights = {f"weight/{name}": e for name, e in stack.estimates.items()}
    results = compare(
        truth["test"],
        models,
        classes=classes,
        cases=parts["test"].case_ids,
        metrics=("auc", "brier"),
        title=f"{config.dataset}: several networks against one",
        description=(
            f"{len(truth['train'])} training images; weights by {len(truth['val'])} validation "
            f"images: {', '.join(f'{n} {e.value:.2f}' for n, e in stack.estimates.items())}"
            f". Measured on {len(truth['test'])} test images."
        ),
        splits=split_sizes(parts, classes=classes),
        seconds=seconds,
        notes=tuple(parts["test"].notes),
    )
    metrics = {
        f"{name}/{metric}": dataclasses.replace(found[metric], name=f"{name}/{metric}")
        for name, found in results.comparison.models.items()
        for metric in ("auc", "brier")
    }
    return results.replace(metrics={**metrics, **weights})


def _read(config: Config, part: str) -> Any:
    """A part in memory, images in [-1, 1]."""
    source = map_source(
        medmnist(config.dataset, part), lambda e: {**e, "image": 2 * e["image"] - 1}, batched=True
    )
    found = in_memory(source)
    if part == "train" and config.examples is not None:
        found = in_memory(jm.data.subset(found, np.arange(min(config.examples, len(found)))))
    return found


def _networks(
    config: Config, parts: dict[str, Any], out: Path, net: Any = None
) -> dict[str, np.ndarray]:
    """Probabilities (members, images, classes) of the validation and the test part."""
    net = net or jm.networks.resnet8(len(parts["train"].classes), stem="small")
    feed = jm.data.batches(parts["train"], min(config.batch, len(parts["train"])), seed=config.seed)
    learner = jm.ensemble(
        jm.learner(
            jm.from_linen(net),
            jm.augmented(jm.supervised(jm.losses.cross_entropy), jm.augment.weak()),
            jm.train.optimizer(
                "adamw", config.learning_rate, schedule="cosine",
                steps=config.epochs * len(feed), weight_decay=1e-4,
            ),
        ),
        config.members,
    )  # fmt: skip
    result = jm.fit(learner, feed, seed=config.seed, epochs=config.epochs, out=out)
    return {
        name: special.softmax(
            jm.train.predict(learner, result.state, parts[name], size=200, axis=1), axis=-1
        )
        for name in ("val", "test")
    }


def _probe(
    config: Config, parts: dict[str, Any], truth: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    images = {name: (column(part, "image") + 1) / 2 for name, part in parts.items()}
    features = {
        name: frozen_features(x, "imagenet", size=config.size) for name, x in images.items()
    }
    probe = linear_probe(features["train"], truth["train"], classes=len(parts["train"].classes))
    return {name: probe.predict(features[name]) for name in ("val", "test")}


def _solved(config: Config, parts: dict[str, Any], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the closed form, scaled into probabilities on the validation part."""
    trunk = jm.networks.random_convolutions(
        maps=(32,), kernel=7, window=4, units=config.units, pooling=("sqrt",), spread=0.5,
        orthogonal=True,
    )  # fmt: skip
    machine = closed_form(jm.from_linen(trunk), ridge="gcv", classes=len(parts["train"].classes))
    feed = jm.data.batches(parts["train"], min(500, len(parts["train"])), seed=config.seed)
    sums = jm.fit(machine, feed, seed=config.seed, epochs=1, progress=False).state
    state = machine.solve(sums)
    scores = {
        name: jm.train.predict(machine, state, parts[name], size=200) for name in ("val", "test")
    }
    grid = np.logspace(0, 2, 81)
    losses = [
        -special.log_softmax(s * scores["val"], axis=-1)[np.arange(len(labels)), labels].mean()
        for s in grid
    ]
    sharp = grid[int(np.argmin(losses))]
    return {name: special.softmax(sharp * x, axis=-1) for name, x in scores.items()}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
