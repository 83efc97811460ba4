"""The run of a classification or regression of one's own images, from the data to the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxmed as jm
from jaxmed._files import replacing
from jaxmed.data import ManifestSource
from jaxmed.inference import ImageModel
from jaxmed.planning import ImagePlan
from jaxmed.report import stage

from .._common.rounds import told
from ._images import described, fit, predicted, prepared, recipe_of
from ._own import begun_with, fits, kept_plan
from ._parts import Parts, dealt, notes, partition, sizes


class Read(NamedTuple):
    """What the networks said of the images that are measured.

    Attributes:
        source: the data.
        plan: what was followed.
        parts: how the images were dealt.
        which: positions of the images that are measured.
        said: their probabilities or numbers, (images, outputs).
        images: as the network took them, for pictures.
        about: fields of the results.
        network: the first network alone.
        unseen: (images,) whether it has not learned from the image.
    """

    source: ManifestSource
    plan: ImagePlan
    parts: Parts
    which: np.ndarray
    said: np.ndarray
    images: np.ndarray
    about: dict[str, Any]
    network: ImageModel
    unseen: np.ndarray


def train_and_read(
    config: Any,
    source: ManifestSource,
    make_plan: Callable[[Parts], ImagePlan],
    decides: tuple[str, ...],
    out: Path,
) -> Read:
    """Plan, train each fold, read what is held out and the test set."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        parts = dealt(source, config)
        plan = kept_plan(config, out, ImagePlan, lambda: make_plan(parts), decides, "epochs")
        fits(config.plan or out / "plan.json", plan, source, plan.outputs, len(plan.shape))
        recipe = recipe_of(plan)
        begun = begun_with(recipe, config.start)
        every = prepared(source, np.arange(len(source)), recipe)
    part = lambda which: jm.data.in_memory(jm.data.subset(every, which))  # noqa: E731
    # Without a test set what is held out is measured, so nothing may be chosen by it.
    choose = len(parts.test) > 0
    models, kept, history, step, said = [], [], (), 0, {}
    for number, (train, held) in enumerate(parts.folds):
        folder = out if len(parts.folds) == 1 else out / f"fold_{number}"
        with stage(seconds, "training" if len(parts.folds) == 1 else f"training, fold {number}"):
            model, result = fit(
                config, plan, recipe, part(train), part(held), folder, choose=choose
            )
        models.append(model)
        history, step = history or result.history, result.step
        if not choose:
            said |= dict(zip(held.tolist(), predicted(model, part(held)), strict=True))
        if plan.task in ("binary", "multi-class"):
            kept.append((part(held), predicted(model, part(held))))
    keep_held_out(out, plan, kept)
    model = jm.inference.average_models(models)
    jm.inference.save_model(out, model)
    with stage(seconds, "evaluation"):
        if choose:
            which = parts.test
            rows = predicted(model, part(parts.test))
        else:
            which = np.array(sorted(said))
            rows = np.stack([said[int(i)] for i in which])
    groups = source.groups
    about = {
        "cases": tuple(source.case_ids[int(i)] for i in which),
        "groups": None if groups is None else tuple(groups[int(i)] for i in which),
        "description": described(plan, parts, chosen=choose, start=config.start),
        "splits": sizes(source, parts),
        "partition": partition(source),
        "flow": parts.flow,
        "history": history,
        "best_step": step,
        "seconds": seconds,
        "notes": (
            *source.notes,
            *notes(source, parts),
            *begun,
            *told(plan.ended, plan.epochs, "epochs", test=choose),
        ),
    }
    unseen = ~np.isin(which, parts.folds[0][0])
    images = every.arrays["image"][which]
    return Read(source, plan, parts, which, rows, images, about, models[0], unseen)


def keep_held_out(out: Path, plan: ImagePlan, kept: list[tuple[Any, np.ndarray]]) -> None:
    """Keep the scores of held-out images: calibration and conformal sets are fitted to them."""
    if not kept:
        return
    with replacing(out / "held_out.npz") as partial:
        np.savez(
            partial,
            labels=np.concatenate([part.arrays["label"] for part, _ in kept]),
            scores=np.concatenate([scores for _, scores in kept]),
            classes=np.array(plan.outputs),
        )
