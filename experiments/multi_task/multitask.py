"""One network for three tasks against three networks: gliomas in brain MRI.

    jaxmed train multitask --method single
    jaxmed train multitask --method uncertainty --baseline runs/multitask_method=single

Slices of lower-grade gliomas: where the tumour is, its grade, and whether the patient died within
follow-up. `single` trains a U-Net for each task, side by side in one program; the other methods
train one U-Net with a head a task, and differ in how they weigh the losses. Patients are dealt into
folds; each is predicted by the networks of the fold that held it out, with the parameters after the
last step, so nothing is selected. All folds and seeds train as one program.

`dice`: of a patient's slices taken together, mean over patients with a tumour in them. `grade/auc`,
`death/auc`: by patient, the mean of the slices' probabilities. Differences are paired by seed and
patient (`jaxmed.stats.over_runs`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed import quantities
from jaxmed.core import LearnerState, Network, Objective
from jaxmed.data import ArraySource, folds, in_memory, lgg_mri
from jaxmed.networks import ClassificationHead, SegmentationHead, plan_unet
from jaxmed.paradigms import Head, gradnorm, pcgrad, towers, uncertainty_weighted
from jaxmed.report import (
    DataSummary,
    Results,
    RunRecord,
    SegmentationResults,
    Split,
    TrainingLog,
    stage,
)
from jaxmed.stats import Estimate

from .._common.compared import compared, notes_of, with_baseline
from .._common.draws import draws
from .._common.kept import store, stored


@dataclasses.dataclass(frozen=True)
class Config:
    """One way to weigh the tasks.

    Args:
        method: `single`: a network for each task; else one network, the losses weighed by a
            constant, by uncertainty, by GradNorm or by PCGrad.
        data: the folder kaggle_3m, by default in JAXMED_DATA; or a file of `small` slices.
        folds: by patient.
        seeds: cross-validations, each of other folds and parameters.
        seed: the first.
        steps: of each network.
        batch: slices of a step.
        features: channels of the U-Net's finest stage.
        shrink: by how much slices are made smaller: 2 for 128 x 128.
        learning_rate: at the start; it falls to 0 along a cosine.
        strategy: how folds and seeds become one program; see `jaxmed.ensemble`.
        baseline: folder of the finished `single` run with the same settings.
        checkpoints: whether to leave checkpoints, so that a cut run goes on.
    """

    method: Literal["single", "fixed", "uncertainty", "gradnorm", "pcgrad"] = "single"
    data: Path | None = None
    folds: int = 5
    seeds: int = 3
    seed: int = 0
    steps: int = 1000
    batch: int = 8
    features: int = 16
    shrink: int = 2
    learning_rate: float = 1e-3
    strategy: Literal["auto", "unroll", "vmap", "scan"] = "vmap"
    baseline: Path | None = None
    checkpoints: bool = True


GRID = {"method": ("single", "fixed", "uncertainty", "gradnorm", "pcgrad")}
SHARED = (
    "folds", "seeds", "seed", "steps", "batch", "features", "shrink", "learning_rate",
)  # fmt: skip
PATIENTS = ("grade", "death")  # tasks with one label a patient


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid is compared with the grid's own single networks."""
    return with_baseline(config, folder, method="single")


def run(config: Config, out: Path) -> Results:
    """Train all folds and seeds as one program, predict each patient by its fold's networks."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = read(config)
        names, patient = np.unique(source.groups, return_inverse=True)
        first = [np.flatnonzero(patient == p)[0] for p in range(len(names))]
        truth = {task: source.arrays[task][first] for task in PATIENTS}
        held = [
            fold
            for seed in range(config.seeds)
            for fold in folds(
                np.where(truth["grade"] < 0, 0, truth["grade"]), config.folds,
                seed=config.seed + seed,
            )
        ]  # fmt: skip
    with stage(seconds, "training"):
        kept = [np.flatnonzero(np.isin(patient, fold.train)) for fold in held]
        learner, result = train(config, source, kept, out)
    with stage(seconds, "evaluation"):
        scores = {name: np.full((config.seeds, len(names)), np.nan) for name in ("dice", *PATIENTS)}
        for i, fold in enumerate(held):
            found = predict(learner, result.state, i, source, patient, fold.test)
            for name, values in found.items():
                scores[name][i // config.folds, fold.test] = values
        store(out, config, SHARED, scores)
        baseline = stored(config.baseline, config, SHARED) if config.baseline else None
        metrics = measure(scores, truth, baseline)
    counts = {f"{task} {k}": int((truth[task] == k).sum()) for task in PATIENTS for k in (0, 1)}
    return SegmentationResults(
        title=f"Gliomas, {config.method}",
        classes=("tumour",),
        metrics=metrics,
        headline=tuple(metrics)[:3],
        description=(
            f"{config.seeds} cross-validations of {config.folds} folds by patient, "
            f"{len(names)} patients with {len(source)} slices. Intervals speak for other seeds and "
            "other patients. A difference is less the single-task networks of as many steps."
        ),
        data=DataSummary(splits=(Split("patients", len(names), None, counts),)),
        training=TrainingLog(history=result.history),
        run=RunRecord(seconds=seconds),
        notes=notes_of(metrics),
    )


def read(config: Config) -> ArraySource:
    """All slices in memory, an image's channels each of mean 0 and deviation 1."""
    path = config.data or jm.data.data_root() / "lgg_mri" / "kaggle_3m"
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file}
    else:
        arrays = small(in_memory(lgg_mri(path)), config.shrink)
    groups = tuple(arrays.pop("groups").tolist())
    image = arrays["image"].astype(np.float32)
    mean, deviation = image.mean((1, 2), keepdims=True), image.std((1, 2), keepdims=True)
    arrays |= {
        "image": (image - mean) / np.maximum(deviation, 1e-3),
        "mask": arrays["mask"].astype(np.int32),
    }
    return ArraySource(arrays, groups=groups, classes=("background", "tumour"))


def small(source: ArraySource, shrink: int) -> dict[str, np.ndarray]:
    """Slices made smaller, still of 8 bits: `numpy.savez` of it is a file that `--data` takes."""
    image, mask = source.arrays["image"], source.arrays["mask"]
    n, height, width, channels = image.shape
    blocks = (n, height // shrink, shrink, width // shrink, shrink)
    return {
        "image": np.round(255 * image.reshape(*blocks, channels).mean((2, 4))).astype(np.uint8),
        "mask": (mask.reshape(blocks).mean((2, 4)) >= 0.5).astype(np.uint8),
        "grade": source.arrays["grade"],
        "death": source.arrays["death"],
        "groups": np.array(source.groups),
    }


def network(config: Config, side: int) -> Network:
    """A U-Net with three heads, or three of them with one each."""
    plan = plan_unet((side, side), base_features=config.features)
    trunk = jm.from_linen(jm.networks.unet(plan=plan))
    heads = {
        "mask": Head(jm.from_linen(SegmentationHead(2)), "pyramid"),
        **{task: Head(jm.from_linen(ClassificationHead(2)), "features") for task in PATIENTS},
    }
    if config.method != "single":
        return jm.with_heads(trunk, heads)
    alone = {task: jm.with_heads(trunk, {"logits": head}) for task, head in heads.items()}
    return towers(alone)


def objective(config: Config) -> Objective:
    """The three losses, weighed."""
    known = lambda label: label >= 0  # noqa: E731
    tasks = {
        "mask": jm.supervised(jm.losses.dice_ce, output="mask", target="mask"),
        **{
            task: jm.supervised(jm.losses.cross_entropy, output=task, target=task, known=known)
            for task in PATIENTS
        },
    }
    weigh = {
        "uncertainty": uncertainty_weighted, "gradnorm": gradnorm, "pcgrad": pcgrad
    }.get(config.method, jm.weighted)  # fmt: skip
    return jm.augmented(weigh(tasks), jm.augment.weak())


def train(config: Config, source: ArraySource, kept: list[np.ndarray], out: Path) -> Any:
    """Train a member for each fold of each seed."""
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-4
    )
    single = jm.learner(network(config, source[0]["image"].shape[0]), objective(config), optimizer)
    learner = jm.ensemble(single, len(kept), strategy=config.strategy, own_batches=True)
    batches = draws(source, tuple(kept), (config.batch, 0), min(100, config.steps), config.seed)
    result = jm.fit(
        learner, batches, seed=config.seed, steps=config.steps, monitor="train/loss", mode="min",
        out=out if config.checkpoints else None,
        devices=jm.train.Placement(compile_epochs=True),
    )  # fmt: skip
    return single, result


def predict(
    learner: jm.Learner, state: LearnerState, i: int, source: Any, patient: np.ndarray, test: Any
) -> dict[str, np.ndarray]:
    """What member `i` says of the patients it has not seen: Dice, and probabilities."""
    rows = np.flatnonzero(np.isin(patient, test))
    found = jm.train.predict(
        learner, jm.paradigms.member(state, i), {"image": source.take(rows)["image"]}, size=32,
        outputs=("mask", *PATIENTS),
    )  # fmt: skip
    true, said = source.arrays["mask"][rows] == 1, quantities.largest(found["mask"]) == 1
    scores: dict[str, list[float]] = {name: [] for name in ("dice", *PATIENTS)}
    for p in test:
        mine = patient[rows] == p
        t, q = true[mine], said[mine]
        overlap = quantities.dice((t & q).sum(), q.sum(), t.sum()) if t.any() else np.nan
        scores["dice"].append(float(overlap))
        for task in PATIENTS:
            scores[task].append(float(special.softmax(found[task][mine], axis=-1)[:, 1].mean()))
    return {name: np.array(values) for name, values in scores.items()}


def measure(
    scores: dict[str, np.ndarray],
    truth: dict[str, np.ndarray],
    baseline: dict[str, np.ndarray] | None,
) -> dict[str, Estimate]:
    """Means over seeds, and differences to the single-task networks."""
    found = {}
    for name in ("dice", *PATIENTS):
        if name == "dice":
            # Whether a patient has a tumour in these slices is the truth's, so the same for all.
            kept, labels = np.isfinite(scores[name][0]), np.zeros(scores[name].shape[1])
            label, metric = "dice", lambda y, s: float(s.mean())
        else:
            labels, kept, label = truth[name], truth[name] >= 0, f"{name}/auc"
            metric = lambda y, s: quantities.auc(y == 1, s)  # noqa: E731
        mine = scores[name][:, kept]
        other = None if baseline is None else baseline[name][:, kept]
        found |= compared(metric, labels[kept], mine, other, label)
    return found


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
