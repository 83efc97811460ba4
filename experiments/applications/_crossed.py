"""U-Nets that outline structures, cross-validated over folds and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.augment import chain, flip, random_affine
from jaxmed.data import ListSource, Scan, folds, random_patch
from jaxmed.inference import Recipe, Segmenter, probabilities, segmenter
from jaxmed.networks import plan_unet

from .._common.scans import prepared, shaded, with_weights


@dataclasses.dataclass(frozen=True)
class Outlining:
    """Settings that all applications of outlines share.

    Args:
        data: folder of the set; by default the one of its name in JAXMED_DATA.
        folds: of the cross-validation.
        seeds: how often scans are dealt into folds, and networks begun anew.
        steps: of each training.
        batch: patches of a step.
        features: channels of the U-Net's finest stage.
        learning_rate: at the start; it falls to 0 as a cosine.
        corrupted: scans, drawn at random, on which corruptions in five strengths are measured; 0
            for none.
        explained: scans of which maps are made and tested; 0 for none.
        missed: share of a structure that its safe outline may miss, in the mean.
    """

    data: Path | None = None
    folds: int = 5
    seeds: int = 3
    steps: int = 400
    batch: int = 4
    features: int = 16
    learning_rate: float = 2e-3
    corrupted: int = 40
    explained: int = 6
    missed: float = 0.1


class Outlined(NamedTuple):
    """Scans with masks.

    Attributes:
        scans: as they were read, turned to the patient's axes.
        masks: (*spatial,) numbers of the classes, on the scans' own grids.
        classes: names of 1, 2, ...
        names: of the scans.
        units: what is never split, such as the patient.
        unit: what units are.
        channels: names of the scans' channels.
        columns: of subgroups, a value a scan.
    """

    scans: Sequence[Scan]
    masks: Sequence[np.ndarray]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    unit: str
    channels: tuple[str, ...]
    columns: Mapping[str, Sequence[str]] = {}

    def groups(self) -> tuple[str, ...] | None:
        """The units, or None where each has one scan."""
        return self.units if len(set(self.units)) < len(self.units) else None


class Fold(NamedTuple):
    """A network, and the scans that it has not seen."""

    model: Segmenter
    rows: np.ndarray


class Crossed(NamedTuple):
    """What networks say of scans that they have not seen.

    Attributes:
        said: of each seed, of each scan (*spatial, classes with the background) float16.
        dealt: the first seed's folds.
        history: of the first training.
    """

    said: list[list[np.ndarray]]
    dealt: list[Fold]
    history: Any


def recipe_of(
    config: Outlining,
    cases: Outlined,
    *,
    spacing: Sequence[float],
    patch: Sequence[int],
    normalisation: Any,
    mirror: Sequence[int],
) -> Recipe:
    """A U-Net planned for a patch.

    Args:
        config: the settings.
        cases: the scans.
        spacing: to which scans are brought; a picture's pixel is 1.
        patch: voxels that the network sees at once.
        normalisation: as of the recipe; `linear` brings pictures to [-1, 1].
        mirror: axes along which a mirror image is as likely.
    """
    plan = plan_unet(
        patch, spacing, base_features=config.features, max_features=8 * config.features
    )
    depths = {"depths": (2,) * plan.stages, "decoder_depths": (2,) * (plan.stages - 1)}
    options: dict[str, Any] = {"linear": (2.0, -1.0)} if normalisation == "linear" else {}
    return Recipe(
        ("background", *cases.classes), cases.channels, tuple(map(float, spacing)), tuple(patch),
        dataclasses.replace(plan, **depths), normalisation=normalisation,
        mirror=tuple(mirror), **options,
    )  # fmt: skip


def crossed(config: Outlining, cases: Outlined, recipe: Recipe, out: Path) -> Crossed:
    """Train a network for each fold of each seed, and segment what it has not seen.

    Checkpoints lie in the run's folder, so that one that was cut goes on.
    """
    ready = ListSource(
        tuple(
            prepared(recipe, {"image": s.array, "affine": s.affine, "mask": m})
            for s, m in zip(cases.scans, cases.masks, strict=True)
        ),
        cases.names, None, (), (),
    )  # fmt: skip
    learner = _learner(config, recipe)
    blank = segmenter(recipe, None, None)
    said: list[list[Any]] = []
    dealt: list[Fold] = []
    history: Any = ()
    for seed in range(config.seeds):
        found: list[Any] = [None] * len(cases.scans)
        parts = folds(len(cases.scans), config.folds, groups=cases.units, seed=seed)
        for number, part in enumerate(parts):
            batches = jm.data.batches(
                jm.data.subset(ready, part.train), config.batch, seed=seed,
                transform=random_patch(recipe.patch), remainder="drop",
            )  # fmt: skip
            result = jm.fit(
                learner, batches, seed=seed * config.folds + number, steps=config.steps,
                out=out / f"seed_{seed}_fold_{number}",
            )  # fmt: skip
            model = with_weights(blank, learner, result.state)
            history = history or result.history
            for i in part.test:
                found[i] = soft(model, cases.scans[i])
            if seed == 0:
                dealt.append(Fold(model, part.test))
        said.append(found)
    return Crossed(said, dealt, history)


def soft(model: Segmenter, scan: Scan) -> np.ndarray:
    """Probabilities (*spatial, classes) on the scan's own grid, in few bytes."""
    here = scan._replace(file=scan.space)
    return probabilities(model, here).array.astype(np.float16)


def decided(said: np.ndarray) -> np.ndarray:
    """The mask (*spatial,) of what is most probable."""
    return said.argmax(-1).astype(np.int32)


def _learner(config: Outlining, recipe: Recipe) -> jm.Learner:
    rank = len(recipe.patch)
    turned = [random_affine(rotation=20, scale=(0.85, 1.18))]
    if recipe.mirror:
        turned.append(flip(recipe.mirror if rank == 2 else recipe.mirror[0]))
    objective = jm.paradigms.augmented(
        jm.supervised(jm.losses.dice_ce, target="mask"), chain(*turned, shaded())
    )
    optimizer = jm.train.optimizer(
        "adamw", config.learning_rate, schedule="cosine", steps=config.steps, weight_decay=1e-4,
        clip=5.0,
    )  # fmt: skip
    learner = jm.learner(recipe.network(), objective, optimizer)
    return jm.train.parameter_average(learner, min(0.99, 1 - 10 / max(config.steps, 20)))
