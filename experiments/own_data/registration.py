"""Learn to register one's own scans: pairs of them, from the images alone or with masks.

    jaxmed train registration --data PATH

PATH is a table or folder of scans, as of `jaxmed train segmentation`, of which pairs are drawn, or
a table that lists pairs: columns `fixed` and `moving`, perhaps `fixed_mask` and `moving_mask`,
`patient`, `split` (docs/registration.md). Masks are learned from where there are any, and judge: a
fifth of the patients is held out, whose pairs are registered once, by the averaged parameters after
the last step. Without masks local correlation is told, which is what was optimised.

`jaxmed register FIXED MOVING --network DIR` registers further scans.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import jaxmed as jm
from jaxmed import losses, report
from jaxmed import registration as reg
from jaxmed.augment import chain, flip
from jaxmed.networks import UNetPlan, unet
from jaxmed.report import RegistrationResults, stage

from .._common.by_level import by_level, scales_of
from ._own import in_steps, repeated
from ._pair_frames import Frame, Ready, stacked
from ._pair_tables import clusters, listed
from ._pair_values import PairData, looked, measured
from ._parts import dealt, partition, sizes

_SHOWN = 4  # Held-out pairs that are looked at while training.
_INSIDE = ("fixed_inside", "moving_inside")
_MASKS = ("fixed_mask", "moving_mask")


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: the table or folder.
        columns: ROLE=COLUMN where a table's columns have other names: fixed=first moving=second.
        classes: names of the masks' classes, the background first, where the data name none.
        map: NUMBER=CLASS, where masks are written otherwise: 255=1 0=0.
        patient: column of the patient; of a folder `folder` or a pattern with one group.
        merge_rows: whether rows of one image are one.
        held_out: share of the patients on which the network is measured: a fifth.
        fold: which of the parts of that size, from 0.
        patients: whether pairs that are drawn are of any scans, of one patient or of two.
        align: what puts a pair together at first: the middles of their grids, or what their headers
            say. By default headers of pairs that are listed or of one patient, else middles.
        labels: whether masks, where there are any, are learned from too.
        label_weight: weight of the masks' Dice loss.
        network: a U-Net of one field, or a pyramid of networks, trained level by level.
        features: channels of each stage, or level.
        stages: of the U-Net, or levels of the pyramid.
        similarity: of the images: lncc of one modality, mind of two, mse where brightness means the
            same.
        smoothness: weight of the penalty, diffusion of the velocity.
        size: of the longest edge, in voxels; coarser scans stay as they are. By default 64 of
            volumes and 192 of pictures.
        drawn: pairs of an epoch that are drawn.
        steps: of the training.
        batch: pairs of a step, each registered both ways.
        learning_rate: at first; it falls to 0 as a cosine.
        mirror: whether pairs are mirrored from left to right.
        seed: of parts, pairs, parameters and mirroring.
    """

    data: Path | None = None
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    map: tuple[str, ...] = ()
    patient: str | None = None
    merge_rows: bool = False
    folds: ClassVar[int] = 1
    held_out: float = 0.2
    fold: int = 0
    patients: Literal["any", "same", "different"] = "any"
    align: Literal["middles", "headers"] | None = None
    labels: bool = True
    label_weight: float = 3.0
    network: Literal["voxelmorph", "lapirn"] = "voxelmorph"
    features: int = 32
    stages: int = 3
    similarity: Literal["lncc", "mind", "mse"] = "lncc"
    smoothness: float = 0.2
    size: int | None = None
    drawn: int = 500
    steps: int = 3000
    batch: int = 1
    learning_rate: float = 1e-3
    mirror: bool = True
    seed: int = 0


def run(config: Config, out: Path) -> RegistrationResults:
    """Train on pairs, register the pairs that are held out, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        scans = listed(config)
        parts = dealt(scans.source, config)
        data = PairData(config, scans, parts)
        few = [(data.ready(a), data.ready(b)) for a, b in data.pairs[:_SHOWN]]
        arrays = stacked(scans.source, data.train, [data.ready(i) for i in data.train])
        if data.learned is None:
            drawn = reg.scan_pairs(arrays, config.drawn, seed=config.seed, patients=config.patients)
        else:
            drawn = reg.scan_pairs(arrays, pairs=data.learned)
    batches = jm.data.batches(repeated(drawn, config.batch), config.batch, seed=config.seed)
    with stage(seconds, "training"):
        network, result, found = _trained(config, data, batches, few, out)
    channels = int(arrays.arrays["image"].shape[-1])
    model = reg.WarpModel(
        network, *found, spacing=data.frame.spacing, channels=channels, centred=data.centred
    )
    reg.save_warp_model(out, model)
    with stage(seconds, "evaluation"):
        values, drawn_pairs = measured(data, model)
    source = scans.source
    return report.registration(
        values,
        cases=[data.names_of(pair) for pair in data.pairs],
        groups=clusters(source, data.pairs),
        drawn=drawn_pairs,
        title=f"Registration of {Path(source.name).stem}",
        description=_told(config, data, result.step),
        splits=sizes(source, parts),
        partition=partition(source),
        flow=(*parts.flow, f"{len(data.pairs)} pairs of what is held out are measured"),
        history=result.history,
        best_step=result.step,
        seconds=seconds,
        notes=(*source.notes, *_notes(data)),
    )


def _trained(
    config: Config, data: PairData, batches: Any, few: list[tuple[Ready, Ready]], out: Path
) -> tuple[jm.Network, Any, Any]:
    """The network, the result of its training and the averaged parameters."""
    steps, every = in_steps(config.steps, len(batches))
    plan = _plan(config, data.frame)

    def fit(number: int, network: jm.Network, steps: int, folder: Path) -> tuple[Any, Any]:
        scales = scales_of(number, config.stages) if config.network == "lapirn" else None
        learner = _learner(config, data, network, steps, scales)

        def look(state: jm.LearnerState) -> dict[str, float]:
            warps = [
                reg.predict_warp(network, *learner.predicting.get(state), a.image, b.image)
                for a, b in few
            ]
            return looked(data, few, warps)

        result = jm.fit(
            learner, batches, steps=steps, seed=config.seed, out=folder,
            evaluate=jm.train.Evaluation(look, every=every),
        )  # fmt: skip
        return result, learner.predicting.get(result.state)

    if config.network == "lapirn":
        options = {"features": config.features}
        result, found = by_level(config.stages, steps, fit, out, **options)
        return reg.lapirn(levels=config.stages, **options), result, found
    network = reg.voxelmorph(unet(plan=plan))
    result, found = fit(0, network, steps, out)
    return network, result, found


def _plan(config: Config, frame: Frame) -> UNetPlan:
    """The U-Net's stages; an axis of few voxels is made no coarser."""
    n, shape, strides = config.stages, np.array(frame.shape), []
    for _ in range(n):
        stride = np.where(shape >= 12, 2, 1)
        shape = -(-shape // stride)
        strides.append(tuple(stride.tolist()))
    return UNetPlan((config.features,) * n, tuple(strides), (3,) * n, (2,) * n, (2,) * (n - 1))


def _learner(
    config: Config, data: PairData, network: jm.Network, steps: int, scales: Any
) -> jm.Learner:
    classes, rank = len(data.numbers), len(data.frame.shape)
    unlike: Any = (
        partial(losses.lncc, window=7) if config.similarity == "lncc" else config.similarity
    )
    if scales is not None:
        unlike = reg.multiscale(config.similarity, scales=scales)
    learned = classes > 0 and config.labels
    objective = reg.pair_objective(
        unlike, penalty={"diffusion": config.smoothness}, symmetric=True, where=_INSIDE,
        classes=classes if learned else None, label_weight=config.label_weight,
    )  # fmt: skip
    if config.mirror:
        masks = (*(_MASKS if classes else ()), *_INSIDE)
        sides = flip(0 if rank == 3 else 1)  # of volumes in RAS, of pictures in rows
        objective = jm.paradigms.augmented(
            objective, chain(sides, images=("fixed", "moving"), masks=masks)
        )
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="cosine", steps=steps,
        weight_decay=1e-4, clip=1.0,
    )  # fmt: skip
    learner = jm.learner(network, objective, optimizer, inputs=("fixed", "moving"))
    return jm.train.parameter_average(learner, min(0.995, 1 - 10 / max(steps, 20)))


def _told(config: Config, data: PairData, steps: int) -> str:
    kind = f"A U-Net of {config.stages} stages"
    if config.network == "lapirn":
        kind = f"A pyramid of {config.stages} networks, trained one after the other from the coarse"
    by = "the likeness of the images"
    by += " and the overlap of their masks" if data.numbers and config.labels else " alone"
    shape = " x ".join(map(str, data.frame.shape))
    lengths = " x ".join(f"{s:.3g}" for s in data.frame.spacing)
    which = "pairs drawn" if data.learned is None else "listed pairs"
    what = "test pairs" if data.test else "pairs of held-out scans"
    return (
        f"{kind}, {config.features} channels each, predicts the velocity of a pair on {shape} "
        f"voxels of {lengths} mm. It learned from {which}, {steps} steps, by {by}. The {what} are "
        "registered once, with the averaged parameters after the last step; nothing was chosen by "
        "them, and their masks only measure."
    )


def _notes(data: PairData) -> list[str]:
    begin = "with their middles on each other" if data.centred else "where their headers say"
    found = [f"Pairs begin {begin}."]
    if not data.numbers:
        found.append(
            "Without masks there is only likeness, which is what was optimised: images that look "
            "alike need not agree place by place."
        )
    if data.learned is None and len(data.pairs) < len({i for p in data.pairs for i in p}):
        found.append("Each scan that is measured is in one pair.")
    return found


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
