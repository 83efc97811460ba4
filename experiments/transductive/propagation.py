"""Classify test images by a graph that joins them to a few labelled ones.

    jaxmed train propagation --dataset mnist --labels 10
    jaxmed train propagation --dataset breastmnist --features imagenet

Some images a class are drawn from the training set with their labels. Features that no label has
formed are made of these and of all test images, and both become the nodes of one graph of nearest
neighbours: harmonic functions, label spreading and Poisson learning classify the test images by
it. Beside them, on the same features, stand methods that look at the labelled images alone: a
linear probe and the nearest neighbour. All are compared on the same test images.

Settings were chosen on 10,000 of MNIST's training images. Measured: docs/paradigms/transductive.md.
A run takes half a minute of a CPU core.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

import jaxmed as jm
from jaxmed import unsupervised as un
from jaxmed.cli import one_of
from jaxmed.data import MEDMNIST, in_memory, medmnist
from jaxmed.protocols import knn_probe, label_propagation, linear_probe
from jaxmed.report import Results, compare, split_sizes, stage

from .._common.compared import of_models
from .._common.frozen import Frozen, frozen_features
from .._common.sets import DIGITS, ONE_LABEL, few_of_each

GRID = {"dataset": ("mnist", "breastmnist"), "labels": (1, 10), "seed": (0, 1, 2)}
KINDS = ("harmonic", "spreading", "poisson")


@dataclasses.dataclass(frozen=True)
class Config:
    """One draw of labelled images.

    Args:
        dataset: `mnist`, `usps`, or one of MedMNIST's sets with one label an image.
        labels: labelled images a class.
        features: pixels, maps of random convolutions, or ImageNet's network.
        components: principal components, each brought to a standard deviation of 1.
        k: neighbours of a node.
        size: side of the images for ImageNet's network.
        seed: of the labelled images.
    """

    dataset: str = one_of("mnist", (*DIGITS, *ONE_LABEL), strict=False)
    labels: int = 10
    features: Frozen = "random"
    components: int = 50
    k: int = 10
    size: int = 128
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Draw labelled images, join them to the test images, compare what says most of these."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test = map(in_memory, _parts(config.dataset))
        labels = jm.data.column(train, "label")
        drawn = few_of_each(labels, config.labels, config.seed)
        few = in_memory(jm.data.subset(train, drawn))
        known, truth = (jm.data.column(part, "label") for part in (few, test))
    with stage(seconds, "features"):
        images = np.concatenate([few.arrays["image"], test.arrays["image"]])
        made = frozen_features(images, config.features, size=config.size)
        most = min(config.components, len(made) - 1, made.shape[1])
        places = un.pca(made, most).project(made, whiten=True)
    with stage(seconds, "graph"):
        seen, new = places[: len(known)], places[len(known) :]
        classes = tuple(test.classes)
        predicted = {
            kind: label_propagation(
                seen, known, new, kind=kind, k=config.k, classes=len(classes)
            ).predicted
            for kind in KINDS
        }
    with stage(seconds, "labelled images alone"):
        predicted["linear probe"] = linear_probe(seen, known).predict(new).argmax(1)
        predicted["nearest neighbour"] = knn_probe(seen, known, new, k=1).argmax(1)
    results = compare(
        truth,
        {name: np.eye(len(classes))[found] for name, found in predicted.items()},
        hard=True,
        classes=classes,
        cases=test.case_ids,
        metrics=("accuracy",),
        title=f"{config.dataset}: {config.labels} labels a class, and a graph of the test images",
        description=(
            f"{len(known)} labelled images, {len(new)} test images; {most} principal components "
            f"of {config.features} features, {config.k} neighbours."
        ),
        splits=split_sizes({"labelled": few, "test": test}, classes=classes),
        seconds=seconds,
        notes=(
            *test.notes,
            "Features, components and graph are made of the test images too, without their labels.",
        ),
    )
    return results.replace(metrics=of_models(results, "accuracy"))


def _parts(dataset: str) -> list:
    if dataset in DIGITS:
        return [DIGITS[dataset](part) for part in ("train", "test")]
    entry = MEDMNIST.get(dataset)
    if entry is None or entry.task == "multilabel":
        raise ValueError(
            f"--dataset {dataset}: {', '.join(DIGITS)}, or a set of MedMNIST with one label an "
            "image"
        )
    return [medmnist(dataset, part) for part in ("train", "test")]


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
