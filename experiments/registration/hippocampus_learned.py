"""Learn to register hippocampi of different people, from their scans alone or with masks (Task 04).

    jaxmed train hippocampus_learned
    jaxmed train hippocampus_learned --labels
    jaxmed train hippocampus_learned --refine 30

A network predicts the velocity of a pair of scans (Medical Segmentation Decathlon) at half
resolution; it learns on random pairs of all scans but the last, by their local correlation, and
with `--labels` by the overlap of their masks too. The pairs measured are those of
`hippocampus_pairs`, whose scans no training has seen; masks of these only measure. Pairs of the
scans before them are watched in training, by their masks, and choose nothing in a run: settings
are chosen by them. `--refine` goes on from what the network predicts by optimisation for each pair.
Dice is given with masks moved linearly, class by class, and by nearest neighbour. `jaxmed register
FIXED MOVING --network DIR` registers further scans of such blocks.

Expected with `--labels --label-weight 3` on 30 pairs: mean Dice .760 (.744 to .775) from .582, in
six minutes of two CPU cores, in which it is still rising; from the images alone .743 (.726 to
.761), where optimisation of each pair by itself comes to .77. `hippocampus_guided` makes more of
the same masks in the same time.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxmed as jm
from jaxmed import losses
from jaxmed import registration as reg
from jaxmed.augment import chain, flip
from jaxmed.data import decathlon
from jaxmed.networks import UNetPlan, unet
from jaxmed.report import Results, Split, stage

from ._hippocampi import pairs_of, scans_of
from ._pairs import Pair, measured


@dataclasses.dataclass(frozen=True)
class Config:
    """What is learned, and what is measured.

    Args:
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        pairs: how many are measured; twice as many scans are held out, the last ones.
        watched: pairs of the scans before those, for the learning curve.
        labels: whether masks of the training scans are learned from too.
        network: a U-Net of one field, or a pyramid of networks.
        features: channels of each stage, or level.
        stages: of the U-Net, or levels of the pyramid.
        window: of the local correlation, in voxels; odd.
        smoothness: weight of the penalty, diffusion of the velocity.
        label_weight: weight of the masks' Dice loss.
        drawn: pairs of an epoch, at random.
        epochs: passes over them.
        batch: pairs of a step, each registered both ways.
        learning_rate: at first; it falls to 0 as a cosine.
        average: decay of the averaged parameters.
        refine: steps of optimisation of each measured pair, from what was predicted.
        moved: how masks are moved where the results name no way.
        seed: of pairs, parameters and mirroring.
    """

    data: Path | None = None
    pairs: int = 30
    watched: int = 10
    labels: bool = False
    network: Literal["voxelmorph", "lapirn"] = "voxelmorph"
    features: int = 32
    stages: int = 3
    window: int = 7
    smoothness: float = 0.2
    label_weight: float = 1.0
    drawn: int = 500
    epochs: int = 6
    batch: int = 1
    learning_rate: float = 1e-3
    average: float = 0.995
    refine: int = 0
    moved: Literal["linear", "nearest"] = "linear"
    seed: int = 0


_MASKS = ("fixed_mask", "moving_mask")
_INSIDE = ("fixed_inside", "moving_inside")


def run(config: Config, out: Path) -> Results:
    """Train on pairs of the other scans, register the held-out pairs, measure their masks."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = decathlon(config.data or jm.data.data_root() / "Task04_Hippocampus")
        n = len(source)
        learned = n - 2 * config.pairs - 2 * config.watched
        if config.pairs < 2 or config.watched < 1 or learned < 2:
            raise ValueError(
                f"--pairs {config.pairs}, --watched {config.watched}: 2 or more and 1 or more, and "
                f"two scans or more of {n} are left to learn from"
            )
        classes = source.classes[1:]
        scans = scans_of(source, learned)
        watched = [*pairs_of(source, n - 2 * config.pairs, config.watched)]
    drawn = reg.scan_pairs(scans, config.drawn, seed=config.seed)
    batches = jm.data.batches(drawn, config.batch, seed=config.seed)
    learner = _learner(config, len(classes), config.epochs * len(batches))
    network = _network(config)

    def look(state: jm.LearnerState) -> dict[str, float]:
        variables = learner.predicting.get(state)
        found = [_watched(network, variables, pair, len(classes)) for pair in watched]
        return {"val/dice": float(np.mean(found))}

    result = jm.fit(
        learner, batches, epochs=config.epochs, seed=config.seed, out=out, evaluate=look
    )
    seconds["training"] = result.seconds
    predicting = learner.predicting.get(result.state)
    reg.save_warp_model(out, reg.WarpModel(network, *predicting, spacing=(1.0, 1.0, 1.0)))

    def warps_of(pair: Pair) -> dict[str, reg.Warp]:
        fixed, moving = pair.fixed.image, pair.moving.image
        found = reg.predict_warp(network, *predicting, fixed, moving)
        warps = {"before": reg.affine_warp(np.eye(4)), "field": found}
        if config.refine:
            warps["network"] = found
            warps["field"] = reg.register(
                fixed, moving, initial=found, symmetric=True, levels=1, steps=config.refine,
                rate=0.1, similarity=_similarity(config), penalty=_penalty(config),
                where=(pair.fixed.inside, pair.moving.inside),
            ).warp  # fmt: skip
        return warps

    with stage(seconds, "registration"):
        return measured(
            pairs_of(source, n, config.pairs),
            warps_of,
            config.moved,
            classes=classes,
            title="Hippocampi of different people, registered by a network",
            description=_told(config, len(scans)),
            splits=(
                Split("train", len(scans)),
                Split("watched pairs", config.watched),
                Split("pairs", config.pairs),
            ),
            history=result.history,
            notes=source.notes,
            seconds=seconds,
        )


def _network(config: Config) -> jm.Network:
    n = config.stages
    if config.network == "lapirn":
        return reg.lapirn(levels=n, features=config.features)
    plan = UNetPlan((config.features,) * n, (2,) * n, (3,) * n, (2,) * n, (2,) * (n - 1))
    return reg.voxelmorph(unet(plan=plan))


def _similarity(config: Config) -> partial:
    return partial(losses.lncc, window=config.window)


def _penalty(config: Config) -> dict[str, float]:
    return {"diffusion": config.smoothness}


def _watched(network: jm.Network, variables: Any, pair: Pair, classes: int) -> float:
    """Mean Dice of a pair's masks."""
    warp = reg.predict_warp(network, *variables, pair.fixed.image, pair.moving.image)
    moved = reg.warp_scan(warp, pair.moving.mask, pair.fixed.mask.space)
    found = jm.report.agreement(pair.fixed.mask.array, moved.array, classes)
    return float(np.nanmean(found["dice"]))


def _learner(config: Config, classes: int, steps: int) -> jm.Learner:
    objective = reg.pair_objective(
        _similarity(config), penalty=_penalty(config), symmetric=True, where=_INSIDE,
        classes=classes if config.labels else None, label_weight=config.label_weight,
    )  # fmt: skip
    mirror = chain(flip(0), images=("fixed", "moving"), masks=(*_MASKS, *_INSIDE))
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="cosine", steps=steps,
        weight_decay=1e-4, clip=1.0,
    )  # fmt: skip
    learner = jm.learner(
        _network(config),
        jm.paradigms.augmented(objective, mirror),
        optimizer,
        inputs=("fixed", "moving"),
    )
    return jm.train.parameter_average(learner, config.average)


def _told(config: Config, scans: int) -> str:
    kind = "A pyramid of networks" if config.network == "lapirn" else "A U-Net"
    learned = "by their local correlation" + (" and their masks" if config.labels else " alone")
    text = (
        f"{kind} of {config.features} channels predicts a velocity at half resolution. It learned "
        f"on {config.drawn} random pairs of {scans} scans in {config.epochs} passes, {learned}; "
        "the scans of the pairs measured are others, and their masks only measure."
    )
    if config.refine:
        text += f" Each pair is then optimised in {config.refine} steps, without masks."
    return text


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
