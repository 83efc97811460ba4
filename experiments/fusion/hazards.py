"""Predict planted hazards from an image, a record or both, and compare with the exact answer.

    jaxmed train hazards --modalities both

A phantom's hazard is constant in time, and its logarithm the sum of what the size of a disc in the
image and what two numbers of the record say; a third number says nothing. So the true probability
of survival is known of every case, also what the best prediction from the image alone or from the
record alone would be: the mean of it over the other part.

Measured: docs/survival.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource
from jaxmed.planning import event_times
from jaxmed.report import SurvivalResults, split_sizes, stage, survival
from jaxmed.stats import Estimate, mean, survival_concordance

from .._common.times import Loss, predict, train

GRID = {"modalities": ("image", "record", "both"), "loss": ("discrete", "cox")}
TIMES = np.array([0.25, 0.5, 1.0, 1.5, 2.0])


@dataclasses.dataclass(frozen=True)
class Config:
    """One training.

    Args:
        modalities: what is learned from.
        loss: hazards of intervals, or Cox's partial likelihood.
        train: cases learned from.
        test: cases measured.
        missing: share of the cases without an image, and of others without a record.
        intervals: of discrete hazards.
        epochs: passes over the cases.
        batch: cases of a step.
        learning_rate: of AdamW.
        seed: of the phantoms, parameters and order.
    """

    modalities: Literal["image", "record", "both"] = "both"
    loss: Loss = "discrete"
    train: int = 1500
    test: int = 1000
    missing: float = 0.1
    intervals: int = 8
    epochs: int = 30
    batch: int = 100
    learning_rate: float = 5e-3
    seed: int = 0


class Phantoms(NamedTuple):
    """Cases, and their exact log hazards by what the image and what the record says of them."""

    source: ArraySource
    image: np.ndarray
    record: np.ndarray


def phantoms(n: int, missing: float, rng: np.random.Generator) -> Phantoms:
    """Draw cases with a disc of 16 by 16 pixels in noise, a record, a time and an event."""
    size = rng.uniform(1.5, 6.0, n)
    center = rng.uniform(6, 10, (n, 2))
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1)
    apart = np.linalg.norm(grid - center[:, None, None], axis=-1)
    disc = 1 / (1 + np.exp(2 * (apart - size[:, None, None])))
    image = (disc + 0.2 * rng.normal(size=disc.shape))[..., None].astype(np.float32)
    record = rng.normal(size=(n, 3)).astype(np.float32)
    by_image = (size - 3.75) / 1.3
    by_record = 0.8 * record[:, 0] - 0.6 * record[:, 1]
    death = rng.exponential(np.exp(-(by_image + by_record)))
    end = rng.uniform(0.3, 3.0, n)
    survival = np.stack([np.minimum(death, end), death <= end], 1).astype(np.float32)
    draw = rng.random(n)
    present = np.stack([draw >= missing, (draw < missing) | (draw >= 2 * missing)], 1)
    arrays = {"image": image, "record": record, "present": present.astype(np.float32),
              "survival": survival}  # fmt: skip
    return Phantoms(ArraySource(arrays, name="planted hazards"), by_image, by_record)


def run(config: Config, out: Path) -> SurvivalResults:
    """Train, predict, compare with the exact survival."""
    seconds: dict[str, float] = {}
    rng = np.random.default_rng(config.seed)
    both = config.modalities == "both"
    missing = config.missing if both else 0.0
    with stage(seconds, "data"):
        learned, measured = (phantoms(n, missing, rng) for n in (config.train, config.test))
    names = ("image", "record") if both else (config.modalities,)
    kept = (*names, "survival", *(["present"] if both else []))
    parts = {
        name: ArraySource({k: part.source.arrays[k] for k in kept}, name=part.source.name)
        for name, part in (("train", learned), ("test", measured))
    }
    made: dict[str, Any] = {
        "image": jm.networks.cnn(features=(8, 16, 32), norm="group"),
        "record": jm.networks.tabular((0, 0, 0), hidden=(32,)),
    }
    with stage(seconds, "training"):
        edges = event_times(*parts["train"].arrays["survival"].T, config.intervals)
        network = jm.paradigms.fuse(
            {name: made[name] for name in names}, drop=0.1 if both else 0.0,
            classes=len(edges) if config.loss == "discrete" else 1,
        )  # fmt: skip
        trained = train(
            network, parts["train"], loss=config.loss, edges=edges, epochs=config.epochs,
            batch=config.batch, learning_rate=config.learning_rate, seed=config.seed, out=out,
        )  # fmt: skip
    with stage(seconds, "evaluation"):
        said = predict(trained, parts["test"], TIMES)
        true = exact(measured, names)
        time, event = parts["test"].arrays["survival"].T
        results = survival(time, event, said, times=TIMES, title="Planted hazards")
        off = mean(np.abs(said - true).mean(1), name="mean error of survival", bounds=(0, 1))
        best = survival_concordance(time, event, -true.mean(1))
    named: dict[str, Estimate] = {
        "error_of_survival": off,
        "exact/harrell_c": dataclasses.replace(best, name="Harrell's C of the exact survival"),
    }
    return results.replace(
        metrics={**results.metrics, **named},
        description=(
            f"{config.train} phantoms learned from, {config.test} measured, by "
            f"{config.modalities}; {config.epochs} epochs, {config.loss} loss. The error is the "
            "mean distance of predicted from exact survival at "
            f"{', '.join(f'{t:g}' for t in TIMES)}."
        ),
        splits=split_sizes(parts), partition="drawn apart", seconds=seconds,
        history=trained.history,
    )  # fmt: skip


def exact(cases: Phantoms, names: tuple[str, ...]) -> np.ndarray:
    """Survival (cases, times) given what is present of the named parts, over all of the others."""
    rng = np.random.default_rng(1)
    arrays = cases.source.arrays["present"] > 0
    here = {name: arrays[:, k] & (name in names) for k, name in enumerate(("image", "record"))}
    own = np.where(here["image"], cases.image, 0) + np.where(here["record"], cases.record, 0)
    other = {
        "image": (rng.uniform(1.5, 6.0, 500) - 3.75) / 1.3,
        "record": rng.normal(size=500),  # of variance .8 ** 2 + .6 ** 2
    }
    survival = np.exp(-np.exp(own)[:, None] * TIMES)
    for name, values in other.items():
        alone = here["record" if name == "image" else "image"]
        rows = np.flatnonzero(~here[name] & alone)
        rates = np.exp(own[rows, None] + values)
        survival[rows] = np.exp(-rates[..., None] * TIMES).mean(1)
    return survival


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
