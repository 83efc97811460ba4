"""Segment one's own scans or pictures: planned from the data, trained, measured.

    jaxmed train segmentation --data PATH

PATH is a table of images with masks, a folder of the Decathlon or of nnU-Net, or a folder of
images and masks (docs/own-data.md). The plan (`plan.json` in the run's folder: voxel size, patch,
network, batch, normalisation, augmentation, length, each with its reason) follows nnU-Net's
rules; edit it and give it by `--plan`. A fifth of the patients is held out and measured once, with
the parameters after the last step, so nothing is chosen by it; `--folds 5` trains five networks,
each on four fifths, and keeps their average. A split `test` of the data is opened once, at the end.

`jaxmed predict DIR IMAGES... -o OUT` segments further images.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import jaxmed as jm
from jaxmed.data import ManifestSource
from jaxmed.inference import Segmenter
from jaxmed.planning import Configuration, SegmentationPlan
from jaxmed.report import Results, segmentation, stage

from .._common.rounds import may_differ, told
from ._own import begun_with, fits, kept_plan, mask_labels, opened
from ._parts import Parts, dealt, notes, partition, sizes
from ._segmentation import (
    Case,
    cases,
    final_recipe,
    mask_files,
    measured,
    segmented,
    trained,
)

extends = partial(may_differ, field="steps")
_DECIDED = ("memory_gb", "encoder", "configuration", "steps")


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: the table or folder.
        columns: ROLE=COLUMN where a table's columns have other names: image=file mask=seg.
        classes: names of the masks' classes, the background first, where the data name none.
        map: NUMBER=CLASS or RED,GREEN,BLUE=CLASS, where masks are written otherwise: 255=1 0=0.
        patient: column of the patient; of a folder `folder` or a pattern with one group.
        merge_rows: whether rows of one image, such as of its findings, are one.
        folds: networks, each with a fold of its own held out; of 1, see held_out.
        held_out: share of the patients on which a single network is measured: a fifth.
        fold: which of the parts of that size, from 0.
        seed: of folds, parameters, order of batches and augmentation.
        plan: a plan to follow, such as an edited plan.json.
        memory_gb: memory that the plan may fill; by default 0.25 on a CPU, else 8.
        encoder: plain convolutions, or residual blocks.
        configuration: 2d: slices one by one; 3d_lowres: at a coarse voxel size; 3d_cascade_fullres:
            coarse networks first; by default 3d_fullres, and 2d of pictures.
        steps: of each training, to the nearest whole pass over the images; by default what the
            device does in a fair time. More of them let a finished run go on.
        start: folder of a run whose weights are the beginning.
    """

    data: Path | None = None
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    map: tuple[str, ...] = ()
    patient: str | None = None
    merge_rows: bool = False
    folds: int = 1
    held_out: float = 0.2
    fold: int = 0
    seed: int = 0
    plan: Path | None = None
    memory_gb: float | None = None
    encoder: Literal["plain", "residual"] = "plain"
    configuration: Configuration | None = None
    steps: int | None = None
    start: Annotated[Path | None, tyro.conf.arg(aliases=["--from"])] = None


def run(config: Config, out: Path) -> Results:
    """Plan, train each fold, segment what is held out and the test set, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = source_of(config)
        parts = dealt(source, config)
        plan = kept_plan(
            config, out, SegmentationPlan, lambda: _plan(config, source, parts), _DECIDED, "steps"
        )
        where = config.plan or out / "plan.json"
        fits(where, plan, source, plan.classes, len(plan.full.patch))
        begun = begun_with(final_recipe(plan), config.start)
    models, history, pairs, step = [], (), {}, 0
    for number, (train, held) in enumerate(parts.folds):
        folder = out if len(parts.folds) == 1 else out / f"fold_{number}"
        with stage(seconds, "training" if len(parts.folds) == 1 else f"training, fold {number}"):
            model, result = trained(config, plan, source, train, held, folder)
        models.append(model)
        history, step = (history or result.history), result.step
        if not len(parts.test):
            with stage(seconds, "evaluation"):
                for case in cases(source, held):
                    pairs[case.name] = measured(case, predicted(case, model, out))
    model = jm.inference.average_models(models)
    jm.inference.save_model(out, model)
    measured_cases = parts.test if len(parts.test) else np.concatenate([h for _, h in parts.folds])
    with stage(seconds, "evaluation"):
        for case in cases(source, parts.test):
            pairs[case.name] = measured(case, predicted(case, model, out))
        names = [source.case_ids[int(i)] for i in measured_cases]
        files = mask_files(source)
        groups = source.groups
        structures = tuple(plan.regions) or plan.classes[1:]
        results = segmentation(
            [pairs[name] for name in names],
            classes=structures,
            groups=None if groups is None else [groups[int(i)] for i in measured_cases],
            title=f"Segmentation of {Path(source.name).stem}",
            description=described(plan, parts, step),
            splits=sizes(source, parts),
            partition=partition(source),
            flow=parts.flow,
            history=history,
            best_step=step,
            seconds=seconds,
            masks={name: files[name] for name in names},
            notes=(
                *source.notes,
                *notes(source, parts),
                *begun,
                *([f"In training {plan.why['classes']}."] if "classes" in plan.why else []),
                *told(plan.ended, plan.steps, "steps", test=len(parts.test) > 0),
            ),
        )
        shown = pictures(source, measured_cases, results, out)
    return results.replace(pictures=shown)


def make_plan(config: Config) -> SegmentationPlan:
    """What `run` would do."""
    source = source_of(config)
    return _plan(config, source, dealt(source, config))


def source_of(config: Config) -> ManifestSource:
    """The scans with their masks, turned to the patient's axes.

    Raises:
        ValueError: there are no masks.
    """
    source = opened(config, labels=(), mask_labels=mask_labels(config), canonical=True)
    if source.masks is None:
        raise ValueError(
            f"{source.name}: no masks: give the table a column `mask`, or put them into a "
            "folder `masks` beside the images"
        )
    return source


def _plan(config: Config, source: ManifestSource, parts: Parts) -> SegmentationPlan:
    found = jm.planning.fingerprint(source, parts.development)
    budget = jm.planning.device_budget(config.memory_gb, config.encoder)
    labels = source.mask_labels
    return jm.planning.plan_segmentation(
        found,
        budget=budget,
        regions=labels.regions,
        region_order=labels.region_order,
        configuration=config.configuration,
        steps=config.steps,
    )


def predicted(case: Case, model: Segmenter, out: Path) -> np.ndarray:
    """The predicted mask, written; read, if an earlier start of this run wrote it."""
    path = out / case.file
    if path.exists():
        return jm.data.read_mask(path, like=case.on_file).array
    mask = segmented(case, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    jm.data.write_mask(path, mask, case.on_file)
    return mask


def described(plan: SegmentationPlan, parts: Parts, steps: int) -> str:
    """How it was done, in the report's words."""
    shape = " x ".join(map(str, plan.full.patch))
    kind = {
        "2d": "A U-Net" if len(plan.full.patch) == 2 else "A U-Net of slices",
        "3d_cascade_fullres": "A U-Net that sees what two coarser ones, each of half of the "
        "training cases, found,",
    }.get(plan.configuration, "A U-Net")
    text = (
        f"{kind} of {plan.full.network.stages} stages ({plan.full.network.features[0]} to "
        f"{max(plan.full.network.features)} channels) on patches of {shape}, {steps} steps of "
        f"{plan.full.batch} patches; plan.json holds all choices and their reasons. "
    )
    if len(parts.test):
        return text + (
            f"The {len(parts.test)} test images are segmented once, by "
            + ("the network" if len(parts.folds) == 1 else f"all {len(parts.folds)} networks")
            + " with the averaged parameters after the last step."
        )
    return text + (
        "What is held out is segmented with the averaged parameters after the last step; nothing "
        "was chosen by it. The learning curve shows at most five of these images."
    )


def pictures(source: Any, which: np.ndarray, results: Any, out: Path) -> tuple[Any, ...]:
    """The best, the median and the worst case by mean Dice."""
    with np.errstate(invalid="ignore"):
        table = np.asarray(results.overlap.values["dice"], float)
    means = np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in table])
    found = []
    for rank, i in jm.report.best_median_worst(means).items():
        case = next(cases(source, which[i : i + 1]))
        mask = jm.data.read_mask(out / case.file, like=case.on_file).array
        found.append(
            jm.report.mask_picture(
                case.name, case.on_file.array, case.truth, mask,
                rank=rank, caption=f"mean Dice {means[i]:.3f}", spacing=case.on_file.spacing,
            )
        )  # fmt: skip
    return tuple(found)


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
