"""Vessels in photographs of the retina (DRIVE), with an encoder that has seen other pictures.

    jaxmed train drive --start imagenet
    jaxmed train drive --start scratch

An EfficientNet-Lite0 under a U-Net's decoder learns from patches of the 20 training images; the 20
test images are segmented in overlapping windows and measured once, inside the field of view, with
the parameters after the last step: nothing is selected. `imagenet` begins with ImageNet weights,
`frozen` keeps them and trains the decoder alone, `scratch` begins at random. Seeds draw the
parameters, the patches and the augmentation.

`dice`: mean over images and seeds. `auc`, of pixels, likewise. Differences to a run from scratch
(`--baseline`) are paired by seed and image (`jaxmed.stats.over_runs`). The second observer's Dice
with the first is .789; a U-Net's from the literature, trained for long on whole images, .814.
`jaxmed predict DIR image.tif` segments further photographs with the last seed's network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import jaxmed as jm
from jaxmed import quantities
from jaxmed.augment import brightness, chain, contrast, flip, rot90
from jaxmed.data import in_memory, map_source
from jaxmed.networks import PyramidHead
from jaxmed.paradigms import Head
from jaxmed.quantities import at_least
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    SegmentationResults,
    Split,
    TrainingLog,
    mask_picture,
    stage,
)
from jaxmed.stats import Estimate

from .._common.compared import compared, mean, notes_of, with_baseline
from .._common.kept import store, stored
from .._common.lite0 import imagenet, lite0


@dataclasses.dataclass(frozen=True)
class Config:
    """One start of the encoder.

    Args:
        start: ImageNet weights, the same frozen, or random ones.
        data: the folder DRIVE, by default in JAXMED_DATA.
        seeds: runs, one after another.
        seed: the first.
        steps: of training.
        batch: patches of a step.
        patch: edge of a patch in pixels.
        learning_rate: at the start; it falls to 0 along a cosine.
        baseline: folder of the finished run from scratch with the same settings.
    """

    start: Literal["imagenet", "frozen", "scratch"] = "imagenet"
    data: Path | None = None
    seeds: int = 2
    seed: int = 0
    steps: int = 200
    batch: int = 8
    patch: int = 96
    learning_rate: float = 2e-3
    baseline: Path | None = None


GRID = {"start": ("scratch", "imagenet", "frozen")}
SHARED = ("seeds", "seed", "steps", "batch", "patch", "learning_rate")
_LINEAR = (2.0, -1.0)  # from [0, 1] to what EfficientNet-Lite expects
_OVERLAP = 0.25


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own from scratch."""
    return with_baseline(config, folder, start="scratch")


def run(config: Config, out: Path) -> Results:
    """Train each seed, segment the test images, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test = (read(config, part) for part in ("training", "test"))
    scores: dict[str, list[list[float]]] = {"dice": [], "auc": []}
    said, weights, history = [], (None, None), ()
    for seed in range(config.seed, config.seed + config.seeds):
        with stage(seconds, f"training, seed {seed}"):
            predict, weights, history = fit(config, train, seed)
        with stage(seconds, "evaluation"):
            said = [probability(config, predict, example["image"]) for example in test]
            for name, metric in (("dice", dice), ("auc", auc)):
                scores[name].append([metric(e, p) for e, p in zip(test, said)])
    model = jm.inference.segmenter(recipe(config), *weights)
    jm.inference.save_model(out, model)
    arrays = {name: np.array(values) for name, values in scores.items()}
    store(out, config, SHARED, arrays)
    baseline = stored(config.baseline, config, SHARED) if config.baseline else None
    metrics = measure(arrays, baseline)
    order = np.argsort(arrays["dice"][-1])
    ranks = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    return SegmentationResults(
        title=f"Vessels in DRIVE, {config.start}",
        classes=("vessel",),
        metrics=metrics,
        headline=tuple(metrics)[:2],
        description=(
            f"EfficientNet-Lite0 under a U-Net's decoder, {config.start}; {config.seeds} seeds of "
            f"{config.steps} steps on {config.batch} patches of {config.patch} x {config.patch}. "
            f"The {len(test)} test images are measured inside the field of view; intervals speak "
            "for other seeds and images. The pictures are of the last seed."
        ),
        data=DataSummary(splits=(Split("train", len(train)), Split("test", len(test)))),
        training=TrainingLog(history=history),
        run=RunRecord(seconds=seconds),
        pictures=tuple(
            mask_picture(
                test.case_ids[i],
                test[i]["image"],
                test[i]["mask"] * test[i]["field"],
                at_least(said[i], 0.5) * test[i]["field"],
                rank=rank,
                caption=f"Dice {arrays['dice'][-1][i]:.3f}",
            )
            for rank, i in ranks.items()
        ),
        notes=notes_of(metrics),
    )


def read(config: Config, part: str) -> Any:
    """A part in memory, its pixels in -1 to 1: what EfficientNet-Lite expects, to a part in 250."""
    source = jm.data.drive(config.data or jm.data.data_root() / "DRIVE", part)
    gain, offset = _LINEAR
    return in_memory(map_source(source, lambda e: {**e, "image": gain * e["image"] + offset}))


def network(config: Config) -> jm.Network:
    """The encoder as it starts, under the decoder."""
    trunk = lite0()
    if config.start != "scratch":
        trunk = imagenet(trunk)
    if config.start == "frozen":
        trunk = jm.paradigms.frozen(trunk, evaluate=True)
    return jm.with_heads(trunk, {"logits": Head(jm.from_linen(PyramidHead(2)), "pyramid")})


def fit(config: Config, train: Any, seed: int) -> Any:
    """Train one seed: a function from windows to probabilities of a vessel, and its weights."""
    cut = jm.data.random_patch((config.patch, config.patch))
    batches = jm.data.batches(train, config.batch, seed=seed, transform=cut, remainder="drop")
    objective = jm.augmented(
        jm.supervised(jm.losses.dice_ce, target="mask"),
        chain(flip(), rot90(), brightness(0.1), contrast((0.8, 1.25))),
    )
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-4
    )
    learner = jm.learner(network(config), objective, optimizer)
    result = jm.fit(
        learner, batches, seed=seed, steps=config.steps, monitor="train/loss", mode="min"
    )
    state = result.state

    @jax.jit
    def predict(windows: jax.Array) -> jax.Array:
        return jax.nn.softmax(learner.predict(state, windows)["logits"])[..., 1:]

    return predict, learner.predicting.get(state), result.history


def probability(config: Config, predict: Callable, image: np.ndarray) -> np.ndarray:
    """Of a vessel at each pixel, from overlapping windows of four patches' area."""
    found = jm.inference.sliding_window(
        predict, image, window(config), overlap=_OVERLAP, value=_LINEAR[1]
    )
    return found[..., 0]


def window(config: Config) -> tuple[int, int]:
    """Edges of a window in prediction."""
    return (2 * config.patch, 2 * config.patch)


def recipe(config: Config) -> jm.inference.Recipe:
    """What `jaxmed predict` does to a photograph."""
    return jm.inference.Recipe(
        classes=("background", "vessel"),
        channels=("red", "green", "blue"),
        spacing=(1.0, 1.0),
        patch=window(config),
        overlap=_OVERLAP,
        net=network(config),
        normalisation="linear",
        linear=_LINEAR,
    )


def dice(example: dict[str, Any], p: np.ndarray) -> float:
    """Of the pixels in the field of view."""
    field = example["field"] == 1
    true, said = example["mask"][field] == 1, at_least(p[field], 0.5)
    return float(quantities.dice((true & said).sum(), said.sum(), true.sum(), empty=0.0))


def auc(example: dict[str, Any], p: np.ndarray) -> float:
    """Of the pixels in the field of view."""
    field = example["field"] == 1
    return float(quantities.auc(example["mask"][field] == 1, p[field]))


def measure(
    scores: dict[str, np.ndarray], baseline: dict[str, np.ndarray] | None
) -> dict[str, Estimate]:
    """Means over seeds and images, and differences to the baseline."""
    found = {}
    for name, values in scores.items():
        other = None if baseline is None else baseline[name]
        found |= compared(mean, np.zeros(values.shape[1]), values, other, name)
    return found


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
