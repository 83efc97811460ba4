"""Epithelium in H&E images of colon cancer, from one answer an image: bags of nuclei.

    jaxmed train epithelium

An image is a bag of patches around its nuclei, positive if one of them is epithelial; nobody tells
the network which (attention pooling, as in `mil`). Nuclei are of known kinds, so that what the
attention points at is measured and not only drawn: `attention/auc` is of the weights as scores of
epithelial nuclei among the others of their image, `attention/untrained` the same of a network that
has learned nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed import quantities, stats
from jaxmed.augment import CORRUPTIONS, corruption
from jaxmed.data import NUCLEI
from jaxmed.report import Results, Robustness, Split, classification, stage

from .._common.bag_heat import heat_maps
from .._common.bags import Bags, BagTraining, dealt, read_bags, train
from .._common.compared import named
from ._cases import folder, times
from ._sets import sets_of

_STRENGTHS, _MIDDLE = range(1, 6), 3


@dataclasses.dataclass(frozen=True)
class Config(BagTraining):
    """One study.

    Args:
        data: the folder CRCHistoPhenotypes_2016_04_28, or a file of packed patches; by default that
            folder in JAXMED_DATA.
        corrupted: images, drawn at random, on which corruptions in five strengths are measured; 0
            for none.
        level: coverage that the sets of classes promise.
    """

    data: Path | None = None
    repeats: int = 3
    epochs: int = 30
    most: int | None = 48
    corrupted: int = 40
    level: float = 0.9


def run(config: Config, out: Path) -> Results:
    """Read, cross-validate, judge."""
    seconds: dict[str, float] = {}
    place = folder(config.data, "CRCHistoPhenotypes_2016_04_28")
    with stage(seconds, "data"):
        bags = read_bags(place, table=False)
        labels = bags.arrays["label"]
        held = dealt(config, labels)
    with stage(seconds, "training"):
        predict, result = train(config, bags, [fold.train for fold in held], out)
    by_bag = {int(bag): i for i, fold in enumerate(held[: config.folds]) for bag in fold.test}
    with stage(seconds, "evaluation"):
        logits = np.zeros((config.repeats, len(labels), 2))
        for i, fold in enumerate(held):
            for bag in fold.test:
                logits[i // config.folds, bag] = predict(i, bag)["logits"]
        said = special.softmax(logits, axis=-1)
        attention = _attention(bags, lambda bag: predict(by_bag[bag], bag))
        blank = _attention(bags, lambda bag: predict(None, bag))
    names = tuple(map(str, bags.source.case_ids))
    results = classification(
        labels, said.mean(0), classes=tuple(bags.source.classes), cases=names,
        title="Epithelium in bags of nuclei",
    )  # fmt: skip
    metrics = dict(results.metrics)
    for name, of in (("auc", _auc), ("accuracy", _accuracy)):
        metrics[f"{name} over seeds"] = stats.over_runs(of, labels, said, name=f"{name} over seeds")
    parts = [fold.test for fold in held[: config.folds]]
    metrics |= sets_of(labels, said[0], parts, config.level)
    metrics |= named(
        {
            f"attention/{name}": stats.mean(_pointed(bags, weights), bounds=(0.0, 1.0))
            for name, weights in (("auc", attention), ("untrained", blank))
        }
    )
    robustness = None
    if config.corrupted:
        with stage(seconds, "corruptions"):
            robustness = _corrupted(config, bags, lambda bag, x: predict(by_bag[bag], bag, x))
        rows = robustness.corrupted.items()
        metrics |= named({f"auc/{name} {_MIDDLE}": row[_MIDDLE - 1] for name, row in rows})
    pictures = heat_maps(place, bags, said.mean(0), attention) if place.is_dir() else ()
    return results.replace(
        metrics=metrics,
        headline=(*results.headline, "auc over seeds", "attention/auc"),
        description=(
            f"{len(labels)} images as bags of {int(bags.arrays['bag_mask'].sum())} patches around "
            f"nuclei; {config.pooling} pooling, {config.epochs} epochs. {config.folds} folds of "
            f"images, dealt {times(config.repeats)}; an image's probability is the mean of its "
            "predictions by networks that have not seen it. Nothing was selected."
        ),
        splits=(Split("cross-validated", len(labels)),),
        partition=f"{config.folds} folds of images, {times(config.repeats)}",
        seed=config.seed,
        history=result.history,
        seconds=seconds,
        pictures=pictures,
        robustness=robustness,
    )


def _auc(labels: np.ndarray, said: np.ndarray) -> float:
    return quantities.auc(labels == 1, said[:, 1])


def _accuracy(labels: np.ndarray, said: np.ndarray) -> float:
    return float((quantities.largest(said) == labels).mean())


def _attention(bags: Bags, predict: Callable[[int], Any]) -> np.ndarray:
    """(bags, instances) weights, 0 where there is no instance."""
    weights = np.zeros(bags.arrays["bag_mask"].shape)
    for bag in range(len(weights)):
        found = predict(bag)["attention"]
        weights[bag, : len(found)] = found
    return weights


def _pointed(bags: Bags, weights: np.ndarray) -> np.ndarray:
    """Of each image with epithelial and other nuclei the AUC of the weights for the former."""
    kind, mask = bags.arrays["kind"], bags.arrays["bag_mask"] > 0
    found = []
    for own, real, weight in zip(kind, mask, weights, strict=True):
        is_epithelial = own[real] == NUCLEI.index("epithelial")
        if 0 < is_epithelial.sum() < len(is_epithelial):
            found.append(quantities.auc(is_epithelial, weight[real]))
    return np.array(found)


def _corrupted(config: Config, bags: Bags, predict: Callable[[int, np.ndarray], Any]) -> Robustness:
    """The AUC of images whose patches are corrupted after training."""
    labels, patches = bags.arrays["label"], bags.arrays["image"]
    n = len(labels)
    rows = np.sort(np.random.default_rng(0).permutation(n)[: config.corrupted])
    key = jax.random.key(0)

    def measured(name: str = "", strength: int = 0) -> stats.Estimate:
        said = []
        for bag in map(int, rows):
            images = patches[bag]
            if name:
                change = corruption(name, strength, size=images.shape[1])
                batch = {"image": jnp.asarray(images, jnp.float32) / 255}
                made = change(jm.stream(key, name, strength, bag), batch)["image"]
                images = 255 * np.clip(np.asarray(made), 0, 1)
            logits = predict(bag, images.astype(np.float32))["logits"]
            said.append(special.softmax(logits.astype(float)))
        return stats.over_runs(_auc, labels[rows], np.stack(said)[None], name="auc")

    return Robustness(
        "AUC", measured(),
        {name: [measured(name, s) for s in _STRENGTHS] for name in CORRUPTIONS},
    )  # fmt: skip


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
