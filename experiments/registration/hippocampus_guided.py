"""Register hippocampi of different people, guided by what a network sees in each (Task 04).

    jaxmed train hippocampus_guided

A U-Net learns to segment the two parts on scans whose masks are given (Medical Segmentation
Decathlon), all but the last ones; of each pair of those, as `hippocampus_pairs` takes them, it
predicts both, and the pair is registered by local correlation and by the overlap of what was
predicted. Masks of the pairs only measure. Weight, smoothness and steps were chosen on pairs of the
scans before them (`--pairs 10 --skip 60`). So masks are learned from where no network has to learn
to register. `jaxmed register FIXED MOVING --guide DIR` does the same with any run that segments.

Expected on 30 pairs: mean Dice .841 (.829 to .853) from .582 as the scans lay and .754 after the
affine map; standard deviation of the logarithm of the Jacobian .057 as Learn2Reg computes it; no
voxel folds. A quarter of an hour on two CPU cores.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxmed as jm
from jaxmed import losses
from jaxmed import registration as reg
from jaxmed.data import ArraySource, decathlon
from jaxmed.inference import mirrored
from jaxmed.networks import UNetPlan, unet
from jaxmed.report import Results, Split, stage

from .._common.scans import augmentation
from ._hippocampi import pairs_of, scans_of
from ._pairs import Pair, Side, measured


@dataclasses.dataclass(frozen=True)
class Config:
    """What is learned, and how pairs are registered.

    Args:
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        pairs: how many are measured; twice as many scans, the last ones.
        skip: scans at the end that are left out, to choose settings on others.
        held: scans before the pairs that are left out of training too, on which settings were
            chosen.
        features: channels of the U-Net's finest stage; they double from stage to stage.
        patch: voxels of a patch.
        batch: patches of a step.
        training_steps: of the U-Net.
        learning_rate: at the start; it falls to 0 as (1 - t)^0.9.
        average: decay of the averaged parameters.
        window: of the local correlation, in voxels; odd.
        weight: of the overlap of what was predicted.
        smoothness: weight of the penalty, diffusion of the velocity.
        steps: of each level of a pair's optimisation.
        seed: of parameters, order and augmentation.
    """

    data: Path | None = None
    pairs: int = 30
    skip: int = 0
    held: int = 20
    features: int = 16
    patch: tuple[int, int, int] = (40, 56, 40)
    batch: int = 2
    training_steps: int = 2000
    learning_rate: float = 2e-3
    average: float = 0.995
    window: int = 7
    weight: float = 6.0
    smoothness: float = 0.75
    steps: int = 50
    seed: int = 0


def run(config: Config, out: Path) -> Results:
    """Train the U-Net, register the pairs, measure their masks."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = decathlon(config.data or jm.data.data_root() / "Task04_Hippocampus")
        n = len(source) - config.skip
        learned = n - 2 * config.pairs - (0 if config.skip else config.held)
        if config.pairs < 2 or learned < 2:
            raise ValueError(
                f"--pairs {config.pairs}, --skip {config.skip}, --held {config.held}: two pairs or "
                f"more, and two scans or more of {len(source)} to learn from"
            )
        scans = scans_of(source, learned)
        classes = source.classes[1:]
    network = _network(config, len(classes) + 1)
    learner = _learner(config, network)
    arrays = {"image": scans.arrays["image"], "mask": scans.arrays["mask"].astype(np.int32)}
    batches = jm.data.batches(
        ArraySource(arrays, case_ids=scans.case_ids), config.batch, seed=config.seed,
        transform=jm.data.random_patch(config.patch),
    )  # fmt: skip
    result = jm.fit(learner, batches, steps=config.training_steps, seed=config.seed, out=out)
    seconds["training"] = result.seconds
    params, state = learner.predicting.get(result.state)

    def softmax(x: Any) -> Any:
        return jax.nn.softmax(network.apply(params, state, x)[0]["logits"])

    seen = jax.jit(mirrored(softmax, (0,)))
    warps_of = partial(_warps, seen=seen, config=config)
    with stage(seconds, "registration"):
        return measured(
            pairs_of(source, n, config.pairs),
            warps_of,
            "linear",
            classes=classes,
            title="Hippocampi of different people, registered by what a network sees",
            description=(
                f"A U-Net of {config.features} channels and more learned to segment on "
                f"{len(scans)} scans. Each pair of others is registered, affinely and then by a "
                "velocity, by local correlation and by the overlap of what it predicts of both; "
                "masks of the pairs only measure."
            ),
            splits=(
                Split("train", len(scans)),
                Split("pairs", config.pairs),
            ),
            history=result.history,
            notes=source.notes,
            seconds=seconds,
        )


def _network(config: Config, classes: int) -> jm.Network:
    widths = tuple(config.features * 2**i for i in range(4))
    plan = UNetPlan(widths, (1, 2, 2, 2), (3,) * 4, (2,) * 4, (2,) * 3)
    return jm.core.as_network(unet(classes, plan=plan, deep_supervision=True))


def _learner(config: Config, network: jm.Network) -> jm.Learner:
    loss = losses.deep_supervision(losses.dice_ce)
    objective = jm.paradigms.augmented(
        jm.supervised(loss, output="deep", target="mask"), augmentation()
    )
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="poly", steps=config.training_steps,
        weight_decay=1e-2, clip=5.0,
    )  # fmt: skip
    return jm.train.parameter_average(jm.learner(network, objective, optimizer), config.average)


def _warps(pair: Pair, seen: Any, config: Config) -> dict[str, reg.Warp]:
    """The warps by name, each with those before it in it."""

    def beside(side: Side) -> jm.data.Scan:
        return reg.guided_scan(side.image, np.asarray(seen(side.image.array[None])[0, ..., 1:]))

    images = beside(pair.fixed), beside(pair.moving)
    where = (pair.fixed.inside, pair.moving.inside)
    similarity = reg.guided(partial(losses.lncc, window=config.window), weight=config.weight)
    start = reg.register(
        *images, transform="affine", similarity=similarity, levels=(1,), steps=config.steps,
        where=where,
    ).warp  # fmt: skip
    field = reg.register(
        *images, similarity=similarity, penalty={"diffusion": config.smoothness}, levels=(1, 0),
        steps=config.steps, where=where, initial=start,
    ).warp  # fmt: skip
    return {"before": reg.affine_warp(np.eye(4)), "affine": start, "field": field}


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
