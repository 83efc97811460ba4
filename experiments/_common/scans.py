"""Scans with masks of a Decathlon folder: what a network trains on, and what is held out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.augment import (
    Augmentation,
    blur,
    brightness,
    chain,
    contrast,
    flip,
    gamma,
    noise,
    random_affine,
)
from jaxmed.data import (
    Scan,
    Space,
    decathlon,
    folds,
    in_memory,
    map_source,
    read_image,
    read_mask,
    subset,
    to_space,
)
from jaxmed.inference import Recipe, Segmenter
from jaxmed.report import best_median_worst, mask_picture


class Case(NamedTuple):
    """A held-out scan: turned to the patient's axes, and on its file's own grid."""

    name: str
    scan: Scan
    on_file: Scan
    truth: np.ndarray

    def segment(self, model: Segmenter) -> np.ndarray:
        """The predicted mask on the file's grid."""
        return jm.inference.segment(model, self.scan).array


class Scans(NamedTuple):
    """One fold of a folder.

    Attributes:
        source: the folder.
        recipe: of a U-Net planned for the training cases, or of another network.
        train: their images and masks in memory, as the network is to see them.
        held_out: the fold's cases.
    """

    source: Any
    recipe: Recipe
    train: Any
    held_out: list[Case]

    def flow(self, config: Any) -> tuple[str, ...]:
        """How the scans came to be trained on or held out, one sentence a step."""
        return (
            f"{len(self.source)} scans with masks, each of one hippocampus",
            f"dealt at random into {config.folds} folds by case: the set names no patients",
            f"fold {config.fold} held out",
        )


def opened(path: Path, patient: str | None = None, classes: tuple[str, ...] = ()) -> Any:
    """Open a Decathlon folder, or any other that `train segmentation` takes, turned to RAS+."""
    if (path / "dataset.json").is_file():
        return decathlon(path)
    named = jm.data.MaskLabels(classes) if classes else None
    source = jm.data.dataset(path, patient=patient, mask_labels=named, canonical=True)
    if source.masks is None or source.mask_labels.classes is None:
        raise ValueError(f"{path} has no masks with names: give --classes background ...")
    return source


def read(
    config: Any, *, depth: int = 2, net: Any = None, source: Any = None, **options: Any
) -> Scans:
    """Read a fold: of `data`, the `fold` of `folds` dealt with `seed`, for `patch`, `features`.

    Args:
        config: an experiment's settings, with these names.
        depth: convolutions of a stage of the U-Net.
        net: another network in its place: from the number of classes to a module.
        source: the folder, if it was opened already.
        **options: of the network's `Recipe`.
    """
    if not 0 <= config.fold < config.folds:
        raise ValueError(f"fold is 0 to {config.folds - 1}, got {config.fold}")
    path: Path | None = config.data
    if source is None:
        source = decathlon(path or jm.data.data_root() / "Task04_Hippocampus")
    groups = getattr(source, "groups", None)
    classes = source.classes or source.mask_labels.classes
    train, test = folds(len(source), config.folds, groups=groups, seed=config.seed)[config.fold]
    raw = in_memory(subset(source, train))
    spacing = np.median([example["spacing"] for example in raw], axis=0)
    if net is None:
        plan = jm.networks.plan_unet(config.patch, spacing, base_features=config.features)
        options["plan"] = dataclasses.replace(
            plan, depths=(depth,) * plan.stages, decoder_depths=(depth,) * (plan.stages - 1)
        )
    else:
        options["net"] = net(len(classes))
    recipe = Recipe(
        classes=classes,
        channels=getattr(source, "modalities", None) or source.channels or ("image",),
        spacing=tuple(round(float(s), 4) for s in spacing),
        patch=config.patch,
        **options,
    )
    cases = in_memory(map_source(raw, lambda example: prepared(recipe, example)))
    return Scans(source, recipe, cases, [_case(source, int(i), len(classes)) for i in test])


def prepared(recipe: Recipe, example: dict[str, Any]) -> dict[str, np.ndarray]:
    """A training case as the network will meet scans later."""
    affine = example["affine"].astype(float)
    scan = Scan(example["image"], affine, Space(example["mask"].shape, affine))
    ready = jm.inference.prepare(recipe, scan)
    return {"image": ready.array, "mask": to_space(example["mask"], affine, ready.space)}


def augmentation() -> Augmentation:
    """Turn, scale and mirror left to right; shade as nnU-Net does."""
    return chain(moved(), shaded())


def moved(**fields: Any) -> Augmentation:
    """Turn, scale and mirror left to right."""
    return chain(random_affine(rotation=15, scale=(0.85, 1.15)), flip(0), **fields)


def shaded() -> Augmentation:
    """Noise, blur, and intensities as nnU-Net changes them; no voxel moves."""
    return chain(
        noise((0.0, 0.2), p=0.15),
        blur((0.5, 1.0), p=0.15),
        brightness(0.25, p=0.15),
        contrast((0.75, 1.25), p=0.3),
        gamma((0.7, 1.5), retain=True, p=0.3),
    )


def with_weights(model: Segmenter, learner: jm.Learner, state: jm.LearnerState) -> Segmenter:
    """The segmenter with what a learner predicts by: of an averaged one, the averages."""
    return model._replace(**learner.predicting.get(state)._asdict())


def pictures(cases: list[Case], masks: dict[str, np.ndarray], dice: np.ndarray) -> tuple[Any, ...]:
    """The best, the median and the worst case by mean Dice; `dice` is (cases, structures)."""
    means = np.nanmean(dice, axis=1)
    return tuple(
        mask_picture(
            cases[i].name, cases[i].on_file.array, cases[i].truth, masks[cases[i].name],
            rank=rank, caption=f"mean Dice {means[i]:.3f}", spacing=cases[i].on_file.spacing,
        )
        for rank, i in best_median_worst(means).items()
    )  # fmt: skip


def _case(source: Any, i: int, classes: int) -> Case:
    files = source.images[i]
    on_file = read_image(files[0] if isinstance(files, tuple) else files)
    truth = read_mask(source.masks[i], like=on_file, classes=classes)
    return Case(source.case_ids[i], source.image(i), on_file, truth.array)
