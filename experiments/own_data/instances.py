"""Tell touching objects apart in one's own images: nuclei, cells, glands, lesions.

    jaxmed train instances --data PATH

PATH is a folder or table of images with label maps as masks, in which every object has a number of
its own (docs/detection.md). A U-Net says of each voxel how deep in its object it lies and how far
that reaches along rays (`stars`, for roundish objects), which way its middle lies (`flows`), or
what is inside and how deep (`depths`, parted by watershed); objects are read from that. The
parameters are averaged over the steps. A split `test` of the data is measured once, at the end;
without one a fifth of the patients is held out, and measured.

`jaxmed predict DIR IMAGES...` writes label maps of further images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from scipy import ndimage

import jaxmed as jm
from jaxmed import report
from jaxmed.augment import Augmentation, chain, flip, random_affine, random_crop
from jaxmed.data import in_memory, random_patch
from jaxmed.detection import InstanceForm, typical_radius
from jaxmed.detection.instances._watershed import renumbered
from jaxmed.inference import (
    InstanceRecipe,
    find_instances,
    instance_model,
    prepare_instances,
    save_model,
    sliding_window,
)
from jaxmed.networks import plan_unet
from jaxmed.report import InstanceResults, stage

from .._common.scans import shaded
from ._own import dealt, in_steps, opened, repeated, sizes
from ._segmentation import mask_files

_SHOWN = 8  # Held-out images that are looked at while training.
_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
_ASKED = 40  # Training images on which one of these is chosen, at most.
_OVERLAPS = (0.3, 0.5, 0.7)
_THICK = 3.0  # Of slices thicker than this in pixels, nothing is turned out of its plane.


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
        held_out: share of the patients that is measured, where the data name no split.
        fold: which of the parts of that size, from 0.
        form: what the network says: stars, flows or depths.
        rays: of a star; 32 of pictures and 96 of volumes by default.
        patch: edge of a patch in voxels.
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
        seed: of parts, parameters, order of batches and augmentation.
    """

    data: Path | None = None
    columns: tuple[str, ...] = ()
    pieces: bool = False
    patient: str | None = None
    merge_rows: bool = False
    folds: ClassVar[int] = 1
    held_out: float = 0.2
    fold: int = 0
    form: Literal["stars", "flows", "depths"] = "stars"
    rays: int | None = None
    patch: int = 128
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
    """Train, tell the objects of what is held out apart, measure."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = opened(config, labels=(), canonical=False)
        if source.masks is None:
            raise ValueError(
                f"{source.name}: no masks: put label maps into a folder `masks` beside the images, "
                "or give the table a column `mask`"
            )
        parts = dealt(source, config)
        train, held = parts.folds[0]
        measured = parts.test if len(parts.test) else held
        example = lambda i: _example(source, int(i), config.pieces)  # noqa: E731
        examples = [example(i) for i in train]
        if not config.pieces:
            _refuse_binary(source.name, examples)
        if not any(example(i)["mask"].any() for i in measured):
            raise ValueError(
                f"{source.name}: no image that is measured has an object, so nothing can be: "
                "change the splits, or --fold and --held-out"
            )
        recipe = _recipe(config, source, examples)
        ready = in_memory(_Prepared(recipe, examples))
    network = recipe.network()
    at_hand = repeated(ready, config.batch)
    cut = random_patch(_around(config, recipe, examples), foreground=0.5)
    batches = jm.data.batches(at_hand, config.batch, seed=config.seed, transform=cut)
    steps, every = in_steps(config.steps, len(batches))
    learner = _learner(config, recipe, network, steps)
    blank = instance_model(recipe, None, None)
    few = [example(i) for i in held[:: max(len(held) // _SHOWN, 1)][:_SHOWN]]
    seen = any(one["mask"].any() for one in few)

    def look(state) -> dict[str, float]:
        model = blank._replace(**learner.predicting.get(state)._asdict())
        found = [find_instances(model, one["image"], overlap=0.25) for one in few]
        true = [one["mask"] for one in few]
        return {"held out/f1": jm.stats.instance_scores(true, found, n_resamples=0).f1.value}

    with stage(seconds, "training"):
        trained = jm.fit(
            learner, batches, seed=config.seed, steps=steps, out=out,
            evaluate=jm.train.Evaluation(look, every=every) if seen else None,
        )  # fmt: skip
    weights = learner.predicting.get(trained.state)
    if config.test_mirror:
        recipe = dataclasses.replace(recipe, mirror=tuple(range(len(recipe.patch))))
    model = instance_model(recipe, weights.params, weights.state)
    if config.threshold is None:
        with stage(seconds, "threshold"):
            some = [one for one in examples if one["mask"].any()]
            few = some[:: -(-len(some) // _ASKED)]
            recipe = dataclasses.replace(recipe, threshold=_best_threshold(model, few))
        model = model._replace(recipe=recipe)
    save_model(out, model)
    files = mask_files(source)
    with stage(seconds, "evaluation"):
        names = [source.case_ids[int(i)] for i in measured]
        true, found = [], []
        for i, name in zip(measured, names, strict=True):
            one = example(i)
            true.append(one["mask"])
            found.append(_found(model, one, out / files[name], source.image(int(i))))
        groups = source.groups
        results = report.instances(
            true, found, cases=names,
            groups=None if groups is None else [groups[int(i)] for i in measured],
            masks={name: files[name] for name in names},
            images=lambda k: example(measured[k])["image"],
            title=f"Instances in {Path(source.name).stem}",
        )  # fmt: skip
    return results.replace(
        description=_described(config, recipe, trained.step, len(parts.test)),
        splits=sizes(source, parts),
        flow=parts.flow,
        history=trained.history,
        best_step=trained.step,
        seconds=seconds,
        notes=source.notes,
    )


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


def _example(source, i: int, pieces: bool) -> dict[str, np.ndarray]:
    """An image and its label map, objects numbered from 1 on."""
    image = source.image(i, canonical=False)
    labels = source.mask_and_known(i, like=image, canonical=False)[0].array
    if pieces:
        labels = ndimage.label(labels > 0, np.ones((3,) * labels.ndim))[0]
    return {"image": image.array, "mask": renumbered(labels)}


def _refuse_binary(name: str, examples: list[dict[str, np.ndarray]]) -> None:
    """Refuse masks of one number, which several pieces have: they tell no objects apart."""
    if max(int(one["mask"].max()) for one in examples) > 1:
        return
    counts = [ndimage.label(one["mask"])[1] for one in examples]
    if max(counts) > 1:
        raise ValueError(
            f"{name}: the masks hold one number, which up to {max(counts)} pieces have: a number "
            "is an object. Give each object its own, or --pieces where none touch"
        )


def _recipe(config: Config, source, examples: list[dict[str, np.ndarray]]) -> InstanceRecipe:
    rank = examples[0]["mask"].ndim
    spacing = None
    if rank == 3:
        spacing = tuple(float(s) for s in source.image(0, canonical=False).spacing)
    labels = [one["mask"] for one in examples]
    try:
        size = typical_radius(labels, spacing)
    except ValueError as error:
        raise ValueError(f"{source.name}: {error} that is trained on") from None
    most = max(int(one.max()) for one in labels)
    form = InstanceForm(
        config.form, rank=rank, rays=config.rays or (32 if rank == 2 else 96), size=size,
        spacing=spacing, most=max(most, 1),
    )  # fmt: skip
    plan = plan_unet(
        (config.patch,) * rank, spacing, base_features=config.features,
        max_features=8 * config.features,
    )  # fmt: skip
    channels = examples[0]["image"].shape[-1]
    return InstanceRecipe(
        channels=("red", "green", "blue") if channels == 3 else tuple(map(str, range(channels))),
        patch=tuple(plan.patch_size or (config.patch,) * rank),
        form=form,
        plan=plan,
        normalisation="percentile",
        threshold=0.3 if config.threshold is None else config.threshold,
        smallest=config.smallest,
    )


def _best_threshold(model, examples: list[dict[str, np.ndarray]]) -> float:
    """The threshold of the largest F1, averaged over overlaps; the lowest of equal ones."""
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


def _around(
    config: Config, recipe: InstanceRecipe, examples: list[dict[str, np.ndarray]]
) -> tuple[int, ...]:
    """What is cut from an image for a patch that is turned and magnified: no larger than most are.

    What lay beyond would be made up, and objects would seem to end there, or to go on as streaks.
    """
    angle = np.radians(min(config.rotation, 45))
    factor = config.scale * (np.cos(angle) + np.sin(angle))
    usual = np.median([one["mask"].shape for one in examples], axis=0).astype(int)
    return tuple(
        max(p, min(int(np.ceil(factor * p)), int(n)))
        for p, n in zip(recipe.patch, usual, strict=True)
    )


def _learner(config: Config, recipe: InstanceRecipe, network: jm.Network, steps: int) -> jm.Learner:
    optimizer = jm.train.optimizer(
        "adamw", learning_rate=config.learning_rate, schedule="warmup_cosine", steps=steps,
        weight_decay=1e-4, clip=5.0,
    )  # fmt: skip
    objective = jm.paradigms.augmented(
        jm.supervised(recipe.form, target="mask"), _augmentation(config, recipe)
    )
    learner = jm.learner(network, objective, optimizer)
    return jm.train.parameter_average(learner, min(0.99, 1 - 10 / max(steps, 20)))


def _augmentation(config: Config, recipe: InstanceRecipe) -> Augmentation:
    assert isinstance(recipe.form, InstanceForm)
    spacing, turned = recipe.form.spacing, config.rotation
    if spacing is not None and max(spacing) > _THICK * min(spacing):
        turned = [turned if s == max(spacing) else 0.0 for s in spacing]
    affine = random_affine(rotation=turned, scale=(1 / config.scale, config.scale), spacing=spacing)
    # Beyond the image is 0 and no object, as the network's own padding has it.
    return chain(
        affine, random_crop(recipe.patch), *([flip()] if config.mirror else []), shaded(),
        masks=("mask",), outside="constant",
    )  # fmt: skip


def _found(model, one: dict[str, np.ndarray], path: Path, image) -> np.ndarray:
    """The label map of an image, written; read, if an earlier start of this run wrote it."""
    if path.exists():
        return jm.data.read_mask(path, like=image).array
    labels = find_instances(model, one["image"])
    path.parent.mkdir(parents=True, exist_ok=True)
    jm.data.write_mask(path, labels, image)
    return labels


def _described(config: Config, recipe: InstanceRecipe, steps: int, test: int) -> str:
    shape = " x ".join(map(str, recipe.patch))
    said = {
        "stars": f"how deep in its object it lies and how far that reaches along "
        f"{recipe.form.channels - 1} rays",
        "flows": "whether it is an object's, and which way its middle lies",
        "depths": "whether it is an object's, and how deep in it",
    }[config.form]
    measured = "The test images are" if test else "What is held out is"
    return (
        f"A U-Net says of each voxel {said}. {steps} steps of {config.batch} patches of "
        f"{shape}. An object is told from a probability of {recipe.threshold:g} on"
        + (", chosen on training images" if config.threshold is None else "")
        + f". {measured} read once with the averaged parameters after the last step; nothing "
        "was chosen by it."
    )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
