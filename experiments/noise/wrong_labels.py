"""Train on labels of which some are wrong, in six ways, and find which are.

    jaxmed train wrong_labels --dataset mnist --rate 0.4 --kind symmetric

Labels of training images are changed at random, those of the test images are not. A small network
learns the changed labels by plain cross-entropy, by generalised and symmetric cross-entropy, by
forward correction with the true transition matrix and with one that is estimated, and by
co-teaching; beside them stands plain cross-entropy of the labels as they were. Nothing is chosen on
the test images: each is measured after its last step. Out-of-fold predictions of half of the images
by a network that was trained on the other half for ten epochs estimate the matrix, and list the
labels that are suspect.

Measured: docs/paradigms/noise.md. A run takes a minute or two of a CPU core.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optax

import jaxmed as jm
from jaxmed.cli import one_of
from jaxmed.core import Learner, Network
from jaxmed.data import MEDMNIST, ArraySource, batches, medmnist, mnist
from jaxmed.paradigms import co_teaching
from jaxmed.protocols import suspect_labels, transition_matrix
from jaxmed.report import Results, compare, split_sizes, stage
from jaxmed.stats import proportion

from .._common.compared import of_models
from .._common.plain import Plain
from .._common.sets import ONE_LABEL

GRID = {"kind": ("symmetric", "next"), "rate": (0.2, 0.4), "seed": (0, 1, 2)}
_EARLY = 10  # Epochs after which most wrong labels are not yet known by heart.
_RAMP = 10  # Epochs over which co-teaching comes to forget.


@dataclasses.dataclass(frozen=True)
class Config:
    """One draw of wrong labels.

    Args:
        dataset: `mnist`, or one of MedMNIST's sets with one label an image.
        images: training images, the first of the set.
        rate: share of labels that are changed.
        kind: to any other class, or to the next one.
        hidden: units of the network's two layers.
        epochs: passes over the training images.
        batch: images of a step.
        learning_rate: of Adam, which falls to 0.
        seed: of wrong labels, parameters and order.
    """

    dataset: str = one_of("mnist", ("mnist", *ONE_LABEL), strict=False)
    images: int = 5000
    rate: float = 0.4
    kind: Literal["symmetric", "next"] = "symmetric"
    hidden: int = 256
    epochs: int = 40
    batch: int = 100
    learning_rate: float = 1e-3
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Change labels, train on them in six ways, measure on test images whose labels are right."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        train, test = _parts(config)
        true, classes = train.arrays["label"], tuple(test.classes)
        transition = noise_matrix(len(classes), config.rate, config.kind)
        written = drawn(true, transition, config.seed)
        noisy = ArraySource({**train.arrays, "label": written})
    steps = config.epochs * -(-len(written) // config.batch)
    network = jm.from_linen(
        jm.networks.mlp(len(classes), hidden=(config.hidden, config.hidden), dropout=0.0)
    )
    ce = jm.losses.cross_entropy

    def trained(learner: Learner, source: ArraySource, steps: int, images: np.ndarray):
        plain = Plain(learner)
        state = plain.train(batches(source, config.batch, seed=config.seed), steps, config.seed)
        return plain.probabilities(state, images)

    def by(loss, steps: int = steps) -> Learner:
        return jm.learner(network, jm.supervised(loss), _optimizer(config, steps))

    with stage(seconds, "out of fold"):
        early = _EARLY * -(-len(written) // (2 * config.batch))
        halves = np.arange(len(written)) % 2
        beside = np.empty((len(written), len(classes)))
        for half in (0, 1):
            others = ArraySource({n: x[halves != half] for n, x in noisy.arrays.items()})
            images = train.arrays["image"][halves == half]
            beside[halves == half] = trained(by(ce, early), others, early, images)
        estimated = transition_matrix(beside)
        suspects = suspect_labels(beside, written, seed=config.seed)

    shown = test.arrays["image"]
    ramp = optax.linear_schedule(0.0, config.rate, _RAMP * -(-len(written) // config.batch))
    ways = {
        "cross-entropy": by(ce),
        "generalised": by(jm.losses.generalised_cross_entropy),
        "symmetric": by(jm.losses.symmetric_cross_entropy),
        "forward, true": by(partial(jm.losses.forward_corrected, transition=transition)),
        "forward, estimated": by(partial(jm.losses.forward_corrected, transition=estimated)),
        "co-teaching": _co_teaching(network, config, steps, ramp),
    }
    predicted = {}
    for name, learner in ways.items():
        with stage(seconds, name):
            predicted[name] = trained(learner, noisy, steps, shown)
    with stage(seconds, "right labels"):
        predicted["right labels"] = trained(by(ce), train, steps, shown)

    results = compare(
        test.arrays["label"], predicted, classes=classes, cases=test.case_ids,
        metrics=("accuracy",),
        title=f"{config.dataset}: {100 * config.rate:g} % of the labels are wrong",
        description=(
            f"{len(written)} training images, labels changed to {_KINDS[config.kind]}; "
            f"{config.epochs} epochs of a network of two layers of {config.hidden}."
        ),
        splits=split_sizes({"train": train, "test": test}, classes=classes),
        seconds=seconds,
        notes=(*test.notes, "Co-teaching is told the share of wrong labels."),
    )  # fmt: skip
    wrong = written != true
    metrics = of_models(results, "accuracy")
    metrics["wrong labels"] = dataclasses.replace(suspects.wrong, name="wrong labels")
    found = wrong[suspects.rows]
    metrics["suspects/wrong"] = proportion(found.sum(), len(found), name="suspects/wrong")
    metrics["wrong/suspect"] = proportion(found.sum(), wrong.sum(), name="wrong/suspect")
    return results.replace(metrics=metrics)


_KINDS = {"symmetric": "any other class", "next": "the next class"}


def noise_matrix(classes: int, rate: float, kind: str) -> np.ndarray:
    """(classes, classes): the probability that a true class (rows) is written down as another.

    Raises:
        ValueError: a rate at which the right label is not the most frequent.
    """
    most = 0.5 if kind == "next" or classes == 2 else 1 - 1 / classes
    if not 0 < rate < most:
        raise ValueError(f"--rate is above 0 and below {most:g} for {classes} classes, got {rate}")
    right = np.eye(classes)
    other = np.roll(right, 1, axis=1) if kind == "next" else (1 - right) / (classes - 1)
    return (1 - rate) * right + rate * other


def drawn(true: np.ndarray, transition: np.ndarray, seed: int) -> np.ndarray:
    """Labels as they are written down."""
    u = np.random.default_rng(seed).random(len(true))
    found = (transition.cumsum(1)[true] < u[:, None]).sum(1)
    return np.minimum(found, len(transition) - 1).astype(true.dtype)


def _co_teaching(network: Network, config: Config, steps: int, forget: optax.Schedule) -> Learner:
    judge = jm.losses.cross_entropy
    optimizer = _optimizer(config, steps)
    return co_teaching(network, jm.supervised(judge), optimizer, loss=judge, forget=forget)


def _optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, steps))


def _parts(config: Config) -> list[ArraySource]:
    if config.dataset == "mnist":
        parts = [mnist(part) for part in ("train", "test")]
    else:
        entry = MEDMNIST.get(config.dataset)
        if entry is None or entry.task == "multilabel":
            raise ValueError(
                f"--dataset {config.dataset}: mnist, or a set of MedMNIST with one label an image"
            )
        parts = [medmnist(config.dataset, part) for part in ("train", "test")]
    few = min(config.images, len(parts[0]))
    return [_flat(parts[0], np.arange(few)), _flat(parts[1], np.arange(len(parts[1])))]


def _flat(source: Any, rows: np.ndarray) -> ArraySource:
    """Some images of a source, each as one row of pixels."""
    found = jm.data.take(source, rows)
    return ArraySource(
        {
            "image": found["image"].reshape(len(rows), -1),
            "label": np.asarray(found["label"]).reshape(len(rows)).astype(np.int32),
        },
        case_ids=[str(jm.data.case_ids(source)[int(i)]) for i in rows],
        classes=source.classes,
        notes=source.notes,
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
