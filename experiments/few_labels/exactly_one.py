"""Learn digits from few labels, and from knowing that every image is exactly one of them.

    jaxmed train exactly_one --network mlp
    jaxmed train exactly_one --network cnn --seed 1

Some labels a class are drawn from the training images; of all others the images alone are used. A
network learns from the labels, and once more, from the same labels in the same order, with the
semantic loss of one premise added: exactly one class is true of every image, labelled or not. Every
image that a step sees has noise of its own. Both are measured on the same test images after their
last step; `accuracy/difference` is paired by image.

Settings were chosen on a sixth of the training images (`--chosen`). A run takes half a minute of a
CPU core with `mlp`, a minute and a half with `cnn`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import numpy as np
import optax

import jaxmed as jm
from jaxmed import rules
from jaxmed.data import column, in_memory
from jaxmed.report import Results, compare, stage
from jaxmed.report import Split as Part
from jaxmed.stats import paired_difference

from .._common.compared import of_models
from .._common.plain import Plain
from .._common.sets import DIGITS, few_of_each

GRID = {"network": ("mlp", "cnn"), "seed": (0, 1, 2)}
_HELD_OUT = 6  # A sixth of the training images is what settings are chosen on.


@dataclasses.dataclass(frozen=True)
class Config:
    """One draw of labelled images.

    Args:
        dataset: `mnist` or `usps`.
        labels: labelled images a class.
        network: two dense layers, or two convolutions and a dense layer.
        kind: what it costs that the premise is broken.
        weight: of this cost, in nats an image.
        noise: standard deviation of what is added to every pixel, of images in [0, 1].
        steps: of each training.
        batch: labelled images of a step, and as many without.
        learning_rate: of Adam, which falls to 0.
        chosen: measure on a part of the training images, to choose settings by.
        seed: of labelled images, parameters, order and noise.
    """

    dataset: Literal["mnist", "usps"] = "mnist"
    labels: int = 10
    network: Literal["mlp", "cnn"] = "mlp"
    kind: Literal["semantic", "product", "lukasiewicz"] = "semantic"
    weight: float = 0.3
    noise: float = 0.3
    steps: int = 2000
    batch: int = 32
    learning_rate: float = 1e-3
    chosen: bool = False
    seed: int = 0


class Draws:
    """Batches as a function of the step: labelled images, others without labels, and noise."""

    def __init__(self, images: np.ndarray, few: np.ndarray, labels: np.ndarray, config: Config):
        self._images, self._few, self._labels, self._config = images, few, labels, config

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        few = rng.choice(self._few, config.batch)
        return {
            "image": self._noisy(few, rng),
            "label": self._labels[few],
            "unlabelled": self._noisy(rng.integers(len(self._images), size=config.batch), rng),
        }

    def _noisy(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = self._images[rows]
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        return images + np.float32(self._config.noise) * noise

    def iterate(self, start: int, stop: int) -> Any:
        """The batches of some steps, in their order."""
        return (self[step] for step in range(start, stop))


class Convolutions(nn.Module):
    """Two convolutions, each pooled, and a dense layer; no layer in which images meet."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        """Map `(batch, side, side, 1)` to `logits`."""
        for width in (16, 32):
            x = jm.ops.max_pool(nn.relu(jm.networks.Conv(width, (5, 5))(x)), (2, 2))
        x = nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))
        return {"logits": nn.Dense(self.classes)(x)}


def run(config: Config, out: Path) -> Results:
    """Train on labels alone and with the premise, and measure both on the same images."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test, classes, cases, notes = _parts(config)
        few = few_of_each(train["label"], config.labels, config.seed)
    predicted = {}
    batches = Draws(train["image"], few, train["label"], config)
    for name, objective in _objectives(config, classes).items():
        with stage(seconds, name):
            plain = Plain(_learner(config, objective, len(classes)))
            state = plain.train(batches, config.steps, config.seed)
            predicted[name] = plain.probabilities(state, test["image"])
    shown = "a sixth of the training images" if config.chosen else "the test images"
    results = compare(
        test["label"],
        predicted,
        classes=classes,
        cases=cases,
        metrics=("accuracy",),
        title=f"{config.dataset}: {len(few)} labels, and that every image is exactly one class",
        description=(
            f"{len(few)} labelled images and {len(train['label'])} without labels, "
            f"{config.steps} steps of {config.batch} of each; measured on {shown}."
        ),
        splits=(
            Part("labelled", len(few)), Part("without labels", len(train["label"])),
            Part("measured", len(cases)),
        ),
        seconds=seconds,
        notes=notes,
    )  # fmt: skip
    alone, taught = predicted
    found = of_models(results, "accuracy")
    right = {name: p.argmax(1) == test["label"] for name, p in predicted.items()}
    found["accuracy/difference"] = dataclasses.replace(
        paired_difference(right[taught], right[alone]), name="accuracy/difference"
    )
    return results.replace(metrics=found)


def _objectives(config: Config, classes: tuple[str, ...]) -> dict[str, jm.Objective]:
    labels = jm.supervised(jm.losses.cross_entropy)
    known = rules.knowledge(classes, rules.exactly_one(*classes))
    taught = rules.constrained(labels, known, weight=config.weight, kind=config.kind)
    return {"labels alone": labels, "exactly one": taught}


def _learner(config: Config, objective: jm.Objective, classes: int) -> jm.Learner:
    if config.network == "mlp":
        module = jm.networks.mlp(classes, hidden=(256, 256), dropout=0.0)
    else:
        module = Convolutions(classes)
    rate = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    return jm.learner(jm.from_linen(module), objective, optax.adam(rate))


def _parts(config: Config) -> tuple[Any, Any, tuple[str, ...], list[str], tuple[str, ...]]:
    """Images and labels to learn from and to measure on; classes, names of the latter, notes."""
    read = DIGITS[config.dataset]
    source = in_memory(read("train"))
    whole = {name: np.asarray(column(source, name)) for name in ("image", "label")}
    names = list(map(str, jm.data.case_ids(source)))
    if config.chosen:
        cut = len(names) - len(names) // _HELD_OUT
        train = {name: array[:cut] for name, array in whole.items()}
        test = {name: array[cut:] for name, array in whole.items()}
        names, notes = names[cut:], tuple(source.notes)
    else:
        train, other = whole, in_memory(read("test"))
        test = {name: np.asarray(column(other, name)) for name in ("image", "label")}
        names, notes = list(map(str, jm.data.case_ids(other))), tuple(other.notes)
    for part in (train, test):
        images = part["image"].astype(np.float32)
        part["image"] = images if config.network == "cnn" else images.reshape(len(images), -1)
        part["label"] = part["label"].astype(np.int32)
    return train, test, tuple(map(str, source.classes)), names, notes


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
