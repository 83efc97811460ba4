"""Studies of classification and regression: all arms on one stack of images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax

import jaxmed as jm
from jaxmed import protocols
from jaxmed.data import ManifestSource
from jaxmed.planning import ImagePlan, image_print, plan_images
from jaxmed.protocols import Study

from ._arms import planned
from ._images import learner_of, prepared, recipe_of
from ._own import fits
from ._study_splits import dealt_into, study_splits

# What may differ between arms: all are trained on the same arrays, for the same time.
_ASKED = ("network", "start")
_FREE = ("learning_rate", "weight_decay", "average", "mirror", "rotation", "scale")
_SHARED = (
    "task", "outputs", "channels", "shape", "normalisation", "linear", "weights", "target",
    "batch", "epochs",
)  # fmt: skip


def planned_arms(config: Any, source: ManifestSource, task: str) -> dict[str, ImagePlan]:
    """The plan of each arm by its name.

    Raises:
        ValueError: as in `planned`, or a plan of other data.
    """
    classes = () if task == "regression" else source.classes
    several = task != "regression" and np.asarray(source.labels).ndim == 2
    base = plan_images(
        image_print(source), classes, several=several, size=config.size, epochs=config.epochs
    )
    if task == "regression":
        base = dataclasses.replace(base, outputs=config.labels or ("label",))

    def make(changed: Mapping[str, Any]) -> ImagePlan:
        table = json.loads(json.dumps(dataclasses.asdict(base))) | changed
        if table["network"] != "efficientnet_lite0" and "start" not in changed:
            table["start"] = "scratch"
        return jm.planning.plan_of(ImagePlan, table)

    arms = planned(
        config.arms, ImagePlan, make, asked=_ASKED, free=_FREE, shared=_SHARED,
        names={"weights": "start"},  # as `train classification` calls it
    )  # fmt: skip
    for name, plan in arms.items():
        fits(f"the plan {name}", plan, source, plan.outputs, len(plan.shape))
    return arms


def trained_arms(
    config: Any,
    source: ManifestSource,
    arms: Mapping[str, ImagePlan],
    out: Path,
    *,
    only: Collection[str] | None = None,
) -> tuple[Study, dict[str, Any]]:
    """Train every arm, or those trainings alone, and say what the study is of."""
    first = next(iter(arms.values()))
    recipes = {name: recipe_of(plan) for name, plan in arms.items()}
    repeat = max(recipe.repeat for recipe in recipes.values())
    recipes = {n: dataclasses.replace(r, repeat=repeat) for n, r in recipes.items()}
    data = prepared(source, np.arange(len(source)), next(iter(recipes.values())))
    one_class = first.task in ("binary", "multi-class")
    splits = study_splits(config, source, data, "label" if one_class else None)
    steps = first.epochs * -(-min(len(split.train) for split in splits) // first.batch)
    known = "label_known" if "label_known" in data.arrays else None
    offsets = np.log(first.weights) if first.weights else 0.0
    gain, offset = first.target[0][::-1] if first.target else (1.0, 0.0)

    def summary(outputs: Any, _: Any) -> np.ndarray:
        if first.task == "regression":
            return np.asarray(outputs)[..., 0] * gain + offset
        if first.task == "multi-label":
            return expit(np.asarray(outputs))
        return softmax(np.asarray(outputs) - offsets, axis=-1)

    study = protocols.study(
        {name: learner_of(plan, recipes[name], steps, known=known) for name, plan in arms.items()},
        data,
        splits,
        seeds=config.seeds,
        out=out,
        only=only,
        training=protocols.TrainingPlan(epochs=first.epochs, size=first.batch),
        reading=protocols.Reading(summary=summary),
    )
    if known is not None:
        there = np.where(data.arrays[known], study.labels, np.nan)
        study = dataclasses.replace(study, labels=there)
    return study, {
        "task": None if one_class else first.task,
        "classes": () if first.task == "regression" else source.classes,
        "description": (
            f"{len(arms)} arms, {dealt_into(config, splits)}, {config.seeds} seeds, {first.epochs} "
            f"epochs in batches of {first.batch} at {' x '.join(map(str, first.shape))}; the "
            "folder `plans` holds every arm's plan."
        ),
    }
