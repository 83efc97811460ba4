"""Tell grade and molecular cluster of gliomas from the image, from the record, from both.

    jaxmed train records --target grade

The image is features of ImageNet's network, which is not trained; the record is age, sex, side and
lobe. Both alone and fused in three ways, each patient predicted by networks that have not seen it,
and the differences with their intervals: with ninety patients fusion has to be worth a lot to show.

Measured: docs/fusion.md.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax
from scipy import special

import jaxmed as jm
from jaxmed.core import stream
from jaxmed.data import folds, in_memory, lgg_mri
from jaxmed.networks import mlp, tabular
from jaxmed.paradigms import fuse
from jaxmed.report import ComparisonResults, Results, compare, stage
from jaxmed.stats import Estimate

from .._common.compared import of_models
from .._common.frozen import Frozen, frozen_features

COLUMNS = {"age_at_initial_pathologic": 0, "gender": 2, "laterality": 3, "tumor_location": 6}
TARGETS = {"grade": "neoplasm_histologic_grade", "cluster": "COCCluster"}
ARMS = ("image", "record", "concat", "attention", "late")
_INPUTS = ("image", "record", "present")


@dataclasses.dataclass(frozen=True)
class Config:
    """One target.

    Args:
        data: the folder kaggle_3m; by default that below JAXMED_DATA.
        target: WHO grade II or III, or the cluster of clusters of the molecular data.
        features: pixels, maps of random convolutions, or ImageNet's network.
        folds: parts of the patients, each predicted by networks that have not seen it.
        seeds: networks of each fold, whose probabilities are averaged.
        steps: of each training, on all its patients at once.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        seed: of folds and parameters.
    """

    data: Path | None = None
    target: Literal["grade", "cluster"] = "grade"
    features: Frozen = "imagenet"
    folds: int = 5
    seeds: int = 3
    steps: int = 150
    learning_rate: float = 3e-3
    weight_decay: float = 0.3
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Predict every patient by every arm, and compare."""
    seconds: dict[str, float] = {}
    folder = config.data or jm.data.data_root() / "lgg_mri" / "kaggle_3m"
    with stage(seconds, "data"):
        patients, record, label = table(folder / "data.csv", config.target)
        source = in_memory(lgg_mri(folder))
        small = source.arrays["image"][:, ::2, ::2]
        each = frozen_features(small, config.features, size=96)
        seen = np.array([name in patients for name in source.groups])
        of = np.array([patients.index(name) for name in np.array(source.groups)[seen]])
        kept = np.unique(of)
        image = np.stack([each[seen][of == p].mean(0) for p in kept]).astype(np.float32)
        record, label = record[kept], label[kept]
    classes = {"grade": ("II", "III"), "cluster": ("1", "2", "3")}[config.target]
    dealt = folds(len(label), config.folds, stratify=label, seed=config.seed)
    arms = {}
    for arm in ARMS:
        with stage(seconds, arm):
            arms[arm] = out_of_fold(config, arm, image, record, label, dealt, len(classes))
    results = compare(
        label, arms, classes=classes, cases=[patients[p] for p in kept], metrics=("auc",),
        title=f"Gliomas: {config.target} from image, record, both",
        description=(
            f"{len(label)} patients, {config.folds} folds, the probabilities of {config.seeds} "
            f"networks each averaged; {config.features} features of {int(seen.sum())} slices."
        ),
        partition="by patient", seconds=seconds,
        notes=(f"{len(patients) - len(kept)} patients of the table have no slices here.",),
    )  # fmt: skip
    return results.replace(metrics={**of_models(results, "auc"), **gains(results)})


def gains(results: ComparisonResults) -> dict[str, Estimate]:
    """How much larger the AUC of each way to fuse is than that of image and of record alone."""
    found = {}
    for contrast in results.comparison.contrasts:
        test, alone = contrast.test, contrast.first
        if alone not in ("image", "record") or contrast.second in ("image", "record"):
            continue
        name = f"{contrast.second} - {alone}"
        lower, upper = (-limit for limit in reversed(test.interval or (np.nan, np.nan)))
        found[name] = Estimate(
            -(test.effect or 0.0), lower, upper, test.level, test.n, test.unit, test.method,
            test.notes, name=name,
        )  # fmt: skip
    return found


def table(path: Path, target: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Patients whose target is known, their records with gaps, and the target from 0."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[TARGETS[target]].strip()]
    number = lambda cell: float(cell) if cell.strip() else np.nan  # noqa: E731
    # Codes of categories begin with 1; of age the years.
    record = [[number(row[name]) - (size > 0) for name, size in COLUMNS.items()] for row in rows]
    label = np.array([int(row[TARGETS[target]]) for row in rows])
    return [row["Patient"] for row in rows], np.float32(record), label - label.min()


def network(config: Config, arm: str, record: np.ndarray, classes: int) -> jm.Network:
    """The network of an arm, on all of its modalities."""
    late = arm == "late"
    trunks = {
        "image": mlp(classes if late else None, hidden=(16,), dropout=0.5),
        "record": tabular(
            tuple(COLUMNS.values()), classes if late else None, fitted_to=record, hidden=(16,)
        ),
    }
    if arm in trunks:
        trunks = {arm: trunks[arm]}
    if late:
        return fuse(trunks, "mean", reads="logits")
    return fuse(trunks, arm if arm == "attention" else "concat", classes=classes, drop=0.2)


def out_of_fold(
    config: Config, arm: str, image: np.ndarray, record: np.ndarray, label: np.ndarray,
    dealt: list, classes: int,
) -> np.ndarray:  # fmt: skip
    """Probabilities of each patient by networks that have not seen it, all trained together."""
    names = (arm,) if arm in ("image", "record") else ("image", "record")
    scaled = (image - image.mean(0)) / np.maximum(image.std(0), 1e-6)
    given = {"image": scaled, "record": record}
    batch = {**{name: given[name] for name in names}, "label": label.astype(np.int32)}
    weights = np.ones((config.folds * config.seeds, len(label)), np.float32)
    for number, fold in enumerate(dealt):
        weights[number :: config.folds, fold.test] = 0
    one = jm.learner(
        network(config, arm, record, classes),
        jm.supervised(jm.losses.cross_entropy, inputs=names),
        optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        inputs=names,
    )
    keys = jax.vmap(lambda i: stream(jax.random.key(config.seed), "network", i))(
        np.arange(len(weights))
    )
    members = {**dict.fromkeys(batch), "weight": 0}
    state = jax.vmap(one.init, in_axes=(0, members))(keys, {**batch, "weight": weights})
    step = jax.jit(jax.vmap(one.step, in_axes=(0, members)))
    for _ in range(config.steps):
        state, _ = step(state, {**batch, "weight": weights})
    predict = jax.jit(jax.vmap(lambda s: one.predict(s, {n: batch[n] for n in names})["logits"]))
    p = special.softmax(np.asarray(predict(state), np.float64), axis=-1)
    unseen = weights == 0
    return np.einsum("mn,mnk->nk", unseen, p) / unseen.sum(0)[:, None]


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
