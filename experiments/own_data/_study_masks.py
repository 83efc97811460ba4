"""Studies of segmentation: each arm with its own patches, cases measured on their own grids."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np

import jaxmed as jm
from jaxmed import protocols
from jaxmed.data import ArraySource, ManifestSource
from jaxmed.data.formats import is_picture
from jaxmed.planning import Configuration, SegmentationPlan
from jaxmed.protocols import Procedure, Study
from jaxmed.report import MEASURES

from ._arms import planned
from ._own import fits
from ._segmentation import cases, measured, segmented, trained
from ._study_splits import dealt_into, study_splits

_ASKED = ("configuration", "encoder", "memory_gb", "steps")  # of the planner
_FREE = (
    "learning_rate", "average", "mirror", "rotation", "rotated", "scale", "foreground",
    "dice_over", "normalisation",
)  # fmt: skip
_SHARED = ("classes", "channels", "regions", "region_order")


def planned_arms(config: Any, source: ManifestSource, task: str) -> dict[str, SegmentationPlan]:
    """The plan of each arm by its name.

    Raises:
        ValueError: as in `planned`, or a plan of other data.
    """
    found = jm.planning.fingerprint(source, range(len(source)))
    labels = source.mask_labels

    def make(asked: Mapping[str, Any]) -> SegmentationPlan:
        wanted = {
            "memory_gb": config.memory_gb, "steps": config.steps, "encoder": "plain",
            "configuration": None, **asked,
        }  # fmt: skip
        for name, known in (
            ("encoder", ("plain", "residual")),
            ("configuration", (None, *get_args(Configuration))),
        ):
            if wanted[name] not in known:
                raise ValueError(f"{name} is none of {', '.join(filter(None, known))}: "
                                 f"{wanted[name]!r}")  # fmt: skip
        for name, kind in (("memory_gb", int | float), ("steps", int)):
            if wanted[name] is not None and not isinstance(wanted[name], kind):
                raise ValueError(f"{name} is a number, got {wanted[name]!r}")
        return jm.planning.plan_segmentation(
            found,
            budget=jm.planning.device_budget(wanted["memory_gb"], wanted["encoder"]),
            regions=labels.regions,
            region_order=labels.region_order,
            configuration=wanted["configuration"],
            steps=wanted["steps"],
        )

    arms = planned(config.arms, SegmentationPlan, make, asked=_ASKED, free=_FREE, shared=_SHARED)
    for name, plan in arms.items():
        fits(f"the plan {name}", plan, source, plan.classes, len(plan.full.patch))
    return arms


def trained_arms(
    config: Any,
    source: ManifestSource,
    arms: Mapping[str, SegmentationPlan],
    out: Path,
    *,
    only: Collection[str] | None = None,
) -> tuple[Study, dict[str, Any]]:
    """Train every arm, or those trainings alone, and say what the study is of.

    Raises:
        ValueError: pictures and volumes, whose distances have no mean.
    """
    pictures = {is_picture(source.paths(i)[0]) for i in range(len(source))}
    if len(pictures) > 1:
        raise ValueError(f"{source.name}: pictures and volumes: a study is of one of them")
    first = next(iter(arms.values()))
    structures = tuple(first.regions) or first.classes[1:]
    data = ArraySource(
        {"position": np.arange(len(source))}, case_ids=source.case_ids, groups=source.groups
    )
    splits = study_splits(config, source, data, None)
    study = protocols.study(
        {name: procedure(plan, source, structures) for name, plan in arms.items()},
        data,
        splits,
        seeds=config.seeds,
        out=out,
        only=only,
    )
    return study, {
        "task": "segmentation",
        "classes": structures,
        "unit": "px" if pictures == {True} else "mm",
        "description": (
            f"{len(arms)} arms, {dealt_into(config, splits)}, {config.seeds} seeds; each case is "
            "segmented on its own grid, with the averaged parameters after the last step; the "
            "folder `plans` holds every arm's plan."
        ),
    }


def procedure(
    plan: SegmentationPlan, source: ManifestSource, structures: tuple[str, ...]
) -> Procedure:
    """An arm: train by the plan, segment the test cases, measure each."""

    def run(train: np.ndarray, test: np.ndarray, seed: int, out: Path) -> np.ndarray:
        config = SimpleNamespace(seed=seed, start=None)
        model, _ = trained(config, plan, source, train, test[:0], out)
        rows = [measured(case, segmented(case, model)) for case in cases(source, test)]
        values = jm.report.overlap(rows, classes=structures).values
        return np.stack([values[name] for name in MEASURES], axis=1)

    settings = dataclasses.asdict(plan)
    del settings["why"]
    return Procedure(run, settings)
