"""Training of a network of times to an event on one's own cases: its plan, recipe and fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import jaxmed as jm
from jaxmed.data import ArraySource
from jaxmed.data.tables._records import read_records
from jaxmed.inference import ImageRecipe, SurvivalModel, SurvivalRecipe, survival_model
from jaxmed.planning import SurvivalPlan, plan_survival
from jaxmed.quantities import concordance

from .._common.rounds import Round, in_rounds, rate, rounds
from .._common.times import baseline_of, inputs_of, learner_of
from ._own import begun_from, unsaid
from ._parts import Parts
from ._survival_cases import Read

DECIDED = ("records", "loss", "intervals", "size", "network", "drop", "epochs", "batch",
           "learning_rate")  # fmt: skip


def plan_of(config: Any, read: Read, parts: Parts) -> SurvivalPlan:
    """The plan of the cases that are learned from.

    Raises:
        ValueError: neither images nor records.
        DataError: a column that is not there, or holds nothing.
    """
    if read.images is None and not config.records:
        raise read.table.fault(
            f"there is no column {config.image!r} and --records names none: nothing to learn from"
        )
    about: dict[str, Any] = {}
    if read.images is not None:
        scan = read.images.image(0, canonical=True)
        channels = tuple(f"channel {i}" for i in range(scan.array.shape[-1]))
        about |= {"channels": channels, "spatial": scan.space.shape}
    learned = np.unique(np.concatenate([train for train, _ in parts.folds]))
    if config.records:
        found = read_records(read.table, config.records)
        known = found.learned_by(*(train for train, _ in parts.folds))
        for name, words, kept in zip(
            config.records, found.categories, known.categories, strict=True
        ):
            if words and not kept:
                raise read.table.fault(
                    f"{name} has no word that every network learns from: leave the column out, or "
                    "ask for fewer folds"
                )
        records = jm.networks.tabular(known.columns, fitted_to=known.values[learned])
        scales = zip(records.center or (), records.scale or (), strict=True)
        about |= {"records": config.records, "categories": known.categories,
                  "scales": tuple(scales)}  # fmt: skip
    fields = {f.name for f in dataclasses.fields(SurvivalPlan)} - {"records", "loss"}
    given = [name for name in unsaid(config, DECIDED) if name in fields]
    plan = plan_survival(
        *read.survival[learned].T, loss=config.loss, intervals=config.intervals, size=config.size,
        **about, **{name: getattr(config, name) for name in DECIDED if name in fields},
    )  # fmt: skip
    why = {name: reason for name, reason in plan.why.items() if reason != "given" or name in given}
    return dataclasses.replace(plan, why=why)


def check_plan(where: Path, plan: SurvivalPlan, read: Read) -> None:
    """Refuse a plan that was given, or edited, for other data.

    Raises:
        ValueError: images of other axes or channels, or none.
    """
    if not plan.shape:
        return
    if read.images is None:
        raise ValueError(f"{where} is of images, of which the data name none: plan anew")
    image = read.images.image(0).array
    for what, has, wants in (
        ("spatial axes", len(plan.shape), image.ndim - 1),
        ("channels", len(plan.channels), image.shape[-1]),
    ):
        if has != wants:
            raise ValueError(f"{where} is of {what} {has}, the data are of {wants}: plan anew")


def recipe_of(plan: SurvivalPlan, unit: str) -> SurvivalRecipe:
    """How a case is prepared, and by which network it is read."""
    trunks: dict[str, Any] = {}
    image = None
    if plan.shape:
        trunks["image"] = getattr(jm.networks, plan.network)(None, stem="small")
        alone = getattr(jm.networks, plan.network)(1, stem="small")
        image = ImageRecipe("regression", ("risk",), plan.channels, plan.shape, alone)
    if plan.records:
        center, scale = zip(*plan.scales, strict=True)
        columns = tuple(map(len, plan.categories))
        trunks["record"] = jm.networks.tabular(
            columns, center=center, scale=scale, hidden=plan.hidden
        )
    net = jm.paradigms.fuse(
        trunks, classes=len(plan.times) if plan.loss == "discrete" else 1,
        drop=plan.drop if len(trunks) > 1 else 0.0,
    )  # fmt: skip
    return SurvivalRecipe(
        net, times=plan.times, image=image, records=plan.records, categories=plan.categories,
        unit=unit,
    )  # fmt: skip


def fit(
    config: Any,
    plan: SurvivalPlan,
    recipe: SurvivalRecipe,
    train: ArraySource,
    held: ArraySource | None,
    out: Path,
) -> tuple[SurvivalModel, Any]:
    """Train one network.

    Args:
        config: with `seed` and `start`.
        plan: what it follows.
        recipe: of the network.
        train: what it learns from.
        held: what the learning curve is of, or None.
        out: folder of checkpoints and of the model.
    """
    inputs = inputs_of(train)
    batch = min(plan.batch, len(train))

    def train_round(one: Round, first: int, state: Any) -> Any:
        batches = jm.data.batches(train, batch, seed=one.seed(config.seed))
        learner = learner_of(
            begun_from(recipe.network(), config.start), inputs, loss=plan.loss, edges=plan.times,
            weight_decay=plan.weight_decay,
            **rate("cosine", plan.learning_rate, one.length * len(batches), first),
        )  # fmt: skip

        def look(state: Any) -> dict[str, float]:
            assert held is not None
            said = np.asarray(jm.train.predict(learner, state, held, inputs=inputs))
            risk = said[:, 0]
            if plan.loss == "discrete":
                survival = jm.losses.discrete_survival(said, edges=plan.times)
                risk = -np.asarray(survival).mean(1)
            time, event = held.arrays["survival"].T
            return {"held out/harrell_c": concordance(time, event > 0, risk)}

        every = max(1, one.length // 10)
        learners.append(learner)
        return jm.fit(
            learner, batches, seed=config.seed, epochs=one.length, state=state, out=one.folder(out),
            evaluate=None if held is None else jm.train.Evaluation(look, every=every),
        )  # fmt: skip

    learners: list[Any] = []
    result = in_rounds(train_round, rounds(plan.epochs, plan.ended))
    if plan.loss == "cox":
        hazard = baseline_of(learners[-1], result.state, train)
        cumulative = -np.log(hazard.survival([0.0], plan.times)[0])
        recipe = dataclasses.replace(recipe, baseline=tuple(map(float, cumulative)))
    model = survival_model(recipe, *learners[-1].predicting.get(result.state))
    jm.inference.save_model(out, model)
    return model, result
