"""Clusters of a MedMNIST set's images, found without labels and measured against them.

    jaxmed train clusters --dataset breastmnist
    jaxmed train clusters --dataset retinamnist --features imagenet

Images become pixels, or the features of EfficientNet-Lite0 trained on ImageNet; their first
principal components are clustered on the training images by k-means and by a mixture of Gaussians,
with as many clusters as there are classes. The test images then take the clusters, and these are
compared with the classes. Maps of the test images tell how far a plane may be trusted.

`k-means/adjusted Rand index` is 0 for clusters that know nothing of the classes and 1 for the
classes themselves; intervals are over test images, the clusters being given. No label is used to
find a cluster. Measured: .014 on BreastMNIST with pixels, .096 with ImageNet's features; .048 and
.117 on RetinaMNIST (.130 and .132 with two other seeds, the others agree). A run takes a minute of
a CPU core, most of it compiling.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxmed import report, stats
from jaxmed import unsupervised as un
from jaxmed.cli import one_of
from jaxmed.core import stream
from jaxmed.data import in_memory, medmnist
from jaxmed.report import ClassificationResults, DataSummary, Results, RunRecord, Split, stage

from .._common.frozen import frozen_features
from .._common.sets import FLAT


@dataclasses.dataclass(frozen=True)
class Config:
    """One set, one kind of features.

    Args:
        dataset: one of MedMNIST's 2D sets with one class an image.
        features: pixels, or a network trained on ImageNet.
        components: principal components that are clustered.
        clusters: how many; by default as many as classes.
        restarts: starts of each, of which the best is kept.
        size: side of the images for ImageNet's network.
        seed: of the starts and the maps.
    """

    dataset: str = one_of("breastmnist", FLAT, strict=False)
    features: Literal["pixels", "imagenet"] = "pixels"
    components: int = 20
    clusters: int | None = None
    restarts: int = 10
    size: int = 128
    seed: int = 0


GRID = {"dataset": ("breastmnist", "retinamnist"), "features": ("pixels", "imagenet")}


def run(config: Config, out: Path) -> Results:
    """Cluster the training images, compare the test images' clusters with their classes."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test = (in_memory(medmnist(config.dataset, part)) for part in ("train", "test"))
        if np.ndim(test.arrays["label"]) != 1:
            raise ValueError(f"{config.dataset} has several labels an image: no one partition")
    with stage(seconds, "features"):
        seen, new = (
            frozen_features(part.arrays["image"], config.features, size=config.size)
            for part in (train, test)
        )
    with stage(seconds, "clusters"):
        names = tuple(test.classes)
        metrics, clusters = measure(config, seen, new, test.arrays["label"], len(names))
    with stage(seconds, "maps"):
        maps = report.projections(new, seed=config.seed)
        for drawn in maps:
            assert drawn.trust is not None
            name = f"{drawn.name}/trustworthiness"
            metrics[name] = dataclasses.replace(drawn.trust, name=name)
        figure = report.projection_figure(
            None, test.arrays["label"], maps=maps, classes=names, images=test.arrays["image"]
        )
        out.mkdir(parents=True, exist_ok=True)
        figure.savefig(out / "maps.png", dpi=160)
        np.savetxt(out / "clusters.csv", clusters, fmt="%d", header="cluster", comments="")
    return ClassificationResults(
        title=f"Clusters of {config.dataset}: {config.features}",
        task="multi-class",
        classes=names,
        metrics=metrics,
        headline=("k-means/adjusted Rand index", "mixture/adjusted Rand index"),
        description=(
            f"{config.components} principal components of {config.features}; clusters of "
            f"{len(seen)} training images, compared with the classes of {len(new)} test images. "
            "maps.png shows the test images."
        ),
        data=DataSummary(splits=(Split("train", len(seen)), Split("test", len(new)))),
        run=RunRecord(seconds=seconds),
        notes=(*test.notes, report.NOT_MEANT),
    )


def measure(
    config: Config, seen: np.ndarray, new: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Agreement of the test images' clusters with their classes, and k-means' clusters."""
    key = jax.random.key(config.seed)
    k = config.clusters or classes
    most = min(config.components, len(seen) - 1, seen.shape[1])
    components = un.pca(seen, most)
    learned, tested = components.project(seen), components.project(new)
    found = un.kmeans(stream(key, "k-means"), learned, k, restarts=config.restarts)
    mixture = un.gaussian_mixture(
        stream(key, "mixture"), learned, k, restarts=config.restarts, covariance="diagonal"
    )
    ways = {"k-means": found.assign(tested).labels, "mixture": mixture.assign(tested)}
    metrics: dict[str, Any] = {}
    for way, clusters in ways.items():
        for measured in (un.adjusted_rand, un.normalised_mutual_information):
            estimate = measured(labels, clusters)
            name = f"{way}/{estimate.name}"
            metrics[name] = dataclasses.replace(estimate, name=name)
        if len(set(clusters.tolist())) > 1:
            name = f"{way}/silhouette"
            metrics[name] = stats.mean(un.silhouettes(tested, clusters), bounds=(-1, 1), name=name)
    return metrics, ways["k-means"]


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
