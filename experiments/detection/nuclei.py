"""Find the centres of nuclei in H&E images of colon cancer: F1 within a distance.

    jaxmed train nuclei --seed 0

A small U-Net learns how deep each pixel lies in a disc around its nucleus's centre; pieces that a
watershed parts are nuclei, their middles the centres found. Pairs within `distance` pixels are
hits, one to one. Images are dealt into folds, one of which is held out. The default run takes some
five minutes of CPU time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, optimize
from scipy.spatial import cKDTree

import jaxmed as jm
from jaxmed import stats
from jaxmed.augment import chain, flip, rot90
from jaxmed.data import random_patch
from jaxmed.detection import InstanceForm
from jaxmed.inference import InstanceRecipe, instance_model, sliding_window
from jaxmed.networks import plan_unet
from jaxmed.report import InstanceResults, split_sizes, stage
from jaxmed.report.results._instances import FoundInstances, InstancePicture

from .._common.scans import shaded

_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_ASKED = 10  # Training images on which one of these is chosen.


@dataclasses.dataclass(frozen=True)
class Config:
    """One training.

    Args:
        data: the folder CRCHistoPhenotypes_2016_04_28; by default that below JAXMED_DATA.
        folds: parts of the images, of which one is held out.
        fold: which, from 0.
        radius: of the disc that is learned around a centre, in pixels.
        distance: of a hit, in pixels.
        patch: edge of a patch.
        batch: patches of a step.
        features: channels of the U-Net's first stage.
        steps: of the training.
        learning_rate: of AdamW, rising over a twentieth of the steps, then falling to 0.
        seed: of folds, parameters, order and augmentation.
    """

    data: Path | None = None
    folds: int = 5
    fold: int = 0
    radius: float = 5.0
    distance: float = 6.0
    patch: int = 128
    batch: int = 4
    features: int = 16
    steps: int = 300
    learning_rate: float = 2e-3
    seed: int = 0


def run(config: Config, out: Path) -> InstanceResults:
    """Train, find, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        folder = config.data or jm.data.data_root() / "CRCHistoPhenotypes_2016_04_28"
        source = jm.data.colon_centres(folder)
        dealt = jm.data.folds(len(source), config.folds, seed=config.seed)[config.fold]
        parts = {
            "train": jm.data.subset(source, dealt.train),
            "held out": jm.data.subset(source, dealt.test),
        }
        train = jm.data.map_source(parts["train"], lambda one: _prepared(one, config.radius))
        train = jm.data.in_memory(train)
    form = InstanceForm("depths", size=config.radius, most=max(1, int(train.arrays["mask"].max())))
    plan = plan_unet((config.patch,) * 2, base_features=config.features, max_features=128)
    recipe = InstanceRecipe(
        ("red", "green", "blue"), (config.patch,) * 2, form, plan, normalisation="unit"
    )
    batches = jm.data.batches(
        train, config.batch, seed=config.seed,
        transform=random_patch(recipe.patch, foreground=0.5),
    )  # fmt: skip
    network = recipe.network()
    learner = _learner(config, form, network)
    with stage(seconds, "training"):
        trained = jm.fit(learner, batches, seed=config.seed, steps=config.steps, out=out)
    model = instance_model(recipe, *learner.predicting.get(trained.state))

    def centres(image: np.ndarray) -> list[np.ndarray]:
        said = sliding_window(model.predict, _scaled(image), recipe.patch, overlap=0.25, size=1)
        return [middles(x) for x in form.find_at(said, _THRESHOLDS, smallest=5)]

    with stage(seconds, "threshold"):
        rows = range(0, len(train), max(1, len(train) // _ASKED))
        asked = [parts["train"][i] for i in rows]
        read = [centres(one["image"]) for one in asked]
        best = int(
            np.argmax([_f1(asked, [r[k] for r in read], config) for k in range(len(_THRESHOLDS))])
        )
    with stage(seconds, "evaluation"):
        test = [parts["held out"][i] for i in range(len(dealt.test))]
        found = [centres(one["image"])[best] for one in test]
        results = measured(
            [one["point"] for one in test], found, config.distance,
            cases=tuple(source.case_ids[i] for i in dealt.test),
            images=[one["image"] for one in test],
        )  # fmt: skip
    return results.replace(
        title="Centres of nuclei",
        description=(
            f"A U-Net learns how deep each pixel lies in a disc of {config.radius:g} pixels around "
            f"a centre; {config.steps} steps of {config.batch} patches of {config.patch} pixels. A "
            f"hit is within {config.distance:g} pixels. The threshold, {_THRESHOLDS[best]:g}, was "
            "chosen on training images; those held out were read once."
        ),
        splits=split_sizes(parts),
        partition="by image; no patients are named",
        history=trained.history,
        seconds=seconds,
    )


def discs(points: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """A label map: each pixel is of the nearest centre, if that is within the radius."""
    labels = np.zeros(shape, np.int32)
    if len(points):
        grid = np.indices(shape).reshape(2, -1).T
        far, at = cKDTree(points).query(grid, distance_upper_bound=radius)
        labels = np.where(np.isfinite(far), at + 1, 0).reshape(shape).astype(np.int32)
    return labels


def middles(labels: np.ndarray) -> np.ndarray:
    """Centres of mass (objects, 2) of a label map's objects."""
    names = np.arange(1, labels.max() + 1)
    found = ndimage.center_of_mass(labels > 0, labels, names)
    return np.asarray(found, np.float64).reshape(-1, 2)


def pairs(true: np.ndarray, found: np.ndarray, distance: float) -> np.ndarray:
    """Positions (hits, 2) of true and found points within a distance: as many as can be."""
    if not len(true) or not len(found):
        return np.zeros((0, 2), int)
    far = np.linalg.norm(true[:, None] - found, axis=-1)
    # A pair that is no hit costs more than all hits together, so that none is given up for it.
    cost = np.where(far <= distance, far, 1.0 + distance * min(far.shape))
    rows, columns = optimize.linear_sum_assignment(cost)
    hit = far[rows, columns] <= distance
    return np.stack([rows[hit], columns[hit]], 1)


def measured(
    true: list[np.ndarray],
    found: list[np.ndarray],
    distance: float,
    *,
    cases: tuple[str, ...],
    images: list[np.ndarray],
) -> InstanceResults:
    """Precision, recall and F1 over all images, with intervals over images."""
    hits = [pairs(t, f, distance) for t, f in zip(true, found, strict=True)]
    counts = np.array([[len(t), len(f), len(h)] for t, f, h in zip(true, found, hits, strict=True)])
    objects, number, both = counts.T.astype(float)

    def share(part: Any, whole: Any, weights: Any) -> Any:
        under = weights @ whole
        return np.where(under > 0, weights @ part / np.where(under > 0, under, 1), np.nan)

    metrics = {
        name: stats.bootstrap(
            share, part, whole, weighted=True, method="percentile", n_resamples=1000, unit="image",
            name=f"{told} within {distance:g} pixels",
        )
        for name, told, part, whole in (
            ("f1", "F1", 2 * both, objects + number),
            ("precision", "precision", both, number),
            ("recall", "recall", both, objects),
        )
    }  # fmt: skip
    order = np.argsort(2 * both / np.maximum(objects + number, 1), kind="stable")
    picked = {int(order[0]): "most errors", int(order[len(order) // 2]): "middle"}
    picked.setdefault(int(order[-1]), "fewest errors")
    drawn = tuple(
        InstancePicture(
            cases[i], rank, images[i], _marks(true[i], found[i], hits[i], images[i].shape[:2]),
            f"{int(both[i])} of {int(objects[i])} nuclei found, {int(number[i] - both[i])} false",
        )
        for i, rank in picked.items()
    )  # fmt: skip
    return InstanceResults(
        title="Centres", classes=(), metrics=metrics, headline=("f1", "precision", "recall"),
        found=FoundInstances(cases, *counts.T), drawn=drawn,
    )  # fmt: skip


def _marks(true: Any, found: Any, hits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where to mark hits (1), missed (2) and false (3) points: squares around them."""
    told = np.zeros(shape, np.uint8)
    missed = np.setdiff1d(np.arange(len(true)), hits[:, 0])
    false = np.setdiff1d(np.arange(len(found)), hits[:, 1])
    for value, points in ((1, found[hits[:, 1]]), (2, true[missed]), (3, found[false])):
        for row, column in np.rint(points).astype(int):
            told[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = value
    return told


def _f1(asked: list[Any], found: list[np.ndarray], config: Config) -> float:
    hits = sum(
        len(pairs(a["point"], f, config.distance)) for a, f in zip(asked, found, strict=True)
    )
    return 2 * hits / max(sum(len(a["point"]) + len(f) for a, f in zip(asked, found)), 1)


def _scaled(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def _prepared(one: dict[str, Any], radius: float) -> dict[str, Any]:
    mask = discs(one["point"], one["image"].shape[:2], radius)
    return {"image": _scaled(one["image"]), "mask": mask}


def _learner(config: Config, form: InstanceForm, network: jm.Network) -> jm.Learner:
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="warmup_cosine", steps=config.steps,
        weight_decay=1e-4, clip=5.0,
    )  # fmt: skip
    objective = jm.augmented(
        jm.supervised(form, target="mask"), chain(flip(), rot90(), shaded(), masks=("mask",))
    )
    learner = jm.learner(network, objective, optimizer)
    return jm.train.parameter_average(learner, min(0.98, 1 - 10 / max(config.steps, 20)))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
