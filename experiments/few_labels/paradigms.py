"""Learn from few labels: any paradigm against supervised learning, on a MedMNIST set.

    jaxmed train paradigms --row simclr --dataset breastmnist --labels 0.1 --seeds 3

A share of the training labels is kept, drawn by class; the images of all are there. The row's
method and plain supervised learning train the same network by as many steps, from the same
parameters, on the same labelled images. Self-supervised rows first pretrain the trunk on all
training images, and then train as the baseline does. Seeds differ in the labels kept, the
parameters and all draws; they train as one program. Nothing is selected: the parameters after the
last step are measured on the test set, once. The validation set only draws the learning curve.

`auc`, `accuracy`: means over the seeds. `auc/difference`: the row less the baseline, paired by seed
and by test case; intervals speak for new seeds and new cases (`jaxmed.stats.over_runs`).
`linear/auc`, `knn/auc`: probes of the pretrained trunk, fitted to the labelled images.

Rows: `_rows.py` beside this file. Measured: docs/results-paradigms.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from jaxmed.cli import one_of
from jaxmed.data import subset
from jaxmed.report import (
    ClassificationResults,
    DataSummary,
    Results,
    RunRecord,
    Scores,
    TrainingLog,
    split_sizes,
    stage,
)

from .._common.kept import store, stored
from .._common.sets import ONE_LABEL
from ._labels import read
from ._measure import measure
from ._rows import ROWS, TRANSFER
from ._train import train


@dataclasses.dataclass(frozen=True)
class Config:
    """One row on one data set.

    Args:
        row: the method.
        dataset: one of MedMNIST's sets with one label an image.
        labels: share of the training labels that are kept.
        seeds: how many replicates.
        seed: the first; the others follow.
        network: a ResNet-8 (fast on a CPU), a ResNet-18, or an EfficientNet-Lite0, which sees
            images enlarged, and which the rows of ImageNet want.
        size: side of the images.
        steps: of the labelled phase, the baseline's too.
        pretrain_steps: of the phase before it, in self-supervised rows.
        batch: labelled images of a step.
        unlabelled: images without labels of a step.
        pretrain_batch: images of a step of the phase before.
        learning_rate: at the start, of either phase; it falls to 0 along a cosine.
        evaluate_every: steps between looks at the validation set.
        compute: precision of the forward and backward passes.
        strategy: how the seeds become one program; see `jaxmed.ensemble`.
        baseline: folder of the finished supervised run with the same settings; trained if none.
        pretrained: folder in which pretrained trunks are kept for other shares of labels.
        checkpoints: whether to leave checkpoints, so that a cut run goes on.
    """

    row: str = one_of("supervised", ROWS)
    dataset: str = one_of("breastmnist", ONE_LABEL, strict=False)
    labels: float = 0.1
    seeds: int = 3
    seed: int = 0
    network: Literal["small", "resnet18", "lite0"] = "small"
    size: int = 28
    steps: int = 600
    pretrain_steps: int = 1000
    batch: int = 32
    unlabelled: int = 64
    pretrain_batch: int = 128
    learning_rate: float = 1e-3
    evaluate_every: int = 100
    compute: Literal["float32", "bfloat16"] = "float32"
    strategy: Literal["auto", "unroll", "vmap", "scan"] = "vmap"
    baseline: Path | None = None
    pretrained: Path | None = None
    checkpoints: bool = True


# The settings that decide the baseline's predictions.
SHARED = (
    "dataset", "labels", "seeds", "seed", "network", "size", "steps", "batch", "learning_rate",
    "compute",
)  # fmt: skip


def run(config: Config, out: Path) -> Results:
    """Train the row and, where it is not at hand, the baseline; measure both on the test set."""
    if config.row not in ROWS:
        raise ValueError(f"no row is called {config.row!r}; there are {', '.join(ROWS)}")
    if config.row in TRANSFER and config.network != "lite0":
        raise ValueError(f"row {config.row} is of EfficientNet-Lite0: --network lite0")
    row, plain = ROWS[config.row], ROWS["supervised"]
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        task = read(config)
    result, baseline = train(config, row, task, out, seconds), None
    store(out, config, SHARED, result.scores)
    if row is not plain:
        folder = config.baseline or out / "supervised"
        if not config.baseline:
            store(folder, config, SHARED, train(config, plain, task, folder, seconds).scores)
        baseline = stored(folder, config, SHARED)["test"]
    with stage(seconds, "evaluation"):
        metrics, notes = measure(task, result, baseline)
    kept, test = len(task.labelled[0]), task.parts["test"]
    labelled = subset(task.parts["train"], task.labelled[0])
    return ClassificationResults(
        title=f"{config.row} on {config.dataset}, {kept} labels",
        task=task.kind,
        classes=task.classes,
        metrics=metrics,
        headline=tuple(n for n in ("auc", "accuracy", "auc/difference") if n in metrics),
        scores=Scores(test.arrays["label"], result.scores["test"].mean(0), test.case_ids),
        description=(
            f"{row.family}: {row.paper}. Metrics are means over {config.seeds} seeds, each of one "
            f"network trained with {kept} of {len(task.parts['train'])} labels; intervals speak "
            "for new seeds and new test cases. A difference is the row less supervised learning "
            "with the same network, steps, labels and first parameters. The figures, and "
            "predictions.csv, show the mean of the seeds' probabilities, which is an ensemble."
        ),
        data=DataSummary(
            splits=split_sizes({"labelled": labelled, **task.parts}, classes=task.classes),
            flow=(
                f"{sum(map(len, task.parts.values()))} images of {config.dataset}, official split",
                f"{kept} training labels kept, drawn by class for each seed; all images are there",
            ),
        ),
        training=TrainingLog(history=result.history, best_step=config.steps),
        run=RunRecord(seconds=seconds),
        notes=(*test.notes, *notes),
    )


GRID = {
    "row": tuple(name for name in ROWS if name not in TRANSFER),
    "dataset": ("breastmnist", "retinamnist"),
    "labels": ("0.05", "0.1", "0.2"),
}


def in_grid(config: Config, folder: Callable[[Config], Path]) -> Config:
    """A run of a grid takes the grid's own baseline, and pretrains once for all shares."""
    config = dataclasses.replace(config, pretrained=folder(config).parent / "pretrained")
    if config.row == "supervised":
        return config
    plain = dataclasses.replace(config, row="supervised", pretrained=None)
    return dataclasses.replace(config, baseline=folder(plain))


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
