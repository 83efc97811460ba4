"""Training of a network that tells objects apart: its parts, and how objects are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jaxmed as jm
from jaxmed.augment import Augmentation, chain, flip, random_affine, random_crop
from jaxmed.data import in_memory, random_patch
from jaxmed.detection import InstanceForm
from jaxmed.inference import (
    InstanceModel,
    InstanceRecipe,
    average_models,
    find_instances,
    instance_model,
    prepare_instances,
    sliding_window,
)
from jaxmed.planning import InstancePlan

from .._common.scans import shaded
from ._own import in_steps, repeated

_SHOWN = 8  # Held-out images that are looked at while training.
_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
_ASKED = 40  # Training images on which one of these is chosen, at most.
_OVERLAPS = (0.3, 0.5, 0.7)


def recipe_of(plan: InstancePlan) -> InstanceRecipe:
    """What is done to an image, and how objects are read from what the network says."""
    form = InstanceForm(
        plan.form, rank=len(plan.patch), rays=plan.rays, size=plan.size, spacing=plan.spacing,
        most=plan.most,
    )  # fmt: skip
    return InstanceRecipe(
        channels=plan.channels,
        patch=plan.patch,
        form=form,
        plan=plan.network,
        normalisation="percentile",
        threshold=0.3 if plan.threshold is None else plan.threshold,
        smallest=plan.smallest,
    )


def trained(
    plan: InstancePlan,
    examples: list[dict[str, np.ndarray]],
    held: Sequence[dict[str, np.ndarray]],
    seed: int,
    out: Path,
) -> tuple[InstanceModel, jm.train.FitResult]:
    """Train one network on images with label maps, looking at some others."""
    recipe = recipe_of(plan)
    at_hand = repeated(in_memory(_Prepared(recipe, examples)), plan.batch)
    cut = random_patch(_around(plan, examples), foreground=0.5)
    batches = jm.data.batches(at_hand, plan.batch, seed=seed, transform=cut)
    steps, every = in_steps(plan.steps, len(batches))
    learner = _learner(plan, recipe, recipe.network(), steps)
    blank = instance_model(recipe, None, None)
    few = held[:: max(len(held) // _SHOWN, 1)][:_SHOWN]
    seen = any(one["mask"].any() for one in few)

    def look(state) -> dict[str, float]:
        model = blank._replace(**learner.predicting.get(state)._asdict())
        found = [find_instances(model, one["image"], overlap=0.25) for one in few]
        true = [one["mask"] for one in few]
        return {"held out/f1": jm.stats.instance_scores(true, found, n_resamples=0).f1.value}

    result = jm.fit(
        learner, batches, seed=seed, steps=steps, out=out,
        evaluate=jm.train.Evaluation(look, every=every) if seen else None,
    )  # fmt: skip
    weights = learner.predicting.get(result.state)
    recipe = dataclasses.replace(recipe, mirror=plan.test_mirror)
    return instance_model(recipe, weights.params, weights.state), result


def joined(models: Sequence[InstanceModel]) -> InstanceModel:
    """One model of several, whose outputs and thresholds are averaged; a single one as it is."""
    if len(models) == 1:
        return models[0]
    threshold = float(np.mean([m.recipe.threshold for m in models]))
    return average_models(
        [m._replace(recipe=dataclasses.replace(m.recipe, threshold=threshold)) for m in models]
    )


def best_threshold(model: InstanceModel, examples: list[dict[str, np.ndarray]]) -> float:
    """The threshold of the largest F1, averaged over overlaps; the lowest of equal ones."""
    some = [one for one in examples if one["mask"].any()]
    examples = some[:: -(-len(some) // _ASKED)]
    recipe = model.recipe
    assert isinstance(recipe.form, InstanceForm)
    said = [
        sliding_window(
            model.predict, prepare_instances(recipe, one["image"]), recipe.patch, overlap=0.25,
            size=1,
        )
        for one in examples
    ]  # fmt: skip
    true = [one["mask"] for one in examples]

    # Each image's objects at all thresholds, turned into the maps of all images at each.
    read = zip(
        *(recipe.form.find_at(x, _THRESHOLDS, smallest=recipe.smallest) for x in said), strict=True
    )
    f1 = [
        jm.stats.instance_scores(true, maps, iou=_OVERLAPS, n_resamples=0).f1.value for maps in read
    ]
    return _THRESHOLDS[int(np.argmax(f1))]


def found_or_read(
    model: InstanceModel, one: dict[str, np.ndarray], path: Path, image: Any
) -> np.ndarray:
    """The label map of an image, written; read, if an earlier start of this run wrote it."""
    if path.exists():
        return jm.data.read_mask(path, like=image).array
    labels = find_instances(model, one["image"])
    path.parent.mkdir(parents=True, exist_ok=True)
    jm.data.write_mask(path, labels, image)
    return labels


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """Training images as the network meets them, at least a patch large; a source."""

    recipe: InstanceRecipe
    examples: list[dict[str, np.ndarray]]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        one = self.examples[index]
        image = prepare_instances(self.recipe, one["image"])
        size = [max(n, p) for n, p in zip(image.shape[:-1], self.recipe.patch, strict=True)]
        return {
            "image": jm.data.crop_or_pad(image, size, value=0),
            "mask": jm.data.crop_or_pad(one["mask"], size, value=0),
        }


def _around(plan: InstancePlan, examples: list[dict[str, np.ndarray]]) -> tuple[int, ...]:
    """What is cut from an image for a patch that is turned and magnified: no larger than most are.

    What lay beyond would be made up, and objects would seem to end there, or to go on as streaks.
    """
    angle = np.radians(min(max(plan.rotation), 45))
    factor = plan.scale * (np.cos(angle) + np.sin(angle))
    usual = np.median([one["mask"].shape for one in examples], axis=0).astype(int)
    return tuple(
        max(p, min(int(np.ceil(factor * p)), int(n)))
        for p, n in zip(plan.patch, usual, strict=True)
    )


def _learner(
    plan: InstancePlan, recipe: InstanceRecipe, network: jm.Network, steps: int
) -> jm.Learner:
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=plan.learning_rate, schedule="warmup_cosine", steps=steps,
        weight_decay=1e-4, clip=5.0,
    )  # fmt: skip
    objective = jm.paradigms.augmented(
        jm.supervised(recipe.form, target="mask"), _augmentation(plan)
    )
    learner = jm.learner(network, objective, optimizer)
    return jm.train.parameter_average(learner, min(0.99, 1 - 10 / max(steps, 20)))


def _augmentation(plan: InstancePlan) -> Augmentation:
    angles = [*plan.rotation]
    turned = angles if len(angles) > 1 else angles[0]
    affine = random_affine(
        rotation=turned, scale=(1 / plan.scale, plan.scale), spacing=plan.spacing
    )  # fmt: skip
    # Beyond the image is 0 and no object, as the network's own padding has it.
    return chain(
        affine, random_crop(plan.patch), *([flip(plan.mirror)] if plan.mirror else []), shaded(),
        masks=("mask",), outside="constant",
    )  # fmt: skip
