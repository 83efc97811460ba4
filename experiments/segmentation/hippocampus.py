"""Segment the two halves of the hippocampus in 3D MRI (Medical Segmentation Decathlon, Task 04).

    jaxmed train hippocampus --fold 0
    jaxmed train hippocampus --fold 0 --network mdgru

A 3D U-Net planned as nnU-Net plans it, on patches that hold a whole scan of the median size;
intensities by z-score, Dice and cross-entropy with deep supervision, AdamW, averaged parameters.
One of five folds by case, drawn with a seed, is held out: it is predicted and measured once, with
the parameters after the last step, so nothing is chosen by it. `jaxmed predict DIR scan.nii.gz`
segments further scans. `--network` puts recurrent layers in the U-Net's place, which sweep over the
patch along all axes, both ways; the rest stays as it is, but there is no deep supervision. Such a
step takes five times as long (8 and 16 channels): `--epochs 8`.

Expected on fold 0: mean Dice of the two parts .886 (.875 to .896), anterior .896 and posterior
.877; 27 minutes on two busy CPU cores with the native convolution (`pip install jaxmed[cpu]`).
nnU-Net v2 reaches .890, in five folds on a GPU.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxmed as jm
from jaxmed.report import Results, Split, segmentation, stage

from .._common.rounds import Round, ends, in_rounds, kept_rounds, may_differ, rate, told
from .._common.scans import augmentation, pictures, read, with_weights

extends = partial(may_differ, field="epochs")


@dataclasses.dataclass(frozen=True)
class Config:
    """One fold.

    Args:
        data: the Decathlon folder; by default Task04_Hippocampus in JAXMED_DATA.
        fold: the one held out, from 0.
        folds: into how many the cases are dealt.
        seed: of folds, parameters, order of batches and augmentation.
        epochs: passes over the training cases; more of them let a finished run go on.
        batch: patches of a step.
        patch: voxels of a patch.
        network: the U-Net, or layers of convolutional GRUs or LSTMs.
        features: channels of the U-Net's finest stage; they double from stage to stage.
        sweeps: channels of each recurrent layer.
        learning_rate: at the start; it falls to 0 as (1 - t)^0.9.
        average: decay of the averaged parameters.
        evaluate_every: epochs between looks at the held-out fold, for the learning curve alone.
    """

    data: Path | None = None
    fold: int = 0
    folds: int = 5
    seed: int = 0
    epochs: int = 30
    batch: int = 2
    patch: tuple[int, int, int] = (40, 56, 40)
    network: Literal["unet", "mdgru", "pyramid_lstm"] = "unet"
    features: int = 16
    sweeps: tuple[int, ...] = (8, 16)
    learning_rate: float = 2e-3
    average: float = 0.995
    evaluate_every: int = 5


def run(config: Config, out: Path) -> Results:
    """Train on the other folds, segment the held-out one in each scan's own space, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        if config.network == "unet":
            scans = read(config, options={"deep_supervision": True}, mirror=(0,))
        else:
            make = getattr(jm.networks, config.network)
            scans = read(
                config, mirror=(0,), net=lambda classes: make(classes, features=config.sweeps)
            )
    source, recipe, cases, held_out = scans
    k = len(source.classes) - 1

    cut = jm.data.random_patch(config.patch)
    if config.network == "unet":
        loss = jm.losses.deep_supervision(jm.losses.dice_ce)
        segment = jm.supervised(loss, output="deep", target="mask")
        said = f"A 3D U-Net of {config.features} to {max(recipe.plan.features)} channels"
    else:
        segment = jm.supervised(jm.losses.dice_ce, target="mask")
        widths = " and ".join(map(str, config.sweeps))
        said = f"Layers of sweeps ({config.network}) of {widths} channels"
    blank = jm.inference.segmenter(recipe, None, None)
    few = held_out[:: max(len(held_out) // 10, 1)]
    models: list[Any] = []

    def train_round(one: Round, first: int, state: Any) -> Any:
        batches = jm.data.batches(cases, config.batch, seed=one.seed(config.seed), transform=cut)
        optimizer = jm.train.optimizer(
            "adamw", **rate("poly", config.learning_rate, one.length * len(batches), first),
            weight_decay=1e-2, clip=5.0,
        )  # fmt: skip
        objective = jm.paradigms.augmented(segment, augmentation())
        learner = jm.train.parameter_average(
            jm.learner(recipe.network(), objective, optimizer), config.average
        )

        def look(state: Any) -> dict[str, float]:
            model = with_weights(blank, learner, state)
            found = [jm.report.agreement(c.truth, c.segment(model), k)["dice"] for c in few]
            return {"val/dice": float(np.nanmean(found))}

        made = jm.fit(
            learner, batches, seed=config.seed, epochs=one.length, state=state, out=one.folder(out),
            evaluate=jm.train.Evaluation(look, every=config.evaluate_every, monitor="val/dice"),
        )  # fmt: skip
        models.append(with_weights(blank, learner, made.state))
        return made

    trained = kept_rounds(out, config.epochs)
    result = in_rounds(train_round, trained)
    seconds["training"] = result.seconds

    with stage(seconds, "evaluation"):
        model = models[-1]
        masks = {case.name: case.segment(model) for case in held_out}
        results = segmentation(
            [(case.name, case.truth, masks[case.name]) for case in held_out],
            classes=source.classes[1:],
            title=f"Hippocampus in MRI, fold {config.fold} of {config.folds}",
            description=(
                f"{said}, trained for {config.epochs} epochs on {len(cases)} scans. The "
                f"{len(held_out)} scans of "
                f"fold {config.fold} are segmented with the averaged parameters after the last "
                "step; nothing was chosen by them. The learning curve shows about ten of them."
            ),
            splits=(Split("train", len(cases)), Split("held out", len(held_out))),
            flow=scans.flow(config),
            history=result.history,
            best_step=result.step,
            seconds=seconds,
            masks={case.name: f"masks/{case.name}.nii.gz" for case in held_out},
            notes=(*source.notes, *told(ends(trained), config.epochs, "epochs", test=False)),
        )
        results = results.replace(
            pictures=pictures(held_out, masks, results.overlap.values["dice"])
        )
        for case in held_out:
            jm.data.write_mask(out / results.masks[case.name], masks[case.name], case.on_file)
        jm.inference.save_model(out, model)
    return results


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
