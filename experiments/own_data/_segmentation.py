"""What segmentation of one's own scans is made of: a case, its network, one training."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed.augment import Augmentation
from jaxmed.data import ManifestSource, Scan, in_memory, to_space
from jaxmed.data.formats import is_picture, stem
from jaxmed.inference import Recipe, Segmenter
from jaxmed.planning import SegmentationPlan, Stage
from jaxmed.report import MaskPair

from .._common.rounds import Round, in_rounds, rate, rounds
from .._common.scans import shaded
from ._own import begun_from, in_steps, repeated

_STORED = "prepared"
_MOST = 4e9  # Bytes of prepared cases that lie in memory.


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


def recipe_of(plan: SegmentationPlan, stage: Stage, *, cascade: bool = False) -> Recipe:
    """What is done to a scan at a stage of the plan, and by which network."""
    return Recipe(
        classes=plan.classes,
        channels=plan.channels,
        spacing=stage.spacing,
        patch=stage.patch,
        plan=stage.network,
        options={"deep_supervision": True},
        normalisation=plan.normalisation,
        over=plan.over,
        intensities=plan.intensities,
        mirror=plan.mirror,
        regions=plan.region_order,
        cascade=cascade,
    )


def final_recipe(plan: SegmentationPlan) -> Recipe:
    """What is done to a scan before the network that decides."""
    cascade = plan.configuration == "3d_cascade_fullres" and plan.low is not None
    return dataclasses.replace(
        recipe_of(plan, plan.full, cascade=cascade), one_piece=plan.one_piece
    )


def trained(
    config: Any,
    plan: SegmentationPlan,
    source: ManifestSource,
    train: np.ndarray,
    held: np.ndarray,
    out: Path,
) -> tuple[Segmenter, Any]:
    """Train the network of the plan's configuration; of a cascade, the coarse ones first.

    The second network of a cascade learns from masks of scans that the first has not seen: each
    half of the training scans is segmented by a coarse network of the other half. Both look first
    at whatever is segmented later, and are averaged; a training that goes on leaves them as they
    are.
    """
    recipe = final_recipe(plan)
    if not recipe.cascade or plan.low is None:
        examples = Prepared(source, train, recipe)
        return fit(config, plan, plan.full, examples, held, out)
    coarse = dataclasses.replace(plan, steps=(*plan.ended, plan.steps)[0], ended=())
    halves = coarse_halves(source, train, config.seed)
    before, of_case = [], {}
    for number, (learned, other) in enumerate(halves):
        examples = Prepared(source, learned, recipe_of(plan, plan.low))
        model, _ = fit(config, coarse, plan.low, examples, held, out / f"low_{number}")
        before.append(model)
        of_case |= dict.fromkeys(other.tolist(), model)
    examples = Prepared(source, train, recipe, [of_case[int(i)] for i in train])
    return fit(config, plan, plan.full, examples, held, out, jm.inference.average_models(before))


def coarse_halves(
    source: ManifestSource, train: np.ndarray, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs `(learned, other)` of the halves of the training scans, by patient.

    Raises:
        ValueError: one scan, or those of one patient, have no halves.
    """
    groups = None if source.groups is None else [source.groups[int(i)] for i in train]
    if len(train if groups is None else set(groups)) < 2:
        raise ValueError(
            f"{source.name}: 3d_cascade_fullres trains its coarse networks on halves of the "
            "training patients, and there is one; take 3d_fullres or 3d_lowres"
        )
    dealt = jm.data.folds(len(train), 2, groups=groups, seed=seed)
    return [(train[fold.train], train[fold.test]) for fold in dealt]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Training cases as the network meets them; a source.

    Args:
        source: scans and masks.
        which: positions of the cases.
        recipe: what is done to them.
        before: for a cascade, the segmenter that has looked at each case, and not learned it.
    """

    source: ManifestSource
    which: np.ndarray
    recipe: Recipe
    before: Sequence[Segmenter] = ()

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Names of the cases."""
        return tuple(self.source.case_ids[int(i)] for i in self.which)

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        before = self.before[index] if self.before else None
        return prepared(self.recipe, self.source[int(self.which[index])], before)


def fit(
    config: Any,
    plan: SegmentationPlan,
    stage: Stage,
    examples: Prepared,
    held: np.ndarray,
    out: Path,
    before: Segmenter | None = None,
) -> tuple[Segmenter, Any]:
    """Train one network; without held-out cases there is no learning curve."""
    source, recipe = examples.source, examples.recipe
    structures = len(recipe.classes) - 1 if recipe.cascade else 0
    at_hand = repeated(stored(examples, out), stage.batch)
    objective = jm.supervised(
        jm.losses.deep_supervision(loss_of(plan)),
        output="deep",
        target="mask",
        known="mask_known" if source.mask_labels.ignore is not None else None,
    )
    network = begun_from(recipe.network(), config.start)
    view = augmentation(plan, stage)
    if structures:
        view = jm.augment.with_structures(view, structures)
    blank = jm.inference.segmenter(recipe, None, None, before=before)
    few = [*cases(source, held[:: max(len(held) // 5, 1)][:5])]
    models: list[Segmenter] = []

    def train_round(one: Round, first: int, state: Any) -> Any:
        batches = jm.data.batches(
            at_hand, stage.batch, seed=one.seed(config.seed), transform=cut(plan, stage, structures)
        )
        steps, every = in_steps(one.length, len(batches))
        optimizer = jm.train.optimizer(
            "adamw", **rate("poly", plan.learning_rate, steps, first), weight_decay=1e-2, clip=5.0
        )
        learner = jm.train.parameter_average(
            jm.learner(network, jm.paradigms.augmented(objective, view), optimizer), plan.average
        )

        def model_of(state: Any) -> Segmenter:
            return blank._replace(**learner.predicting.get(state)._asdict())

        def look(state: Any) -> dict[str, float]:
            model = model_of(state)
            found = [dice(measured(case, segmented(case, model)), plan) for case in few]
            return {"held out/dice": float(np.nanmean(found))}

        made = jm.fit(
            learner, batches, seed=config.seed, steps=steps, state=state, out=one.folder(out),
            evaluate=jm.train.Evaluation(look, every=every) if few else None,
        )  # fmt: skip
        models.append(model_of(made.state))
        return made

    result = in_rounds(train_round, rounds(plan.steps, plan.ended))
    jm.inference.save_model(out, models[-1])
    shutil.rmtree(out / _STORED, ignore_errors=True)
    return models[-1], result


def stored(examples: Prepared, out: Path) -> Any:
    """Prepared cases in memory; where they are many, in files beside the checkpoints."""
    first = examples[0]
    size = len(examples) * sum(array.nbytes for array in first.values())
    if size <= _MOST:
        return in_memory(examples)
    # The weights of an earlier network are told by its checkpoints, which this run made.
    settings = {"recipe": jm.inference.describe(examples.recipe)}
    return jm.data.memory_mapped(examples, out / _STORED, settings=settings)


def cut(plan: SegmentationPlan, stage: Stage, structures: int) -> Any:
    """Cut a patch; structures that were found before become channels of its image."""
    fields = ("image", "mask", "mask_known", "before")
    patch = jm.data.random_patch(stage.patch, foreground=plan.foreground, fields=fields)
    if not structures:
        return patch

    def joined(rng: np.random.Generator, example: dict[str, Any]) -> dict[str, Any]:
        found = patch(rng, example)
        channels = jm.inference.structure_channels(found.pop("before"), structures + 1)
        return found | {"image": np.concatenate([found["image"], channels], axis=-1)}

    return joined


def loss_of(plan: SegmentationPlan) -> Any:
    """Dice and cross-entropy, of classes or of regions."""
    regions = [*plan.regions.values()]
    loss = jm.losses.region_dice_ce(regions) if regions else jm.losses.dice_ce
    return functools.partial(loss, over=plan.dice_over)


def augmentation(plan: SegmentationPlan, stage: Stage) -> Augmentation:
    """Turn, scale, mirror and shade, as the plan allows."""
    from jaxmed.augment import chain, flip, random_affine

    # Slices are turned in their plane, across which any spacing does.
    spacing = [gap or 1.0 for gap in stage.spacing]
    affine = random_affine(
        rotation=plan.rotation, p_rotation=plan.rotated, scale=plan.scale, spacing=spacing
    )
    mirrored = [flip(plan.mirror)] if plan.mirror else []
    return chain(affine, *mirrored, shaded(), masks=("mask", "mask_known"))


def prepared(
    recipe: Recipe, example: dict[str, Any], before: Segmenter | None = None
) -> dict[str, np.ndarray]:
    """A training case as the network will meet scans later, at least a patch large."""
    affine = example["affine"].astype(float)
    scan = Scan(example["image"], affine, jm.data.Space(example["mask"].shape, affine))
    ready, outside, _ = jm.inference.preprocess(recipe, scan)
    fields = {"image": ready.array}
    for name in ("mask", "mask_known"):
        if name in example:
            value = example[name].astype(np.int32)
            fields[name] = to_space(value, affine, ready.space)
    if before is not None:
        mask = jm.inference.segment(before, scan._replace(file=ready.space)).array
        fields["before"] = mask.astype(np.uint8 if mask.max() < 256 else np.int32)
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
