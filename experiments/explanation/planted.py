"""Ask every method of explanation for a cause that was planted.

    jaxmed train planted --seed 0

A small CNN tells images with an ellipsoid from images without; both have other shapes, as large and
as bright. In test images that it rightly calls positive the ellipsoid is the cause, and each method
of `jaxmed.explain` is asked for it: does the largest value lie in its box, how well does the map
rank the box's pixels, and how much is left of the map when the network's parameters are put in a
random order. The default run takes some two to three minutes of CPU time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxmed as jm
from jaxmed import explain, losses, report, stats
from jaxmed.core import Variables
from jaxmed.data import ArraySource, phantoms
from jaxmed.networks import cnn
from jaxmed.paradigms import supervised
from jaxmed.report import Results, split_sizes, stage

GRID = {"seed": (0, 1, 2)}


@dataclasses.dataclass(frozen=True)
class Config:
    """One training, explained.

    Args:
        side: pixels along each axis.
        train: training images.
        test: test images; those with an ellipsoid that is found are explained.
        noise: standard deviation; shapes stand out by 0.3 to 0.7.
        steps: of the training.
        batch: images of a step.
        learning_rate: of Adam, falling to 0 by a cosine.
        samples: masks of RISE, coalitions of kernel SHAP.
        seed: of phantoms, parameters, order and methods.
    """

    side: int = 48
    train: int = 800
    test: int = 100
    noise: float = 0.05
    steps: int = 500
    batch: int = 32
    learning_rate: float = 2e-3
    samples: int = 400
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Train, explain, compare with what was planted."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts = {
            name: _planted(config, n, 2 * config.seed + i)
            for i, (name, n) in enumerate({"train": config.train, "test": config.test}.items())
        }
    network = jm.from_linen(cnn(2, features=(16, 24, 32), convs=2, norm="group"))
    rate = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    learner = jm.learner(network, supervised(losses.cross_entropy), optax.adam(rate))
    with stage(seconds, "training"):
        batches = jm.data.batches(parts["train"], config.batch, seed=config.seed)
        trained = jm.fit(learner, batches, seed=config.seed, steps=config.steps, out=out)
    variables = learner.predicting.get(trained.state)
    test = parts["test"].arrays
    with stage(seconds, "evaluation"):
        logits = network.apply(variables.params, variables.state, test["image"])[0]["logits"]
        scores = np.asarray(jax.nn.softmax(logits))
        results = report.classification(
            test["label"], scores, classes=("none", "ellipsoid"),
            title="A planted cause, and the methods that are asked for it",
        )  # fmt: skip
    found = (test["label"] == 1) & (scores[:, 1] >= 0.5)
    if found.sum() < 2:
        raise ValueError("fewer than two images are rightly called positive: train for longer")
    with stage(seconds, "explanation"):
        asked = methods(config, parts["train"].arrays["image"])
        told = _explained(
            asked, network, variables, test["image"][found], test["cause"][found], config.seed
        )
    return results.replace(
        metrics={**results.metrics, **told},
        description=(
            f"A CNN of {jm.core.count_parameters(variables.params):,} parameters, {config.steps} "
            f"steps of {config.batch} images of {config.side} x {config.side} pixels. "
            f"{int(found.sum())} test images with an ellipsoid that is found are explained. "
            "Nothing was chosen by the test images."
        ),
        splits=split_sizes(parts),
        partition="Drawn from generators of different seeds.",
        history=trained.history,
        seconds=seconds,
    )


def methods(config: Config, train: np.ndarray) -> dict[str, Callable[..., Any]]:
    """The methods by name."""
    regions = explain.grid_regions((config.side,) * 2, 8)
    return {
        "gradient": explain.gradient,
        "input_x_gradient": explain.input_x_gradient,
        "smooth_grad": explain.smooth_grad,
        "integrated_gradients": explain.integrated_gradients,
        "expected_gradients": partial(explain.expected_gradients, references=train[:64]),
        "guided_backprop": explain.guided_backprop,
        "lrp": explain.lrp,
        "grad_cam": explain.grad_cam,
        "occlusion": partial(explain.occlusion, window=config.side // 6),
        "rise": partial(explain.rise, samples=config.samples),
        "kernel_shap": partial(explain.kernel_shap, regions=regions, samples=config.samples),
    }


def _explained(
    asked: dict[str, Callable[..., Any]],
    network: jm.Network,
    variables: Variables,
    images: np.ndarray,
    causes: np.ndarray,
    seed: int,
) -> dict[str, stats.Estimate]:
    """Of each method: pointing, average precision, likeness to the map of a random network.

    Absence is the mean intensity of the images, and the score is the log odds.
    """
    target = explain.class_score(1, of="log_odds")
    rows = {"chance": explain.mask_share(causes)}
    for name, method in asked.items():
        baselined = name in ("integrated_gradients", "occlusion", "rise", "kernel_shap")
        options = {"baseline": float(images.mean())} if baselined else {}
        compiled = explain.compiled(partial(method, **options))
        given = (network, variables.params, variables.state, images, target)
        key = jax.random.key(seed)
        maps = compiled(key, *given)
        random = explain.parameter_randomisation(key, compiled, *given, layers="all")
        rows[f"pointing/{name}"] = explain.pointing_game(maps, causes)
        rows[f"precision/{name}"] = explain.mask_average_precision(maps, causes)
        rows[f"random/{name}"] = random.likeness[-1]
    return {
        name: explain.over_cases(
            values, bounds=(-1, 1) if name.startswith("random/") else (0, 1), name=name
        )
        for name, values in rows.items()
    }


def _planted(config: Config, n: int, seed: int) -> ArraySource:
    """Images with and without an ellipsoid among other shapes, and the mask of its box."""
    source = phantoms.detection(
        n, (config.side,) * 2, classes=3, objects=3, noise=config.noise, seed=seed
    )
    label = (source.arrays["box_label"] == 0).any(1)
    cause = np.zeros((n, config.side, config.side), bool)
    rows, columns = np.indices((config.side,) * 2) + 0.5
    for mask, boxes, kinds in zip(
        cause, source.arrays["box"], source.arrays["box_label"], strict=True
    ):
        for top, left, bottom, right in boxes[kinds == 0]:
            mask |= (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
    arrays = {"image": source.arrays["image"], "label": label.astype(np.int32), "cause": cause}
    return ArraySource(
        arrays, case_ids=source.case_ids, classes=("none", "ellipsoid"), name="planted"
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
