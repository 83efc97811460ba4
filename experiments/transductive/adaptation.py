"""Test images of another camera: a network adapts to them without labels.

    jaxmed train adaptation --dataset retinamnist --seeds 5

A small ResNet with BatchNorm is trained on a MedMNIST set. Its test images are then changed, all in
the same way: darker, of less contrast, of another colour, blurred, noisy; or left as they are.
Three predictions of the same network are compared: by its running statistics (`source`), by those
of the test images (`statistics`), and after one pass of steps that lower the entropy (`tent`, with
the filter and the reset that are its defaults). Test images come in batches of mixed classes; their
labels are used to measure and for nothing else. No setting was chosen on any of them.

`shift/auc/tent/difference` is the gain over `source`, paired by seed and image; intervals speak for
new seeds and new images. Measured: docs/paradigms/transductive.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from scipy import ndimage, special

import jaxmed as jm
from jaxmed import paradigms, quantities
from jaxmed.cli import one_of
from jaxmed.core import Learner, Network
from jaxmed.data import MEDMNIST, column, in_memory, map_source, medmnist
from jaxmed.report import (
    ClassificationResults,
    DataSummary,
    Results,
    TrainingLog,
    split_sizes,
    stage,
)

from .._common.compared import compared, notes_of
from .._common.sets import ONE_LABEL

_CAST = np.array([1.25, 0.9, 0.6], np.float32)  # of the three colours, by another camera
SHIFTS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "none": lambda rng, x: x,
    "darker": lambda rng, x: 0.5 * x,
    "contrast": lambda rng, x: 0.5 + 0.4 * (x - x.mean((1, 2, 3), keepdims=True)),
    "colour": lambda rng, x: x * _CAST[: x.shape[-1]],
    "blurred": lambda rng, x: ndimage.gaussian_filter(x, (0, 1.2, 1.2, 0)),
    "noisy": lambda rng, x: x + rng.normal(0, 0.08, x.shape),
}
ARMS = ("source", "statistics", "tent")
GRID = {"dataset": ("retinamnist", "breastmnist")}


@dataclasses.dataclass(frozen=True)
class Config:
    """One set, all shifts.

    Args:
        dataset: a set of MedMNIST with one label an image.
        seeds: trainings, of other parameters and orders.
        epochs: passes over the training images.
        batch: training images of a step.
        learning_rate: of Adam, at the start; it falls to 0 along a cosine.
        adapting_batch: test images that share their statistics, about.
        adapting_rate: of the steps on test images.
        examples: training images used at most; by default all.
    """

    dataset: str = one_of("retinamnist", ONE_LABEL, strict=False)
    seeds: int = 5
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 3e-3
    adapting_batch: int = 100
    adapting_rate: float = 1e-3
    examples: int | None = None


def run(config: Config, out: Path) -> Results:
    """Train, change the test images, adapt, measure."""
    entry = MEDMNIST.get(config.dataset)
    if entry is None or entry.task == "multilabel":
        raise ValueError(f"--dataset {config.dataset}: a set of MedMNIST with one label an image")
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test = (in_memory(medmnist(config.dataset, part)) for part in ("train", "test"))
        if config.examples is not None:
            train = in_memory(jm.data.subset(train, np.arange(min(config.examples, len(train)))))
        images, labels = (column(test, name) for name in ("image", "label"))
        shifted = {
            name: np.clip(change(np.random.default_rng(0), images), 0, 1).astype(np.float32)
            for name, change in SHIFTS.items()
        }
    network = jm.from_linen(jm.networks.resnet8(len(train.classes), stem="small"))
    feed_size = min(config.batch, len(train))
    steps = config.epochs * -(-len(train) // feed_size)
    learner = jm.learner(
        network,
        jm.augmented(jm.supervised(jm.losses.cross_entropy), jm.augment.flip((0, 1))),
        jm.train.optimizer("adam", config.learning_rate, schedule="cosine", steps=steps),
    )
    examples = in_memory(map_source(train, lambda e: {**e, "image": scaled(e["image"])}))
    scores: dict[tuple[str, str], list[np.ndarray]] = {
        (shift, arm): [] for shift in SHIFTS for arm in ARMS
    }
    history: Any = ()
    adapted = Adapted(config)
    for seed in range(config.seeds):
        with stage(seconds, "training"):
            feed = jm.data.batches(examples, feed_size, seed=seed)
            result = jm.fit(learner, feed, seed=seed, steps=steps, out=out / f"seed_{seed}")
            source = paradigms.pretrained(network, *learner.predicting.get(result.state))
            history = history or result.history
        with stage(seconds, "adaptation"):
            for shift, x in shifted.items():
                for arm, found in adapted(source, scaled(x), seed).items():
                    scores[shift, arm].append(found)
    metrics = {}
    for shift in SHIFTS:
        for name, metric in (("auc", quantities.macro_auc), ("accuracy", _accuracy)):
            baseline = np.stack(scores[shift, "source"])
            for arm in ARMS:
                metrics |= compared(
                    metric, labels, np.stack(scores[shift, arm]),
                    None if arm == "source" else baseline, f"{shift}/{name}/{arm}",
                )  # fmt: skip
    return ClassificationResults(
        task="binary" if len(test.classes) == 2 else "multi-class",
        title=f"{config.dataset}: adaptation to changed test images",
        classes=tuple(test.classes),
        metrics=metrics,
        headline=tuple(f"{shift}/auc/tent/difference" for shift in SHIFTS),
        description=(
            f"{config.seeds} ResNets of {config.epochs} epochs. {len(labels)} test images, changed "
            f"in {len(SHIFTS) - 1} ways, in batches of about {config.adapting_batch}; one pass of "
            "adaptation."
        ),
        data=DataSummary(splits=split_sizes({"train": train, "test": test})),
        training=TrainingLog(history=history),
        notes=notes_of(metrics),
    ).replace(seconds=seconds)


def scaled(x: np.ndarray) -> np.ndarray:
    """From [0, 1] to [-1, 1]."""
    return 2 * np.asarray(x, np.float32) - 1


class Adapted:
    """Predictions of test images by each arm; each of its programs is compiled once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.step: Any = None
        self.predict: dict[str, Any] = {}

    def __call__(self, source: Network, x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Probabilities (images, classes) by arm.

        Args:
            source: the trained network, begun with its parameters.
            x: all test images.
            seed: of the order in which they come.
        """
        order = np.random.default_rng(seed).permutation(len(x))
        rows = np.array_split(order, -(-len(x) // self.config.adapting_batch))
        found = {}
        for arm, learner in self._learners(source).items():
            # Parameters are in the state: the first network's programs serve all seeds.
            predict = self.predict.setdefault(arm, jax.jit(learner.predict))
            state = learner.init(jax.random.key(seed), {"image": x[rows[0]]})
            if arm == "tent":
                self.step = self.step or jax.jit(learner.step)
                for some in rows:
                    state, _ = self.step(state, {"image": x[some]})
            logits = np.concatenate([predict(state, x[some])["logits"] for some in rows])
            found[arm] = np.zeros_like(logits)
            found[arm][order] = special.softmax(logits, axis=-1)
        return found

    def _learners(self, source: Network) -> dict[str, Learner]:
        objective, still = jm.supervised(jm.losses.cross_entropy), optax.sgd(0.0)
        rate = self.config.adapting_rate
        return {
            "source": jm.learner(source, objective, still),
            "statistics": jm.learner(paradigms.batch_statistics(source), objective, still),
            "tent": paradigms.tent(source, optax.sgd(rate, momentum=0.9)),
        }


def _accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    return float((scores.argmax(-1) == labels).mean())


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
