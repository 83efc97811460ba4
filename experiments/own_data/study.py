"""Compare ways to classify one's own images, cross-validated, every pair tested.

    jaxmed study --data PATH --arms network=resnet18,efficientnet_lite0 weights=imagenet,scratch

PATH is as with `jaxmed train classification`. Arms are all combinations of the values of the plan's
fields, or plans: `--arms plan=small.json,large.json`. Every arm is trained on every fold from every
seed, with the same batches; the report has each arm's metrics with intervals for other cases and
other trainings, and for each pair the t-test corrected for overlapping training sets, corrected
for the number of pairs. A killed study goes on from the trainings that ended.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import numpy as np
from scipy.special import softmax

import jaxmed as jm
from jaxmed import protocols
from jaxmed.planning import ImagePlan, image_print, plan_images, read_plan, write_plan
from jaxmed.report import Results, stage

from ._copies import copies, units
from ._images import learner_of, prepared, recipe_of
from ._own import fits, opened, split_names

# What may differ between arms: all are trained on the same arrays, for the same time.
_FREE = (
    "network", "start", "learning_rate", "weight_decay", "average", "mirror", "rotation", "scale",
)  # fmt: skip
_NAMES = {"weights": "start"}  # as `train classification` calls it


@dataclasses.dataclass(frozen=True)
class Config:
    """One study.

    Args:
        data: the table or folder.
        arms: FIELD=VALUE,VALUE of the plan, or plan=FILE,FILE.
        labels: column of the labels; by default `label`, or the folders.
        columns: ROLE=COLUMN where a table's columns have other names: image=file patient=subject.
        classes: names of the classes in order; of folders, those to use.
        positive: the class that is told from the other, or from all others.
        patient: column of the patient; of a folder `folder` or a pattern with one group.
        merge_rows: whether rows of one image, such as of its findings, are one.
        folds: into how many the patients are dealt.
        repeats: how often they are dealt anew.
        seeds: trainings of each arm on each fold.
        size: longer side of the images.
        epochs: passes over the training images.
        adjustment: of the p-values: holm, hochberg, hommel, bonferroni, benjamini-hochberg, none.
    """

    data: Path | None = None
    arms: tuple[str, ...] = ()
    labels: str | None = None
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    positive: str | None = None
    patient: str | None = None
    merge_rows: bool = False
    folds: int = 5
    repeats: int = 1
    seeds: int = 1
    size: int | None = None
    epochs: int | None = None
    adjustment: str = "holm"


def run(config: Config, out: Path) -> Results:
    """Plan the arms, train each on every fold from every seed, compare."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        source = opened(
            config, labels=config.labels, classes=config.classes or None,
            positive=config.positive, canonical=True,
        )  # fmt: skip
        source = dataclasses.replace(source, masks=None)
        if source.labels is not None and (
            source.labels.ndim != 1 or source.labels.dtype.kind != "i"
        ):
            raise ValueError("a study is of one class of several")
        held = split_names(source) == "test"  # a study chooses, so it is left for what is chosen
        source = source.where(np.flatnonzero(~held).tolist())
        if alike := copies(source):
            whole = tuple(map(str, units(source, alike) or ()))
            source = dataclasses.replace(source, groups=whole)
        found = image_print(source)
        base = plan_images(found, source.classes, size=config.size, epochs=config.epochs)
        arms = planned(config, base)
        for name, plan in arms.items():
            fits(f"the plan {name}", plan, source, plan.outputs, len(plan.shape))
        recipes = {name: recipe_of(plan) for name, plan in arms.items()}
        repeat = max(recipe.repeat for recipe in recipes.values())
        recipes = {n: dataclasses.replace(r, repeat=repeat) for n, r in recipes.items()}
        data = prepared(source, np.arange(len(source)), next(iter(recipes.values())))
    for name, plan in arms.items():
        write_plan(out / "plans" / f"{name}.json".replace("/", "_"), plan)
    first = next(iter(arms.values()))
    splits = protocols.repeated(data, config.folds, repeats=config.repeats, stratify="label")
    steps = first.epochs * -(-min(len(split.train) for split in splits) // first.batch)
    offsets = np.log(first.weights) if first.weights else 0.0
    with stage(seconds, "training"):
        study = protocols.study(
            {name: learner_of(plan, recipes[name], steps) for name, plan in arms.items()},
            data,
            splits,
            seeds=config.seeds,
            out=out / "trainings",
            training=protocols.TrainingPlan(epochs=first.epochs, size=first.batch),
            reading=protocols.Reading(
                summary=lambda logits, _: softmax(np.asarray(logits) - offsets, axis=-1)
            ),
        )
    results = jm.report.from_study(
        study,
        classes=source.classes,
        adjustment=config.adjustment,
        title=f"Study of {Path(source.name).stem}",
        description=(
            f"{len(arms)} arms, {config.folds} folds, {config.seeds} seeds, {first.epochs} epochs "
            f"in batches of {first.batch} at {' x '.join(map(str, first.shape))}; the folder "
            "`plans` holds every arm's plan."
        ),
    )
    left = [f"{len(alike)} images have copies, which stay in one fold."] if alike else []
    left += [f"{held.sum()} images of the split test are left out."] if held.any() else []
    return results.replace(notes=(*source.notes, *left, *results.notes))


def planned(config: Config, base: ImagePlan) -> dict[str, ImagePlan]:
    """The plan of each arm by its name.

    Raises:
        ValueError: fewer than two arms, a field that may not differ, or a value of another type.
    """
    given = [text.partition("=") for text in config.arms]
    if wrong := [field for field, sign, values in given if not sign or not values]:
        raise ValueError(f"--arms is FIELD=VALUE,VALUE, such as network=resnet18,resnet34, got "
                         f"{wrong[0]!r}")  # fmt: skip
    fields = {
        _NAMES.get(field, field): re.findall(r"\[.*?\](?=,|$)|[^,]+", values)
        for field, _, values in given
    }
    if len(fields) < len(given):
        raise ValueError(f"--arms names a field twice: {' '.join(config.arms)}")
    if "plan" in fields:
        if len(fields) > 1:
            raise ValueError("--arms is either of plans or of fields")
        plans = {}
        for path in fields["plan"]:
            _add(plans, Path(path).stem, read_plan(path, ImagePlan))
        _check_alike(plans)
    else:
        if unknown := [field for field in fields if field not in _FREE]:
            raise ValueError(
                f"--arms may differ in {', '.join(_FREE)} (one array serves all arms), not in "
                f"{unknown[0]!r}"
            )
        plans = {}
        for values in itertools.product(*fields.values()):
            changed = dict(zip(fields, values, strict=True))
            name = "_".join(changed.values())
            _add(plans, name, _changed(base, changed))
    if len(plans) < 2:
        raise ValueError(f"a study compares at least two arms, got {len(plans)}: --arms")
    return plans


def _add(plans: dict[str, ImagePlan], name: str, plan: ImagePlan) -> None:
    if name in plans:
        raise ValueError(f"--arms: two arms are called {name!r}: give each value once, and files "
                         "of plans different names")  # fmt: skip
    plans[name] = plan


def _changed(base: ImagePlan, changed: dict[str, str]) -> ImagePlan:
    """The plan with other values, read as a plan's file is."""
    table = json.loads(json.dumps(dataclasses.asdict(base)))
    for field, text in changed.items():
        try:
            table[field] = json.loads(text)
        except ValueError:
            table[field] = text
    if table["network"] == "efficientnet_lite0" or "start" in changed:
        return jm.planning.plan_of(ImagePlan, table)
    return jm.planning.plan_of(ImagePlan, {**table, "start": "scratch"})


def _check_alike(plans: dict[str, ImagePlan]) -> None:
    """Refuse plans that cannot share one array and one length."""
    shared = ("task", "outputs", "channels", "shape", "normalisation", "linear", "weights",
              "batch", "epochs")  # fmt: skip
    first, *others = plans.items()
    for name, plan in others:
        for field in shared:
            here, there = getattr(plan, field), getattr(first[1], field)
            if here != there:
                raise ValueError(
                    f"the plans of a study have one {field}; that of {name} is {here}, that of "
                    f"{first[0]} {there}"
                )


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
