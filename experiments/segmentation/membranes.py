"""Segment membranes of neurons in electron microscopy (ISBI 2012): sweeps beside a U-Net.

    jaxmed train membranes --network pyramid_lstm
    jaxmed train membranes --network unet

30 consecutive slices; one of five blocks of them is held out, segmented and measured once, with the
averaged parameters after the last step: nothing is chosen by it. A network learns from stacks of
slices, cut at random, none across the block, turned and mirrored in their plane. `pyramid_lstm` and
`mdgru` sweep along rows, columns and slices, both ways; `conv_lstm` along slices alone; `unet` is
planned for the patch.

`pixel_error` is the share of pixels whose class is wrong, the mean over the slices held out; all
called cell are wrong on about .22. `v_rand` and `v_info` say which cells were cut apart (`split`)
and which run together (`merge`), as the challenge ranks them: cells are what membranes divide of a
slice, joined by edges; those found grow until no membrane is left, and pixels of true cells count.
The challenge takes the best of several thresholds; here a pixel is what is more probable, and
nothing is chosen by the slices held out.

Slices of one block are of one piece of tissue: intervals over them do not speak for another.
Measured: docs/recurrent.md. 800 steps take some 5 minutes of a core by the U-Net and along slices
alone, 14 by GRUs and 22 by LSTMs along all axes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

import jaxmed as jm
from jaxmed import stats
from jaxmed.augment import brightness, chain, contrast, flip, rot90
from jaxmed.data import Scan, Space
from jaxmed.inference import Recipe
from jaxmed.report import Results, Split, best_median_worst, mask_picture, segmentation, stage

from .._common.scans import with_weights

GRID = {"network": ("unet", "conv_lstm", "pyramid_lstm", "mdgru"), "block": (4, 3, 2, 1, 0)}
_SPACING = (50.0, 4.0, 4.0)  # nanometres


@dataclasses.dataclass(frozen=True)
class Config:
    """One network, one block.

    Args:
        network: the U-Net, or layers of sweeps.
        data: the folder; by default isbi2012_em in JAXMED_DATA.
        block: the one held out, from 0.
        blocks: into how many the slices are cut.
        seed: of parameters, patches and augmentation.
        steps: of training.
        batch: patches of a step.
        patch: slices, rows and columns of a patch.
        features: channels of the U-Net's finest stage.
        sweeps: channels of each recurrent layer.
        learning_rate: at its highest; it falls to 0 along a cosine.
        average: decay of the averaged parameters.
    """

    network: Literal["unet", "conv_lstm", "pyramid_lstm", "mdgru"] = "pyramid_lstm"
    data: Path | None = None
    block: int = 4
    blocks: int = 5
    seed: int = 0
    steps: int = 800
    batch: int = 2
    patch: tuple[int, int, int] = (6, 64, 64)
    features: int = 16
    sweeps: tuple[int, ...] = (8, 16)
    learning_rate: float = 3e-3
    average: float = 0.99


def run(config: Config, out: Path) -> Results:
    """Train on the other blocks, segment the one held out, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        slices = jm.data.isbi2012(config.data or jm.data.data_root() / "isbi2012_em")
        learned, held_out = blocks_of(len(slices), config)
        recipe = Recipe(
            # Measured in pixels: a slice is no thinner where it is held as a picture.
            classes=tuple(slices.classes), channels=("EM",), spacing=(0.0,) * 3,
            patch=config.patch, **_network(config),
        )  # fmt: skip
        stacks = [
            {"image": jm.inference.prepare(recipe, part).array, "mask": slices.column("mask")[rows]}
            for rows in learned
            for part in [scan_of(slices.column("image")[rows])]
        ]
        cases = windows(stacks, config.patch[0])
    batches = jm.data.batches(
        cases, min(config.batch, len(cases)), seed=config.seed,
        transform=jm.data.random_patch(config.patch), remainder="drop",
    )  # fmt: skip
    objective = jm.paradigms.augmented(
        jm.supervised(jm.losses.dice_ce, target="mask"),
        chain(flip(), rot90((1, 2)), brightness(0.2), contrast((0.75, 1.25))),
    )
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-4,
        clip=5.0,
    )  # fmt: skip
    learner = jm.train.parameter_average(
        jm.learner(recipe.network(), objective, optimizer), config.average
    )
    result = jm.fit(learner, batches, seed=config.seed, steps=config.steps, out=out)
    seconds["training"] = result.seconds
    with stage(seconds, "evaluation"):
        blank = jm.inference.segmenter(recipe, None, None)
        model = with_weights(blank, learner, result.state)
        images, truth = (slices.column(name)[held_out] for name in ("image", "mask"))
        found = jm.inference.segment(model, scan_of(images)).array
        wrong = (found != truth).mean((1, 2))
        names = [str(slices.case_ids[i]) for i in held_out]
        results = segmentation(
            list(zip(names, truth, found, strict=True)),
            classes=("membrane",),
            title=f"Membranes in electron microscopy, {config.network}",
            description=(
                f"{_said(config)}, trained for {config.steps} steps on {config.batch} patches of "
                f"{' x '.join(map(str, config.patch))}. Slices {names[0]} to {names[-1]} are "
                "segmented with the averaged parameters after the last step; nothing was chosen "
                "by them."
            ),
            splits=(
                Split("train", len(slices) - len(held_out)), Split("held out", len(held_out))
            ),
            history=result.history,
            seconds=seconds,
            notes=("All slices are of one piece of tissue: intervals do not speak for another.",),
        )  # fmt: skip
        error = stats.mean(wrong, bounds=(0, 1), name="pixel_error")
        agreement = _of_cells(found, truth)
        pictures = tuple(
            mask_picture(
                names[i], images[i], truth[i], found[i], rank=rank,
                caption=f"pixel error {wrong[i]:.3f}",
            )
            for rank, i in best_median_worst(-wrong).items()
        )  # fmt: skip
        jm.inference.save_model(out, model)
    return results.replace(
        metrics={error.name: error, **agreement, **results.metrics},
        headline=(error.name, "v_rand", "dice"),
        pictures=pictures,
    )


def blocks_of(n: int, config: Config) -> tuple[list[np.ndarray], np.ndarray]:
    """Slices that are learned from, in runs without a gap, and those of the block held out."""
    if not 0 <= config.block < config.blocks:
        raise ValueError(f"block is 0 to {config.blocks - 1}, got {config.block}")
    blocks = np.array_split(np.arange(n), config.blocks)
    parts = (blocks[: config.block], blocks[config.block + 1 :])
    return [np.concatenate(part) for part in parts if part], blocks[config.block]


def windows(stacks: list[dict[str, np.ndarray]], depth: int) -> list[dict[str, np.ndarray]]:
    """All runs of consecutive slices, so that each is drawn alike; views, no copies.

    Raises:
        ValueError: if no stack is as deep.
    """
    found = [
        {name: value[i : i + depth] for name, value in stack.items()}
        for stack in stacks
        for i in range(len(stack["mask"]) - depth + 1)
    ]
    if not found:
        raise ValueError(f"a patch of {depth} slices is deeper than what is left beside the block")
    return found


def scan_of(images: np.ndarray) -> Scan:
    """Slices as a volume."""
    affine = np.diag([*_SPACING, 1.0])
    return Scan(images, affine, Space(images.shape[:-1], affine))


def _of_cells(found: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Splits and mergers of the cells of each slice, the mean over slices."""
    cells = [
        [ndimage.label(one == 0)[0] for one in pair] for pair in zip(found, truth, strict=True)
    ]
    scores: dict[str, Any] = {}
    for name, measure in (("v_rand", jm.metrics.v_rand), ("v_info", jm.metrics.v_info)):
        of_slices = np.array([measure(*pair) for pair in cells])
        for part, values in zip(("", "_split", "_merge"), of_slices.T, strict=True):
            defined = values[~np.isnan(values)]  # A slice of one cell has no entropy.
            if len(defined) > 1:
                scores[name + part] = stats.mean(defined, bounds=(0, 1), name=name + part)
    return scores


def _network(config: Config) -> dict[str, Any]:
    if config.network != "unet":
        make = getattr(jm.networks, config.network)
        return {"net": make(2, features=config.sweeps)}
    plan = jm.networks.plan_unet(config.patch, _SPACING, base_features=config.features)
    depths = {"depths": (2,) * plan.stages, "decoder_depths": (2,) * (plan.stages - 1)}
    return {"plan": dataclasses.replace(plan, **depths)}


def _said(config: Config) -> str:
    if config.network == "unet":
        return f"A U-Net with {config.features} channels in its finest stage"
    widths = " and ".join(map(str, config.sweeps))
    return f"Layers of sweeps ({config.network}) of {widths} channels"


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
