"""Answer through concepts that a clinician can correct, and measure what each correction is worth.

    jaxmed train concepts
    jaxmed train concepts --premises False

Melanoma in dermoscopy (PH2), by four ways of answering: a linear probe of ImageNet features; a
concept bottleneck on the same features, whose fourteen concepts are what dermatologists look for;
the bottleneck as its concepts are corrected one after the other, the least certain of each image
first; and all of its concepts true. `--premises` teaches what holds by definition: a lesion that is
asymmetric in both axes is asymmetric, dots that are atypical are dots, a lesion has a colour. Each
image is predicted by networks that have not seen it; components and decay were chosen on the folds
of seed 0.

Expected over three seeds: AUC .920 by the image, .905 by concepts as they are read, .931 with one
of them corrected, .943 with eight and .974 with all fourteen. Half a minute each.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, softmax

import jaxmed as jm
from jaxmed import explain, losses, rules, stats
from jaxmed import unsupervised as un
from jaxmed.core import stream
from jaxmed.data import ArraySource, data_root, folds, read_image
from jaxmed.paradigms import supervised, weighted
from jaxmed.report import Results, compare, stage

from .._common.compared import named
from .._common.frozen import frozen_features
from .._common.probe import out_of_fold

GRID = {"seed": (0, 1, 2), "premises": (True, False)}

CONCEPTS = {
    "asymmetric": ("asymmetry", "12"),
    "asymmetric in both axes": ("asymmetry", "2"),
    "atypical network": ("pigment_network", ("AT",)),
    "dots": ("dots_globules", ("T", "AT")),
    "atypical dots": ("dots_globules", ("AT",)),
    "streaks": ("streaks", "P"),
    "regression": ("regression", "P"),
    "blue-whitish veil": ("blue_whitish_veil", "P"),
    **{
        colour: (colour.replace(" ", "_").replace("-", "_"), "1")
        for colour in ("white", "red", "light brown", "dark brown", "blue-gray", "black")
    },
}
"""What is present, by the column and the values that say so."""
KNOWN = rules.knowledge(
    tuple(CONCEPTS),
    rules.order("asymmetric", "asymmetric in both axes"),
    rules.order("dots", "atypical dots"),
    rules.at_least(1, *list(CONCEPTS)[-6:]),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """One study.

    Args:
        data: the folder: `images/`, and `labels.csv` with a column for each concept; by default
            ph2 in JAXMED_DATA.
        premises: whether what holds by definition is taught too.
        components: principal components of the features that are learned from.
        steps: of each fold's training.
        learning_rate: at the start; it falls to 0 as a cosine.
        weight_decay: of all weights.
        seed: of folds, parameters and order of batches.
    """

    data: Path | None = None
    premises: bool = True
    components: int = 20
    steps: int = 1000
    learning_rate: float = 0.05
    weight_decay: float = 2.0
    seed: int = 0


class Lesions(NamedTuple):
    """Images of lesions, and what was said of them.

    Attributes:
        features: (n, d).
        melanoma: (n,) 0 or 1.
        concepts: (n, concepts) 0 or 1.
        names: of the images.
    """

    features: np.ndarray
    melanoma: np.ndarray
    concepts: np.ndarray
    names: list[str]


def run(config: Config, out: Path) -> Results:
    """Train the bottleneck in five folds, correct its concepts, compare."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        lesions = read(config.data or data_root() / "ph2")
    y, n = lesions.melanoma, len(lesions.melanoma)
    with stage(seconds, "training"):
        probed = out_of_fold(lesions.features, y, None, seed=config.seed)
        corrected, believed = _bottleneck(config, lesions, out)
    answers = {
        "image": probed,
        "concepts": softmax(corrected[0], axis=-1),
        "true concepts": softmax(corrected[-1], axis=-1),
    }
    results = compare(
        y, answers, classes=("nevus", "melanoma"), cases=lesions.names, metrics=("auc",),
        title="Melanoma by the image, by concepts, by corrected concepts",
        description=(
            f"{n} lesions, {int(y.sum())} melanomas; {len(CONCEPTS)} concepts, read by a linear "
            f"layer of {config.components} components of ImageNet features and answered from by "
            f"another. Premises {'were' if config.premises else 'were not'} taught."
        ),
        partition="five folds, by image (one a patient)",
        seconds=seconds,
        notes=("Concepts are one reading of each image, and its true ones the reference.",),
    )  # fmt: skip
    metrics = {f"auc/{name}": model["auc"] for name, model in results.comparison.models.items()}
    for count in (1, 2, 4, 8):
        metrics[f"auc/{count} corrected"] = stats.auc(y, softmax(corrected[count], -1)[:, 1])
    for k, name in enumerate(CONCEPTS):
        metrics[f"concept/{name}"] = stats.auc(lesions.concepts[:, k].astype(int), believed[:, k])
    held = KNOWN.holds(believed > 0.5).all(-1)
    metrics["premises hold"] = stats.proportion(int(held.sum()), n)
    return results.replace(metrics=named(metrics))


def read(folder: Path) -> Lesions:
    """Read the table and the images.

    Raises:
        ValueError: if the table lacks a column, or an image its file.
    """
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    needed = {"image", "diagnosis", *(column for column, _ in CONCEPTS.values())}
    if missing := sorted(needed - set(rows[0] if rows else ())):
        raise ValueError(f"{folder / 'labels.csv'}: no column {', '.join(missing)}")
    files = [folder / "images" / f"{row['image']}.jpg" for row in rows]
    if absent := [str(file) for file in files if not file.is_file()]:
        raise ValueError(f"{absent[0]}: named in labels.csv, and there is no such file")
    images = np.stack([_square(read_image(file).array) for file in files])
    concepts = [[row[c] in values for c, values in CONCEPTS.values()] for row in rows]
    return Lesions(
        frozen_features(images, "imagenet", size=96),
        np.array([row["diagnosis"] == "melanoma" for row in rows], np.int32),
        np.array(concepts, np.float32),
        [row["image"] for row in rows],
    )


def _square(image: np.ndarray) -> np.ndarray:
    return np.asarray(jax.image.resize(image, (128, 128, 3), "linear"), np.float32)


def _bottleneck(config: Config, lesions: Lesions, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits with 0, 1, ... concepts corrected (concepts + 1, n, 2), and their probabilities."""
    count = len(CONCEPTS)
    trunk = jm.core.from_functions(lambda key, x: {}, lambda params, x: {"features": x})
    network = explain.concept_bottleneck(trunk, concepts=count, classes=2)
    told = ("image", "concepts")
    objective = weighted(
        {
            "answer": supervised(losses.cross_entropy, inputs=told),
            "concepts": supervised(
                losses.binary_cross_entropy, inputs=told, output="concepts", target="concepts"
            ),
        }
    )
    if config.premises:
        objective = rules.constrained(objective, KNOWN, output="concepts", inputs="image")
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="cosine", steps=config.steps,
        weight_decay=config.weight_decay,
    )  # fmt: skip
    learner = jm.learner(network, objective, optimizer, inputs=told)
    n = len(lesions.melanoma)
    logits, believed = np.empty((count + 1, n, 2)), np.empty((n, count))
    key = stream(jax.random.key(config.seed), "order")
    parts = folds(n, 5, stratify=lesions.melanoma.tolist(), seed=config.seed)
    for number, part in enumerate(parts):
        basis = un.pca(lesions.features[part.train], config.components)
        train, test = (
            jnp.asarray(basis.project(lesions.features[at], whiten=True), jnp.float32)
            for at in part
        )
        arrays = {
            "image": np.asarray(train),
            "concepts": lesions.concepts[part.train],
            "label": lesions.melanoma[part.train],
        }
        batches = jm.data.batches(ArraySource(arrays), (len(train) + 1) // 2, seed=config.seed)
        made = jm.fit(
            learner, batches, seed=config.seed, steps=config.steps, out=out / f"fold-{number}"
        )
        params, state = learner.predicting.get(made.state)
        corrected = explain.interventions(
            key, network, params, state, test, lesions.concepts[part.test]
        )
        logits[:, part.test] = corrected
        ends, _ = network.apply(params, state, test)
        believed[part.test] = expit(np.asarray(ends["concepts"]))
    return logits, believed


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
