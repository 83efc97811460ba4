"""Posteriors over a small residual network, measured on a MedMNIST set: is it honest?

    jaxmed train uncertainty --dataset breastmnist --method laplace --seed 0
    jaxmed train uncertainty --dataset breastmnist --method all --rows rows.jsonl

A ResNet-8 with dropout is trained once a seed (SGD with momentum and weight decay, cosine, flips);
every method begins there, but for the ensemble, which trains five. Measured on the test images as
they are, under noise, blur and low contrast at five strengths each, and against images of another
kind (RetinaMNIST in grey for a set in grey, BreastMNIST else): negative log-likelihood, Brier
score, ECE, AURC, AUROC of errors and of out-of-distribution images by entropy and by mutual
information; work in training and prediction as multiples of the trained network's own, compilation
included (processor seconds on a CPU, seconds else).

`--rows` appends one JSON line a method; `python -m experiments.uncertainty.uncertainty ROWS
[RECORD]` prints the tables over seeds with t intervals, and writes a record. `--method all` shares
the trained network among methods: a whole row of the grid in one process, a minute or two on a GPU,
some twenty on two CPU cores.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import jaxmed as jm
from jaxmed import bayes
from jaxmed.cli import one_of
from jaxmed.report import Results, Uncertainty, classification, environment, stage

from .._common.sets import ONE_LABEL
from ._posterior_measure import inputs, measure, read, record, text, whole
from ._posterior_methods import METHOD, SAMPLED, Trained, seconds, train_base

METHODS = tuple(METHOD)


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell, or one seed's row of cells.

    Args:
        dataset: a MedMNIST set of one label an image.
        method: one of these, or several with commas.
        seed: of parameters, order, dropout and all draws.
        epochs: of the trained network, and of each that is trained on from it.
        batch: images of a step.
        width: channels of the first stage.
        dropout: rate before the last layer.
        learning_rate: of SGD at the start.
        weight_decay: the prior's precision over the number of images.
        members: of ensembles.
        samples: draws of each posterior; 500 in function space for Laplace's.
        corrupted: whether to measure under corruptions too.
        rows: file that one JSON line a method is appended to.
    """

    dataset: str = one_of("breastmnist", ONE_LABEL, strict=False)
    method: str = one_of("laplace", ("all", *METHODS), strict=False)
    seed: int = 0
    epochs: int = 60
    batch: int = 64
    width: int = 16
    dropout: float = 0.2
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    members: int = 5
    samples: int = 30
    corrupted: bool = True
    rows: Path | None = None


def run(config: Config, out: Path) -> Results:
    """Train, apply the methods, measure; the report is of the last method named."""
    asked = METHODS if config.method == "all" else tuple(config.method.split(","))
    unknown = [name for name in asked if name not in METHODS]
    if unknown:
        raise ValueError(f"method {unknown[0]!r} is not known; choose of {', '.join(METHODS)}, all")
    spent: dict[str, float] = {}
    with stage(spent, "data"):
        train, val, test = (read(config.dataset, part) for part in ("train", "val", "test"))
        x, y = whole(test)
        views = inputs(x, config.seed, config.corrupted)
    with stage(spent, "training"):
        base = train_base(config, train, len(test.classes))
    results = None
    reference: dict[str, float] = {}
    for name in asked:
        start = seconds()
        posterior, after = METHOD[name](base, whole(train), whole(val))
        cost = seconds() - start
        start = seconds()
        n = config.samples if name in SAMPLED else None
        every = np.concatenate(list(views.values()))
        logits = bayes.predict_samples(
            posterior, jm.stream(base.key, "predict"), every, n, size=256
        )
        predicted = seconds() - start
        if not reference:
            reference = {"train": base.seconds, "predict": predicted}
            if name != "map":
                start = seconds()
                point = bayes.point(base.network, base.params, base.state)
                bayes.predict_samples(point, base.key, every, size=256)
                reference["predict"] = seconds() - start
        samples = dict(
            zip(views, np.split(after(logits), np.cumsum([len(v) for v in views.values()])[:-1], 1))
        )
        whole_cost = cost + (0.0 if name in ("ensemble", "batch_ensemble") else base.seconds)
        row = {
            "dataset": config.dataset,
            "method": name,
            "seed": config.seed,
            "train_cost": round(whole_cost / reference["train"], 2),
            "predict_cost": round(predicted / reference["predict"], 2),
            **measure(samples, y),
        }
        print(json.dumps({k: v for k, v in row.items() if not isinstance(v, dict)}), flush=True)
        row |= {"options": options(config), "environment": environment()}
        if config.rows is not None:
            config.rows.parent.mkdir(parents=True, exist_ok=True)
            with config.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
        spent[name] = cost + predicted
        results = classification(
            y,
            samples["test"].mean(axis=0),
            task="binary" if len(test.classes) == 2 else "multi-class",
            classes=test.classes,
            cases=test.case_ids,
            title=f"{config.dataset}: {name}",
            description=(
                f"The predictive distribution of {name} over a ResNet-8 of width {config.width}, "
                f"seed {config.seed}, on {len(y)} test images."
            ),
            seconds=spent,
            uncertainty=Uncertainty(
                samples["test"], *sets(base, posterior, after, n, val, samples["test"]), method=name
            ),
        )
    return results


def sets(
    base: Trained, posterior: Any, after: Any, n: int | None, val: Any, p: np.ndarray
) -> tuple[np.ndarray, float]:
    """Prediction sets of the test images, calibrated on the validation set, and their level."""
    x, y = whole(val)
    key = jm.stream(base.key, "predict")
    held_out = after(bayes.predict_samples(posterior, key, x, n, size=256)).mean(axis=0)
    rule = bayes.fit_sets(y, held_out, level=0.9)
    return bayes.predict_sets(rule, p.mean(axis=0)), rule.level


def options(config: Config) -> str:
    """The settings that all rows of a table share, as the command takes them."""
    own = dataclasses.asdict(config)
    for name in ("dataset", "method", "seed", "rows"):
        own.pop(name)
    return " ".join(
        f"--{name}" if value is True else f"--no-{name}" if value is False else f"--{name} {value}"
        for name, value in ((k.replace("_", "-"), v) for k, v in own.items())
    )


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].endswith(".jsonl"):
        made = record(Path(sys.argv[1]))
        print(text(made))
        if len(sys.argv) > 2:
            Path(sys.argv[2]).write_text(json.dumps(made, indent=1) + "\n")
    else:
        from jaxmed.cli import train_file

        train_file(__file__)
