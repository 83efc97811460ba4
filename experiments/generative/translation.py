"""Make a sequence of MRI that was not measured of those that were: FLAIR of gliomas.

    jaxmed train translation --method regression --seed 0
    jaxmed translate runs/translation_method=regression case_pre.nii.gz case_post.nii.gz -o made

Slices of lower-grade gliomas have three sequences: before contrast, FLAIR, after contrast. One is
made of the other two (`--target`), by a network that learned on other patients; one patient in five
is held out. Where a sequence was not measured the data hold another in its place: nine patients, in
whom the answer would stand among the questions, are left out.

`mae`, `psnr`, `ssim` of intensities in [0, 1], within the head and in whole slices, means over
patients, beside two that learn nothing of images: `copy`, the sequence before contrast as it is,
and `linear`, a sum of the two whose weights fit best. `dice`: a segmenter that learned on the three
true sequences of the training patients finds the tumour in the true target, in the made one and in
that of `linear`; `without` is one that learned to do without the target, which is what a made image
must beat to be of use.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxmed as jm
from jaxmed import generative as gen
from jaxmed import quantities, stats
from jaxmed.cli import one_of
from jaxmed.core import Variables
from jaxmed.data import ArraySource
from jaxmed.inference import TranslationRecipe, save_model, translator
from jaxmed.networks import plan_unet, unet
from jaxmed.report import TranslatedCase, TranslationResults, split_sizes, stage
from jaxmed.stats import Estimate

from .._common.plain import Plain
from ._slices import SEQUENCES, Slices, read
from ._translators import WAYS

GRID = {"method": tuple(WAYS), "seed": (0, 1, 2)}
_HEAD = 0.02  # Brightness, of [0, 1], of the darkest voxel of a head.


@dataclasses.dataclass(frozen=True)
class Config:
    """One training and test.

    Args:
        method: how the image is made.
        data: the folder kaggle_3m; by default in JAXMED_DATA.
        target: the sequence that is made, of the other two.
        seed: of the deal of patients, parameters, order of batches.
        held_out: one in so many patients is held out.
        steps: of the training.
        batch: slices of a step.
        features: channels of the U-Net's finest stage.
        learning_rate: at the start; it falls to 0 along a cosine.
        weight: of the absolute error, beside a critic's score.
        bridge_steps: of `bridge`, from the sources to an image.
        shrink: pixels along each axis that become one; above 1 no model is kept for `jaxmed
            translate`, which would be given slices of another size.
        segmenter_steps: of each of the two segmenters; 0 for none, and no Dice.
    """

    method: str = one_of("regression", WAYS)
    data: Path | None = None
    target: Literal["pre", "flair", "post"] = "flair"
    seed: int = 0
    held_out: int = 5
    steps: int = 1500
    batch: int = 4
    features: int = 16
    learning_rate: float = 1e-3
    weight: float = 100.0
    bridge_steps: int = 10
    shrink: int = 1
    segmenter_steps: int = 1000


def run(config: Config, out: Path) -> TranslationResults:
    """Train, translate the held-out patients, measure, segment."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        slices = read(
            config.data, config.target, shrink=config.shrink, held_out=config.held_out,
            seed=config.seed,
        )  # fmt: skip
    side = slices.train.arrays["source"].shape[1]
    way = WAYS[config.method](config, side, 2, 1)
    batches = jm.data.batches(slices.train, config.batch, seed=config.seed)
    result = jm.fit(way.learner, batches, seed=config.seed, steps=config.steps, out=out)
    seconds["training"] = result.seconds
    variables = (way.variables or way.learner.predicting.get)(result.state)
    if config.shrink == 1:
        save_model(out, translator(_recipe(config, way.network, side), *variables))
    with stage(seconds, "translation"):
        made = {
            config.method: _clipped(
                gen.translate_images(way.network, *variables, slices.test.arrays["source"], chunk=8)
            ),
            "linear": _linear(slices),
            "copy": slices.test.arrays["source"][..., :1],
        }
    with stage(seconds, "evaluation"):
        metrics = _likeness(slices.test, made, config.method)
        if config.segmenter_steps:
            metrics |= _segmented(config, slices, made, side)
    sources = [name for name in SEQUENCES if name != config.target]
    return TranslationResults(
        title=f"{config.target} of {' and '.join(sources)}, {config.method}",
        classes=("tumour",),
        metrics=metrics,
        headline=tuple(
            f"{name}/{config.method}" for name in ("mae", "psnr", "ssim", "dice")
            if f"{name}/{config.method}" in metrics
        ),
        description=(
            f"The sequence {config.target!r} is made of {' and '.join(sources)} by "
            f"{config.method}, slice by slice. Intervals speak for other patients. Intensities are "
            "in [0, 1]; `linear` is the best sum of the sources, `copy` the first of them as it is."
        ),
        cases=_shown(slices.test, made[config.method], sources, config.target),
    ).replace(
        splits=split_sizes({"train": slices.train, "test": slices.test}),
        partition="Patients are dealt at random; all slices of one are on one side",
        flow=(
            f"{len(slices.left_out)} patients whose sequences are not three are left out: "
            f"{', '.join(slices.left_out)}",
        ) if slices.left_out else (),
        history=result.history,
        seed=config.seed,
        seconds=seconds,
        notes=(
            ()
            if config.shrink == 1
            else ("No model is kept for `jaxmed translate`: slices were made smaller.",)
        ),
    )  # fmt: skip


def _recipe(config: Config, network: jm.Network, side: int) -> TranslationRecipe:
    return TranslationRecipe(
        channels=tuple(name for name in SEQUENCES if name != config.target),
        targets=(config.target,),
        patch=(side, side),
        net=network,
        normalisation="linear",
        linear=(2.0, -1.0),
        scale=(0.5, 0.5),
        bounds=(0.0, 1.0),
    )


def _clipped(images: np.ndarray) -> np.ndarray:
    return np.clip(images, -1, 1)


def _linear(slices: Slices) -> np.ndarray:
    """The sum of the sources and a constant that fits the training targets best."""

    def columns(source: np.ndarray) -> np.ndarray:
        return np.concatenate([source, np.ones_like(source[..., :1])], axis=-1)

    x = columns(slices.train.arrays["source"]).reshape(-1, 3).astype(np.float64)
    weights = np.linalg.lstsq(x, slices.train.arrays["target"].ravel(), rcond=None)[0]
    return _clipped(columns(slices.test.arrays["source"]) @ weights[:, None]).astype(np.float32)


def _by_patient(values: np.ndarray, groups: Any) -> np.ndarray:
    """Means over the slices of each patient."""
    names, patient = np.unique(np.asarray(groups), return_inverse=True)
    return np.array([values[patient == p].mean() for p in range(len(names))])


def _likeness(test: ArraySource, made: dict[str, np.ndarray], method: str) -> dict[str, Estimate]:
    """How like the true images those are that were made, by patient."""
    truth = ((test.arrays["target"] + 1) / 2).astype(np.float64)
    head = ((test.arrays["source"] + 1) / 2).max(-1, keepdims=True) > _HEAD
    found: dict[str, np.ndarray] = {}
    for name, images in made.items():
        image = ((images + 1) / 2).astype(np.float64)
        error = abs(image - truth)
        values = {
            "mae": error.mean((1, 2, 3)),
            "mae_head": (error * head).sum((1, 2, 3)) / np.maximum(head.sum((1, 2, 3)), 1),
            "psnr": quantities.psnr(truth, image, data_range=1.0),
            "ssim": quantities.ssim(truth, image, data_range=1.0),
        }
        for measure, each in values.items():
            found[f"{measure}/{name}"] = _by_patient(each, test.groups)
    metrics = {name: _mean(values, name) for name, values in found.items()}
    metrics = dict(sorted(metrics.items(), key=lambda item: item[0].split("/")[0]))
    for other in ("copy", "linear"):
        name = f"mae_saved/over {other}"
        metrics[name] = _mean(found[f"mae/{other}"] - found[f"mae/{method}"], name)
    return metrics


def _mean(values: np.ndarray, name: str) -> Estimate:
    return stats.mean(values, unit="patient", name=name)


def _segmented(
    config: Config, slices: Slices, made: dict[str, np.ndarray], side: int
) -> dict[str, Estimate]:
    """Dice of a segmenter on true and on made images, and of one that does without."""
    truth = slices.test.arrays["mask"] == 1
    source, target = (slices.test.arrays[name] for name in ("source", "target"))
    whole, without = (
        _segmenter(config, slices.train, fields, side)
        for fields in (("source", "target"), ("source",))
    )
    said = {
        "real": whole(np.concatenate([source, target], -1)),
        **{
            name: whole(np.concatenate([source, made[name]], -1))
            for name in (config.method, "linear")
        },
        "without": without(source),
    }
    dice = {name: _dice(truth, mask, slices.test.groups) for name, mask in said.items()}
    metrics = {f"dice/{name}": _mean(values, f"dice/{name}") for name, values in dice.items()}
    for other in ("real", "without"):
        name = f"dice_gain/over {other}"
        metrics[name] = _mean(dice[config.method] - dice[other], name)
    return metrics


def _segmenter(config: Config, train: ArraySource, fields: tuple[str, ...], side: int) -> Any:
    """A U-Net that finds the tumour in these channels: a function of images to masks."""
    arrays = {
        "image": np.concatenate([train.arrays[name] for name in fields], -1),
        "mask": train.arrays["mask"],
    }
    plan = plan_unet((side, side), base_features=config.features)
    network = jm.from_linen(unet(2, plan=plan))
    objective = jm.augmented(
        jm.supervised(jm.losses.dice_ce, target="mask"),
        jm.augment.chain(jm.augment.flip(), jm.augment.random_affine()),
    )
    optimizer = jm.train.optimizer(
        "adamw", 1e-3, schedule="cosine", steps=config.segmenter_steps, weight_decay=1e-4
    )
    plain = Plain(jm.learner(network, objective, optimizer))
    batches = jm.data.batches(arrays, config.batch, seed=config.seed)
    state = plain.train(batches, config.segmenter_steps, config.seed)
    found = Variables(state.params["net"], state.state["net"])
    return lambda images: quantities.largest(gen.translate_images(network, *found, images, chunk=8))


def _dice(truth: np.ndarray, mask: np.ndarray, groups: Any) -> np.ndarray:
    """Of a patient's slices taken together."""
    names, patient = np.unique(np.asarray(groups), return_inverse=True)
    said = mask == 1
    return np.array([
        quantities.dice(
            (truth & said)[patient == p].sum(), said[patient == p].sum(), truth[patient == p].sum()
        )
        for p in range(len(names))
        if truth[patient == p].any()
    ])  # fmt: skip


def _shown(
    test: ArraySource, made: np.ndarray, sources: list[str], target: str
) -> tuple[TranslatedCase, ...]:
    """The patients of the least, the middle and the largest error, their slice of most tumour."""
    truth = test.arrays["target"]
    groups = np.asarray(test.groups)
    error = abs(made - truth).mean((1, 2, 3)) / 2
    names = np.unique(groups)
    order = np.argsort([error[groups == name].mean() for name in names], kind="stable")
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    cases = []
    for rank, place in places.items():
        rows = np.flatnonzero(groups == names[order[place]])
        i = rows[test.arrays["mask"][rows].sum((1, 2)).argmax()]
        image = {name: (test.arrays["source"][i, ..., k] + 1) / 2 for k, name in enumerate(sources)}
        cases.append(
            TranslatedCase(
                str(test.case_ids[i]), rank, image, (truth[i, ..., 0] + 1) / 2,
                (made[i, ..., 0] + 1) / 2, target, f"mean absolute error {error[i]:.4f}",
            )
        )  # fmt: skip
    return tuple(cases)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
