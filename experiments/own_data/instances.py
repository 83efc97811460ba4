"""Tell touching objects apart in one's own images: nuclei, cells, glands, lesions.

    jaxmed train instances --data PATH

PATH is a folder or table of images with label maps as masks, in which every object has a number of
its own (docs/detection.md). A U-Net says of each voxel how deep in its object it lies and how far
that reaches along rays (`stars`, for roundish objects), which way its middle lies (`flows`), or
what is inside and how deep (`depths`, parted by watershed); objects are read from that. The
parameters are averaged over the steps. The plan (`plan.json` in the run's folder, each choice with
its reason) may be edited and given by `--plan`. A split `test` of the data is measured once, at the
end; without one a fifth of the patients is held out, and measured; `--folds 5` trains five
networks, each on four fifths, and keeps all: what they say of a voxel is averaged.

`jaxmed predict DIR IMAGES...` writes label maps of further images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from jaxmed import report
from jaxmed.data import ManifestSource
from jaxmed.detection import typical_radius
from jaxmed.detection.instances._watershed import renumbered
from jaxmed.inference import InstanceModel, save_model
from jaxmed.planning import InstancePlan, plan_instances
from jaxmed.report import InstanceResults, stage

from ._instances import best_threshold, found_or_read, joined, trained
from ._own import kept_plan, opened, unsaid
from ._parts import Parts, dealt, sizes
from ._segmentation import mask_files

_DECIDED = (
    "form", "rays", "patch", "batch", "features", "steps", "learning_rate", "rotation", "scale",
    "mirror", "test_mirror", "threshold", "smallest",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """One data set.

    Args:
        data: the table or folder.
        columns: ROLE=COLUMN where a table's columns have other names: image=file mask=labels.
        pieces: whether each connected piece of a mask is an object, of whatever number: of masks
            that are 0 and 1.
        patient: column of the patient; of a folder `folder` or a pattern with one group.
        merge_rows: whether rows of one image are one.
        folds: networks, each with a fold of its own held out; of 1, see held_out.
        held_out: share of the patients that is measured, where the data name no split.
        fold: which of the parts of that size, from 0.
        plan: a plan to follow, such as an edited plan.json.
        form: what the network says: stars, flows or depths.
        rays: of a star; 32 of pictures and 96 of volumes by default.
        patch: longest edge of a patch in voxels; 128 of pictures and 64 of volumes by default.
        batch: patches of a step.
        features: channels of the first stage; the coarsest have 8 times as many.
        steps: of the training.
        learning_rate: of AdamW, rising over a twentieth of the steps, then falling to 0.
        rotation: largest angle of augmentation, in degrees.
        scale: largest magnification of augmentation, and the inverse of the smallest.
        mirror: whether patches are mirrored.
        test_mirror: whether what is said is averaged over mirror images too, where objects are told
            apart once training has ended: 2^axes times as slow.
        threshold: probability from which on a voxel is an object's; of stars, its middle's. By
            default the one by which most objects of the training images are told apart.
        smallest: voxels of the smallest object.
        seed: of folds, parameters, order of batches and augmentation.
    """

    data: Path | None = None
    columns: tuple[str, ...] = ()
    pieces: bool = False
    patient: str | None = None
    merge_rows: bool = False
    folds: int = 1
    held_out: float = 0.2
    fold: int = 0
    plan: Path | None = None
    form: Literal["stars", "flows", "depths"] = "stars"
    rays: int | None = None
    patch: int | None = None
    batch: int = 4
    features: int = 24
    steps: int = 1200
    learning_rate: float = 2e-3
    rotation: float = 180.0
    scale: float = 1.25
    mirror: bool = True
    test_mirror: bool = False
    threshold: float | None = None
    smallest: int = 15
    seed: int = 0


def run(config: Config, out: Path) -> InstanceResults:
    """Plan, train each fold, tell objects apart in what is held out or the test images, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = _source(config)
        parts = dealt(source, config)
        development = _examples(config, source, parts.development)
        plan = kept_plan(
            config, out, InstancePlan, lambda: _plan(config, source, development), _DECIDED, "steps"
        )
        _fits(config.plan or out / "plan.json", plan, development)
        held = [int(i) for _, held in parts.folds for i in held]
        which = [int(i) for i in parts.test] or sorted(held)
        if not any(_example(source, i, config.pieces)["mask"].any() for i in which):
            raise ValueError(
                f"{source.name}: no image that is measured has an object, so nothing can be: "
                "change the splits, or --fold and --held-out"
            )
        files = mask_files(source)
    models, history, step = [], (), 0
    for number, (train, held) in enumerate(parts.folds):
        folder = out if len(parts.folds) == 1 else out / f"fold_{number}"
        name = "training" if len(parts.folds) == 1 else f"training, fold {number}"
        learned = [development[int(i)] for i in train]
        with stage(seconds, name):
            model, result = trained(
                plan, learned, [development[int(i)] for i in held], config.seed, folder
            )
        if plan.threshold is None:
            with stage(seconds, "threshold"):
                threshold = best_threshold(model, learned)
            recipe = dataclasses.replace(model.recipe, threshold=threshold)
            model = model._replace(recipe=recipe)
        save_model(folder, model)
        models.append(model)
        history, step = history or result.history, result.step
        if not len(parts.test):
            with stage(seconds, "evaluation"):
                for i in map(int, held):
                    path = out / files[source.case_ids[i]]
                    found_or_read(model, development[i], path, source.image(i))
    model = joined(models)
    save_model(out, model)
    with stage(seconds, "evaluation"):
        names = [source.case_ids[i] for i in which]
        true, found = [], []
        for i, name in zip(which, names, strict=True):
            one = _example(source, i, config.pieces)
            true.append(one["mask"])
            found.append(found_or_read(model, one, out / files[name], source.image(i)))
        groups = source.groups
        results = report.instances(
            true, found, cases=names,
            groups=None if groups is None else [groups[i] for i in which],
            masks={name: files[name] for name in names},
            images=lambda k: _example(source, which[k], config.pieces)["image"],
            title=f"Instances in {Path(source.name).stem}",
        )  # fmt: skip
    return results.replace(
        description=_described(plan, model, parts, step),
        splits=sizes(source, parts),
        flow=parts.flow,
        history=history,
        best_step=step,
        seconds=seconds,
        notes=(*source.notes, *parts.notes),
    )


def make_plan(config: Config) -> InstancePlan:
    """What `run` would do."""
    source = _source(config)
    return _plan(config, source, _examples(config, source, dealt(source, config).development))


def _source(config: Config) -> ManifestSource:
    source = opened(config, labels=(), canonical=False)
    if source.masks is None:
        raise ValueError(
            f"{source.name}: no masks: put label maps into a folder `masks` beside the images, "
            "or give the table a column `mask`"
        )
    return source


Example = dict[str, np.ndarray]


def _examples(config: Config, source: ManifestSource, which: Any) -> dict[int, Example]:
    """Images with label maps by position, checked to be of one kind and to tell objects apart."""
    found = {int(i): _example(source, int(i), config.pieces) for i in which}
    kinds: dict[tuple[int, int], str] = {}
    for i, one in found.items():
        image = one["image"]
        kinds.setdefault((image.ndim - 1, image.shape[-1]), source.case_ids[i])
        if len(kinds) > 1:
            (axes, channels), (others, more) = kinds
            first, other = kinds.values()
            raise ValueError(
                f"{source.name}: {first} has {axes} axes and {channels} channels, {other} {others} "
                f"and {more}: a network takes images of one kind"
            )
    if not config.pieces:
        _refuse_binary(source.name, [*found.values()])
    return found


def _example(source: ManifestSource, i: int, pieces: bool) -> Example:
    """An image and its label map, objects numbered from 1 on."""
    image = source.image(i, canonical=False)
    labels = source.mask_and_known(i, like=image, canonical=False)[0].array
    if pieces:
        labels = ndimage.label(labels > 0, np.ones((3,) * labels.ndim))[0]
    return {"image": image.array, "mask": renumbered(labels)}


def _refuse_binary(name: str, examples: list[Example]) -> None:
    """Refuse masks of one number, which several pieces have: they tell no objects apart."""
    if max(int(one["mask"].max()) for one in examples) > 1:
        return
    counts = [ndimage.label(one["mask"])[1] for one in examples]
    if max(counts) > 1:
        raise ValueError(
            f"{name}: the masks hold one number, which up to {max(counts)} pieces have: a number "
            "is an object. Give each object its own, or --pieces where none touch"
        )


def _plan(config: Config, source: ManifestSource, examples: dict[int, Example]) -> InstancePlan:
    first = next(iter(examples))
    image = examples[first]["image"]
    rank = image.ndim - 1
    spacing = None
    if rank == 3:
        spacing = tuple(float(s) for s in source.image(first, canonical=False).spacing)
    labels = [one["mask"] for one in examples.values()]
    try:
        radius = typical_radius(labels, spacing)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error} that is trained on") from None
    said = {
        name: getattr(config, name)
        for name in unsaid(config, ("batch", "steps", "learning_rate", "scale", "threshold",
                                    "smallest"))
    }  # fmt: skip
    holds = np.max([one.shape for one in labels], 0)
    return plan_instances(
        channels=image.shape[-1], shape=holds.tolist(), spacing=spacing, radius=radius,
        most=max(int(one.max()) for one in labels), form=config.form, rays=config.rays,
        patch=config.patch, features=config.features, rotation=config.rotation,
        mirror=config.mirror, test_mirror=config.test_mirror, **said,
    )  # fmt: skip


def _fits(where: Path, plan: InstancePlan, examples: dict[int, Example]) -> None:
    """Refuse a plan that was given, or edited, for other data."""
    image = next(iter(examples.values()))["image"]
    for what, has, wants in (
        ("spatial axes", len(plan.patch), image.ndim - 1),
        ("channels", len(plan.channels), image.shape[-1]),
    ):
        if has != wants:
            raise ValueError(f"{where} is of {what} {has}, the data are of {wants}: plan anew")


def _described(plan: InstancePlan, model: InstanceModel, parts: Parts, steps: int) -> str:
    shape = " x ".join(map(str, plan.patch))
    said = {
        "stars": f"how deep in its object it lies and how far that reaches along {plan.rays} rays",
        "flows": "whether it is an object's, and which way its middle lies",
        "depths": "whether it is an object's, and how deep in it",
    }[plan.form]
    n = len(parts.folds)
    measured = "The test images are" if len(parts.test) else "What is held out is"
    by = f" by all {n} networks together" if n > 1 and len(parts.test) else ""
    return (
        f"{'A U-Net says' if n == 1 else f'{n} U-Nets say'} of each voxel {said}. {steps} steps of "
        f"{plan.batch} patches of {shape}; plan.json holds all choices and their reasons. An "
        f"object is told from a probability of {model.recipe.threshold:g} on"
        + (", chosen on images that are trained on" if plan.threshold is None else "")
        + f". {measured} read once{by} with the averaged parameters after the last step; nothing "
        "was chosen by it."
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
