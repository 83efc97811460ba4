"""Classify digits by a deep stacking network: modules solved one upon the other.

    jaxmed train stacking --dataset usps --seed 0
    jaxmed train stacking --dataset mnist --start differences
    jaxmed train stacking --dataset mnist --start differences --tune 60  # hidden weights tuned

Each module sees the image and the predictions of all modules below; its hidden weights are drawn
without the data (`random`), are differences of images of two classes, each seen through a window
(`differences`), or those of a restricted Boltzmann machine of its own (`rbm`), and are tuned where
asked for by the gradient through the solution of its head. Test errors of all modules are in the
description; nothing is chosen by them.

Published: MNIST .83 % error, hidden weights begun by restricted Boltzmann machines and tuned (Deng
and Yu 2011). Measured (docs/paradigms/least-squares.md): 3.5 to 3.8 % by `random`, 2.0 to 2.1 % by
`differences`, 1.3 % with `--tune 60`; the former take a minute of a core, tuning eight.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
from scipy import special

import jaxmed as jm
from jaxmed.data import column, in_memory
from jaxmed.generative import contrastive_divergence, rbm
from jaxmed.networks import StackingModule, random_convolutions
from jaxmed.protocols import Tuning, class_differences, deep_stacking
from jaxmed.report import Results, classification, split_sizes, stage

from .._common.sets import DIGITS

GRID = {"passed": ("in-sample", "out-of-fold"), "seed": (0, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Config:
    """One stack and test.

    Args:
        dataset: which digits.
        seed: of hidden weights, folds and tuning.
        modules: how many.
        units: sigmoid units of each.
        spread: how strongly these are driven by the image; by default 6, of
            `differences` and of maps 1.
        maps: filters of random convolutions before the units; 0 for none.
        start: hidden weights: see above.
        start_epochs: passes over the images by which such a machine is trained.
        start_rate: its learning rate, falling to 0.
        ridge: of the sum over all examples.
        passed: which predictions training examples pass up.
        folds: of those out of fold.
        tune: steps by which hidden weights are tuned.
        tune_size: examples of such a step.
        learning_rate: of tuning, by Adam.
        examples: training images used at most, of a fixed order; by default all.
    """

    dataset: Literal["mnist", "usps"] = "usps"
    seed: int = 0
    modules: int = 5
    units: int = 1000
    spread: float | None = None
    maps: int = 0
    start: Literal["random", "differences", "rbm"] = "random"
    start_epochs: int = 5
    start_rate: float = 0.05
    ridge: float = 0.3
    passed: Literal["in-sample", "out-of-fold"] = "in-sample"
    folds: int = 5
    tune: int = 0
    tune_size: int = 10_000
    learning_rate: float = 3e-3
    examples: int | None = None


def run(config: Config, out: Path) -> Results:
    """Train module by module; measure the topmost on the test set."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        sources = {part: in_memory(DIGITS[config.dataset](part)) for part in ("train", "test")}
        rows = np.random.default_rng(0).permutation(len(sources["train"]))[: config.examples]
        parts: dict[str, dict[str, Any]] = {
            name: {field: np.asarray(column(source, field)) for field in ("image", "label")}
            for name, source in sources.items()
        }
        parts["train"] = {name: value[np.sort(rows)] for name, value in parts["train"].items()}
    if config.maps and config.start != "random":
        raise ValueError(f"--start {config.start} is made of images, not maps; leave out --maps")
    usual = 1.0 if config.maps or config.start == "differences" else 6.0
    spread = usual if config.spread is None else config.spread
    trunk = random_convolutions(maps=(config.maps,)) if config.maps else None
    module = jm.from_linen(StackingModule(config.units, trunk, spread=spread))
    start = {
        "random": None,
        "differences": class_differences(),
        "rbm": lambda *given: _machine(config, spread, *given),
    }[config.start]
    tuning = None
    if config.tune:
        schedule = optax.cosine_decay_schedule(config.learning_rate, config.tune)
        tuning = Tuning(config.tune, optax.adam(schedule), config.tune_size)
    with stage(seconds, "training"):
        stack = deep_stacking(
            jax.random.key(config.seed), parts["train"], [module] * config.modules, classes=10,
            ridge=config.ridge, passed=config.passed, folds=config.folds, tuning=tuning,
            start=start, validation=parts["test"],
        )  # fmt: skip
    with stage(seconds, "evaluation"):
        apply = jax.jit(lambda image: stack.network.apply(*stack.variables, image)[0]["logits"])
        test = parts["test"]
        logits = np.concatenate(
            [
                np.asarray(apply(test["image"][i : i + 500]))
                for i in range(0, len(test["label"]), 500)
            ]
        )
        errors = ", ".join(f"{100 * score['validation/error']:.2f}" for score in stack.scores)
        return classification(
            test["label"],
            # Least-squares estimates of probabilities: a scale that orders them, no more.
            special.softmax(10 * logits, axis=-1),
            task="multi-class",
            classes=tuple(sources["train"].classes),
            cases=sources["test"].case_ids,
            title=f"{config.dataset}, deep stacking of {config.modules} modules",
            description=(
                f"{config.modules} modules of {config.units} sigmoid units, "
                f"{config.start}{' and tuned' if config.tune else ''} hidden weights, predictions "
                "passed up "
                f"{config.passed}. Test error of each module, the lowest first, in per cent: "
                f"{errors}."
            ),
            splits=split_sizes(parts, classes=tuple(sources["train"].classes)),
            seconds=seconds,
            notes=("Scores are least-squares estimates on an arbitrary scale: no calibration.",),
        )


def _machine(
    config: Config, spread: float, key: Any, params: Any, arrays: dict[str, np.ndarray]
) -> Any:
    """A module's parameters, with the weights of a machine that is trained on the images."""
    images = arrays["image"].reshape(len(arrays["image"]), -1)
    feed = jm.data.batches(
        {"image": images}, min(100, len(images)), seed=config.seed, remainder="drop"
    )
    steps = config.start_epochs * len(feed)
    falling = jm.train.schedule("poly", config.start_rate, steps, power=1.0)
    one = jm.learner(
        rbm(config.units), contrastive_divergence(),
        jm.train.optimizer("momentum", falling, momentum=0.5),
    )  # fmt: skip
    result = jm.fit(
        one, feed, key=key, epochs=config.start_epochs, progress=False,
        devices=jm.train.Placement(compile_epochs=True),
    )  # fmt: skip
    made = result.state.params["net"]
    # The module multiplies its kernel with the spread; the predictions below keep drawn weights.
    return {**params, "kernel": made["kernel"] / spread, "bias": made["hidden_bias"]}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
