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
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import tyro

import jaxmed as jm
from jaxmed.augment import Augmentation
from jaxmed.data import ManifestSource, Scan, in_memory, map_source, subset, to_space
from jaxmed.data.formats import is_picture, stem
from jaxmed.inference import Recipe, Segmenter
from jaxmed.planning import SegmentationPlan
from jaxmed.report import MaskPair, Results, segmentation, stage

from ._own import (
    Parts,
    begun_from,
    begun_with,
    dealt,
    fits,
    in_steps,
    kept_plan,
    mask_labels,
    notes,
    opened,
    partition,
    repeated,
    sizes,
)
from ._rounds import Round, in_rounds, may_differ, rate, rounds, told

extends = partial(may_differ, field="steps")
_DECIDED = ("memory_gb", "encoder", "steps")


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
        folds: networks, each with a fold of its own held out; 1 holds out a fifth.
        fold: the part held out by a single network, from 0.
        seed: of folds, parameters, order of batches and augmentation.
        plan: a plan to follow, such as an edited plan.json.
        memory_gb: memory that the plan may fill; by default 0.25 on a CPU, else 8.
        encoder: plain convolutions, or residual blocks.
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
    fold: int = 0
    seed: int = 0
    plan: Path | None = None
    memory_gb: float | None = None
    encoder: Literal["plain", "residual"] = "plain"
    steps: int | None = None
    start: Annotated[Path | None, tyro.conf.arg(aliases=["--from"])] = None


class Case(NamedTuple):
    """A scan: as the network meets it, as its file has it, and its true mask.

    `file` is the name of its predicted mask in the run's folder.
    """

    name: str
    file: str
    scan: Scan
    on_file: Scan
    truth: np.ndarray
    known: np.ndarray | None
    picture: bool


def run(config: Config, out: Path) -> Results:
    """Plan, train each fold, segment what is held out and the test set, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = opened(config, labels=(), mask_labels=mask_labels(config), canonical=True)
        if source.masks is None:
            raise ValueError(
                f"{source.name}: no masks: give the table a column `mask`, or put them into a "
                "folder `masks` beside the images"
            )
        parts = dealt(source, config)
        plan = kept_plan(
            config, out, SegmentationPlan, lambda: planned(config, source, parts), _DECIDED, "steps"
        )
        fits(config.plan or out / "plan.json", plan, source, plan.classes, len(plan.full.patch))
    recipe = recipe_of(plan)
    begun = begun_with(recipe, config.start)
    models, history, pairs, step = [], (), {}, 0
    for number, (train, held) in enumerate(parts.folds):
        folder = out if len(parts.folds) == 1 else out / f"fold_{number}"
        with stage(seconds, "training" if len(parts.folds) == 1 else f"training, fold {number}"):
            model, result = fit(config, plan, recipe, source, train, held, folder)
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


def planned(config: Config, source: ManifestSource, parts: Parts) -> SegmentationPlan:
    """The plan of the development data."""
    found = jm.planning.fingerprint(source, parts.development)
    budget = jm.planning.device_budget(config.memory_gb, config.encoder)
    labels = source.mask_labels
    return jm.planning.plan_segmentation(
        found,
        budget=budget,
        regions=labels.regions,
        region_order=labels.region_order,
        steps=config.steps,
    )


def recipe_of(plan: SegmentationPlan) -> Recipe:
    """What is done to a scan, and by which network."""
    return Recipe(
        classes=plan.classes,
        channels=plan.channels,
        spacing=plan.full.spacing,
        patch=plan.full.patch,
        plan=plan.full.network,
        options={"deep_supervision": True},
        normalisation=plan.normalisation,
        over=plan.over,
        intensities=plan.intensities,
        mirror=plan.mirror,
        regions=plan.region_order,
    )


def fit(
    config: Config,
    plan: SegmentationPlan,
    recipe: Recipe,
    source: ManifestSource,
    train: np.ndarray,
    held: np.ndarray,
    out: Path,
) -> tuple[Segmenter, Any]:
    """Train one network."""
    ready = map_source(subset(source, train), lambda example: prepared(recipe, example))
    examples = repeated(in_memory(ready), plan.full.batch)
    fields = ("image", "mask", "mask_known")
    cut = jm.data.random_patch(plan.full.patch, foreground=plan.foreground, fields=fields)
    objective = jm.supervised(
        jm.losses.deep_supervision(loss_of(plan)),
        output="deep",
        target="mask",
        known="mask_known" if source.mask_labels.ignore is not None else None,
    )
    network = begun_from(recipe.network(), config.start)
    blank = jm.inference.segmenter(recipe, None, None)
    few = [*cases(source, held[:: max(len(held) // 5, 1)][:5])]

    def train_round(one: Round, first: int, state: Any) -> Any:
        batches = jm.data.batches(
            examples, plan.full.batch, seed=one.seed(config.seed), transform=cut
        )
        steps, every = in_steps(one.length, len(batches))
        optimizer = jm.train.optimizer(
            "adamw", **rate("poly", plan.learning_rate, steps, first), weight_decay=1e-2, clip=5.0
        )
        learner = jm.train.parameter_average(
            jm.learner(network, jm.paradigms.augmented(objective, augmentation(plan)), optimizer),
            plan.average,
        )

        def look(state: Any) -> dict[str, float]:
            model = model_of(learner, state)
            found = [dice(measured(case, segmented(case, model)), plan) for case in few]
            return {"held out/dice": float(np.nanmean(found))}

        trained = jm.fit(
            learner, batches, seed=config.seed, steps=steps, state=state, out=one.folder(out),
            evaluate=jm.train.Evaluation(look, every=every),
        )  # fmt: skip
        models.append(model_of(learner, trained.state))
        return trained

    def model_of(learner: jm.Learner, state: Any) -> Segmenter:
        return blank._replace(**learner.predicting.get(state)._asdict())

    models: list[Segmenter] = []
    result = in_rounds(train_round, rounds(plan.steps, plan.ended))
    jm.inference.save_model(out, models[-1])
    return models[-1], result


def loss_of(plan: SegmentationPlan) -> Any:
    """Dice and cross-entropy, of classes or of regions."""
    if plan.regions:
        return jm.losses.region_dice_ce([*plan.regions.values()])
    return jm.losses.dice_ce


def augmentation(plan: SegmentationPlan) -> Augmentation:
    """Turn, scale, mirror and shade, as the plan allows."""
    from jaxmed.augment import blur, brightness, chain, contrast, flip, gamma, noise, random_affine

    steps = [random_affine(rotation=plan.rotation, scale=(0.85, 1.15), spacing=plan.full.spacing)]
    if plan.mirror:
        steps.append(flip(plan.mirror))
    return chain(
        *steps,
        noise((0.0, 0.2), p=0.15),
        blur((0.5, 1.0), p=0.15),
        brightness(0.25, p=0.15),
        contrast((0.75, 1.25), p=0.3),
        gamma((0.7, 1.5), retain=True, p=0.3),
        masks=("mask", "mask_known"),
    )


def prepared(recipe: Recipe, example: dict[str, Any]) -> dict[str, np.ndarray]:
    """A training case as the network will meet scans later, at least a patch large."""
    affine = example["affine"].astype(float)
    scan = Scan(example["image"], affine, jm.data.Space(example["mask"].shape, affine))
    ready, outside, _ = jm.inference.preprocess(recipe, scan)
    fields = {"image": ready.array}
    for name in ("mask", "mask_known"):
        if name in example:
            value = example[name].astype(np.int32)
            fields[name] = to_space(value, affine, ready.space)
    size = [max(n, p) for n, p in zip(ready.space.shape, recipe.patch, strict=True)]
    padded = {
        name: jm.data.crop_or_pad(value, size, value=outside if name == "image" else 0)
        for name, value in fields.items()
    }
    if "mask_known" in padded:
        padded["mask_known"] = padded["mask_known"].astype(bool)
    return padded


def cases(source: ManifestSource, which: np.ndarray) -> Iterator[Case]:
    """Scans one by one, as the network meets them and as their files have them."""
    files = mask_files(source)
    for i in which.tolist():
        on_file = source.image(i, canonical=False)
        truth, known = source.mask_and_known(i, like=on_file, canonical=False)
        scan = source.image(i, canonical=True)
        picture = is_picture(source.paths(i)[0])
        name = source.case_ids[i]
        yield Case(name, files[name], scan, on_file, truth.array, known, picture)


def segmented(case: Case, model: Segmenter) -> np.ndarray:
    """The predicted mask on the file's grid."""
    return jm.inference.segment(model, case.scan).array


def predicted(case: Case, model: Segmenter, out: Path) -> np.ndarray:
    """The predicted mask, written; read, if an earlier start of this run wrote it."""
    path = out / case.file
    if path.exists():
        return jm.data.read_mask(path, like=case.on_file).array
    mask = segmented(case, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    jm.data.write_mask(path, mask, case.on_file)
    return mask


def measured(case: Case, mask: np.ndarray) -> MaskPair:
    """A case's true and predicted mask, without the voxels that nobody labelled."""
    if case.known is not None:
        mask = np.where(case.known, mask, 0)
    if case.picture:  # whose pixels have no size in millimetres
        return MaskPair(case.name, case.truth, mask, (1.0,) * mask.ndim, "px")
    return MaskPair(case.name, case.truth, mask, case.on_file.spacing)


def dice(pair: MaskPair, plan: SegmentationPlan) -> float:
    """Mean Dice of the classes."""
    found = jm.report.agreement(pair.truth, pair.prediction, len(plan.classes) - 1)["dice"]
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def mask_files(source: ManifestSource) -> dict[str, str]:
    """Where the predicted mask of each case lies in the run's folder."""
    names = [stem(name) for name in source.case_ids]
    if len(set(names)) < len(names):
        names = [*source.case_ids]  # a.png and a.tif
    return {
        case: f"masks/{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}"
        f"{'.png' if is_picture(paths[0]) else '.nii.gz'}"
        for case, name, paths in zip(source.case_ids, names, source.images, strict=True)
    }


def described(plan: SegmentationPlan, parts: Parts, steps: int) -> str:
    """How it was done, in the report's words."""
    shape = " x ".join(map(str, plan.full.patch))
    text = (
        f"A U-Net of {plan.full.network.stages} stages ({plan.full.network.features[0]} to "
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
