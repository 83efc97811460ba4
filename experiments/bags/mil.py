"""Multiple-instance learning on its classical benchmarks, cross-validated.

    jaxmed train mil --dataset musk1 --pooling attention
    jaxmed train mil --dataset elephant --pooling attention
    jaxmed train mil --dataset colon --pooling attention --repeats 1 --epochs 30 --most 48

Musk 1 and Elephant: tables of instances, 10-fold cross-validation by bag, 5 times over; the network
of Ilse et al. (2018), trained by AdamW. `colon`: 100 H&E images as bags of the patches round their
nuclei, 10 folds; a bag is positive if it holds an epithelial nucleus. Every fold's network is an
independent member of one program. Each bag is predicted by the network of the fold that held it
out, with the parameters after the last step: nothing is selected.

Metrics are means over the repeats; an interval speaks for other splits (where there are several)
and other bags. Published for attention pooling: accuracy .892, .868 and .904; measured by the
commands above: .889, .857 and .910 (docs/results-paradigms.md).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import special

import jaxmed as jm
from jaxmed import quantities
from jaxmed.report import (
    ClassificationResults,
    DataSummary,
    Results,
    RunRecord,
    Scores,
    Split,
    TrainingLog,
    stage,
)
from jaxmed.stats import Estimate, over_runs

from .._common.bag_heat import heat_maps
from .._common.bags import Bags, BagTraining, dealt, read_bags, train
from .._common.compared import notes_of
from .._common.kept import store


@dataclasses.dataclass(frozen=True)
class Config(BagTraining):
    """One data set and one pooling.

    Args:
        dataset: which.
        data: its file or folder, by default in JAXMED_DATA; for `colon` also a file of patches.
    """

    dataset: Literal["musk1", "elephant", "colon"] = "musk1"
    data: Path | None = None


GRID = {
    "dataset": ("musk1", "elephant"),
    "pooling": (
        "attention",
        "gated_attention",
        "additive",
        "dual_stream",
        "transformer",
        "lse",
        "max",
        "mean",
    ),
}
PLACES = {
    "musk1": "mil/musk1.mat",
    "elephant": "mil/elephant.csv",
    "colon": "CRCHistoPhenotypes_2016_04_28",
}


def run(config: Config, out: Path) -> Results:
    """Train all folds as one program, predict each bag by the fold that held it out."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        bags = read(config)
        labels = bags.arrays["label"]
        held = dealt(config, labels)
    with stage(seconds, "training"):
        predict, result = train(config, bags, [fold.train for fold in held], out)
    with stage(seconds, "evaluation"):
        logits = np.zeros((config.repeats, len(labels), 2))
        attention = np.zeros(bags.arrays["bag_mask"].shape)
        for i, fold in enumerate(held):
            for bag in fold.test:
                found = predict(i, bag)
                logits[i // config.folds, bag] = found["logits"]
                if i < config.folds and "attention" in found:
                    weights = found["attention"]
                    # Dual-stream attention has a column a class.
                    weights = weights[:, 1] if weights.ndim == 2 else weights
                    attention[bag, : len(weights)] = weights
        scores = special.softmax(logits.astype(np.float32), axis=-1)
        metrics = measure(labels, scores, held, config)
        pictures = ()
        store(out, config, ("dataset", "pooling"), {"scores": scores, "attention": attention})
        if config.dataset == "colon" and config_path(config).is_dir():
            pictures = heat_maps(config_path(config), bags, scores[0], attention)
    return ClassificationResults(
        title=f"{config.dataset}, {config.pooling} pooling",
        task="binary",
        classes=tuple(bags.source.classes),
        metrics=metrics,
        headline=("auc", "accuracy"),
        scores=Scores(labels, scores.mean(0), bags.source.case_ids),
        description=(
            f"{config.repeats} cross-validations of {config.folds} folds over {len(labels)} bags "
            f"of {int(bags.arrays['bag_mask'].sum())} instances. Each bag is predicted by the "
            "network of the fold that held it out; nothing was selected. Metrics are means over "
            "the cross-validations; the figures, and predictions.csv, show the mean of their "
            "probabilities."
        ),
        data=DataSummary(
            splits=(Split("bags", len(labels), None, _counts(bags.source.classes, labels)),),
            flow=(f"dealt by class into {config.folds} folds, {config.repeats} times",),
        ),
        training=TrainingLog(history=result.history),
        run=RunRecord(seconds=seconds),
        pictures=pictures,
        notes=notes_of(metrics),
    )


def config_path(config: Config) -> Path:
    """Where the data are."""
    return config.data or jm.data.data_root() / PLACES[config.dataset]


def read(config: Config) -> Bags:
    """Read a set, padded to its largest bag."""
    return read_bags(config_path(config), table=config.dataset != "colon")


def measure(
    labels: np.ndarray, scores: np.ndarray, held: list[Any], config: Config
) -> dict[str, Estimate]:
    """Accuracy and AUC over the repeats, and the spread of the folds' accuracies."""
    right = quantities.largest(scores) == labels
    by_fold = [right[i // config.folds, fold.test].mean() for i, fold in enumerate(held)]
    accuracy = over_runs(
        lambda y, s: float((quantities.largest(s) == y).mean()), labels, scores, name="accuracy"
    )
    auc = over_runs(quantities.macro_auc, labels, scores, name="auc")
    mean, spread = float(np.mean(by_fold)), float(np.std(by_fold, ddof=1))
    error = spread / len(by_fold) ** 0.5
    folds_mean = Estimate(
        mean, mean - 1.96 * error, mean + 1.96 * error, 0.95, len(by_fold), "fold",
        "normal; folds share training bags, so the interval is too narrow",
        se=error, details={"runs": by_fold}, name="accuracy/folds",
    )  # fmt: skip
    return {"auc": auc, "accuracy": accuracy, "accuracy/folds": folds_mean}


def _counts(classes: Any, labels: np.ndarray) -> dict[str, int]:
    return {name: int((labels == i).sum()) for i, name in enumerate(classes)}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
