"""Draw medical images by a generator that learned from real ones, and judge them.

    jaxmed train synthesis --data breastmnist --model gaussian --seed 0

The generator learns from the training part alone, draws as many images of the same classes, and is
measured by the validation and test parts, which it has not seen and of which nothing is chosen:
kernel and Frechet distances on the features of EfficientNet-Lite0 at 96 px, precision and recall,
density and coverage, each beside that of the training images themselves (`real`, what a generator
of the very distribution would have) and, for the distances, of training images that are blurred by
.7 pixel; likeness within a class (MS-SSIM); whether drawn images are copies, beside held-out
images' nearness to training images; and use: the AUC, on real test images, of a probe of those
features that was taught by drawn images alone, by real ones, by both (`--cnn-steps 1000`: of a
small CNN too, which is taught by pixels).

With `--labels 20` the generator and the probes see twenty training images of each class and no
other: then the gain is that of few labels. Volumes of the hippocampus have no classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed.cli import one_of
from jaxmed.data import ArraySource
from jaxmed.report import GenerationResults, split_sizes, stage

from .._common.sets import few_of_each
from ._judge import judge
from ._models import MODELS, Model, trained
from ._sets import SETS, Parts, read

GRID = {"model": tuple(MODELS), "seed": (0, 1, 2)}
_HEADLINE = ("kernel_distance/synthetic", "recall/synthetic", "copies", "auc/synthetic")


@dataclasses.dataclass(frozen=True)
class Config:
    """One generator, trained and judged.

    Args:
        model: the generator.
        data: a set of MedMNIST with one label an image, or `hippocampus`: volumes.
        seed: of parameters, order of batches, draws and what is drawn.
        steps: of the training, where there is one.
        batch: images of a step.
        learning_rate: at the start.
        labels: training images of each class that are seen at all; by default all.
        drawn: images that are drawn; by default as many as were learned from.
        chunk: images drawn at once.
        cnn_steps: of small CNNs that are taught by pixels, beside the probes of features; 0 for
            none.
        components: of `gaussian`.
    """

    model: str = one_of("gaussian", MODELS)
    data: str = one_of("breastmnist", SETS)
    seed: int = 0
    steps: int = 5000
    batch: int = 32
    learning_rate: float = 1e-3
    labels: int | None = None
    drawn: int | None = None
    chunk: int = 64
    cnn_steps: int = 0
    components: int = 20


def run(config: Config, out: Path) -> GenerationResults:
    """Train the generator, draw, judge."""
    if config.drawn is not None and config.drawn < 20:
        raise ValueError(f"--drawn {config.drawn}: a distribution is judged by 20 images or more")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts = _parts(config)
    made = MODELS[config.model](config, parts.shape, len(parts.classes))
    model = Model(*made)
    source = parts.sources["train"]
    with stage(seconds, "training"):
        variables, history = trained(config, model, source, out)
        if model.save is not None:
            model.save(out, variables)
    count = len(source) if config.drawn is None else config.drawn
    with stage(seconds, "drawing"):
        # Of the same classes in the same shares as the images that were learned from.
        order = np.random.default_rng(config.seed).permutation(len(source))
        rows = np.resize(order, count)
        labels = source.arrays["label"][rows] if parts.classes else None
        given: Any = {name: source.arrays[name][rows] for name in model.conditions}
        drawn = gen.draw_images(
            model.draw, jm.stream(jax.random.key(config.seed), "drawn"), *variables, count,
            chunk=config.chunk, condition=given or None,
        )  # fmt: skip
    with stage(seconds, "evaluation"):
        # A probe may be taught by drawn images only if their class was chosen.
        found = judge(
            parts, drawn, labels if "label" in model.conditions else None, seed=config.seed,
            cnn_steps=config.cnn_steps,
        )  # fmt: skip
    return GenerationResults(
        title=f"{config.data}, {config.model}",
        classes=parts.classes,
        metrics=found.metrics,
        headline=tuple(name for name in _HEADLINE if name in found.metrics),
        description=(
            f"A generator ({config.model}) that learned from {len(source)} training images of "
            f"{config.data} drew {count}, of the same classes in the same shares. They are "
            "measured by the validation and test parts, of which nothing was chosen; training "
            "images in their place are measured by the same images."
        ),
        drawings=found.drawings,
        memorised=found.memorised,
    ).replace(
        splits=split_sizes(parts.sources, classes=parts.classes),
        history=history,
        seed=config.seed,
        seconds=seconds,
        notes=(*source.notes, *found.notes),
    )


def _parts(config: Config) -> Parts:
    parts = read(config.data, seed=config.seed)
    if config.labels is None:
        return parts
    if not parts.classes:
        raise ValueError(f"--labels {config.labels}: {config.data} has no classes")
    train = parts.sources["train"]
    rows = few_of_each(train.arrays["label"], config.labels, config.seed)
    few = ArraySource(
        {name: array[rows] for name, array in train.arrays.items()},
        case_ids=tuple(np.asarray(train.case_ids)[rows].tolist()),
        classes=parts.classes,
        notes=train.notes,
        name=train.name,
    )
    return parts._replace(sources={**parts.sources, "train": few})


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
