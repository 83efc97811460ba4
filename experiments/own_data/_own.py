"""What training on one's own images shares: opening them, plans, earlier runs."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxmed as jm
from jaxmed.data import ManifestSource, MaskLabels, dataset
from jaxmed.data.images._mask_labels import parse_map
from jaxmed.data.tables._columns import parse_columns
from jaxmed.inference._model_file import weight_shapes


def opened(config: Any, **options: Any) -> ManifestSource:
    """The images that the settings name.

    Raises:
        ValueError: no data, a column or mapping that cannot be read.
        DataError: anything malformed.
    """
    if config.data is None:
        raise ValueError("--data: name a table or a folder of images (jaxmed data check PATH)")
    return dataset(
        config.data,
        columns=parse_columns(config.columns),
        patient=config.patient,
        merge_rows=config.merge_rows,
        **options,
    )


def mask_labels(config: Any) -> MaskLabels | None:
    """What the masks' numbers mean, if the settings say so."""
    values, colours = parse_map(config.map)
    names = tuple(config.classes)
    if not values and not colours:
        return MaskLabels(names) if names else None
    return MaskLabels(names, values=values or None, colours=colours or None)


def begun_from(network: jm.Network, start: Path | None) -> jm.Network:
    """The network begun with an earlier run's weights, where they have its shapes."""
    if start is None:
        return network
    return jm.paradigms.pretrained(network, *_weights(start), strict=False)


def begun_with(recipe: Any, start: Path | None) -> tuple[str, ...]:
    """How many of a network's parameters are an earlier run's, a note.

    Raises:
        ValueError: none are, as of a run of another kind.
    """
    if start is None:
        return ()
    there, wanted = map(_sizes, (_weights(start)[0], weight_shapes(recipe)[0]))
    same = sum(math.prod(size) for path, size in wanted.items() if there.get(path) == size)
    whole = sum(math.prod(size) for size in wanted.values())
    if not same:
        raise ValueError(
            f"--from {start}: none of its weights fit this network: it is a run of another kind, "
            "or of another plan"
        )
    return (f"Begun with the weights of {start.name}: {100 * same / whole:.0f} % of them fit.",)


def _weights(start: Path) -> tuple[Any, Any]:
    model = jm.inference.load_model(start)
    if model.recipe.members == 1:
        return model.params, model.state
    return jax.tree.map(lambda leaf: leaf[0], (model.params, model.state))


def _sizes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in leaves}


def repeated(source: Any, batch: int, least: int = 8) -> Any:
    """A source in which an epoch has at least so many batches, however few its examples are."""
    n = len(source)
    times = -(-least * batch // n)
    return jm.data.subset(source, np.tile(np.arange(n), times)) if times > 1 else source


def in_steps(steps: int, length: int) -> tuple[int, int]:
    """The steps of a training, and the epochs between two of ten looks.

    Of more than an epoch, it is whole ones, so that each image is seen equally often.
    """
    epochs = round(steps / length)
    return (steps, 1) if steps < length else (epochs * length, max(1, epochs // 10))


def unsaid(config: Any, fields: Sequence[str]) -> list[str]:
    """Settings that differ from their defaults, of those named."""
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    return [name for name in fields if getattr(config, name) != defaults[name]]


def kept_plan(
    config: Any, out: Path, kind: type, make: Callable[[], Any], decides: Sequence[str], unit: str
) -> Any:
    """The plan given, else the one this folder began with, else a new one; it is in `plan.json`.

    Of a run that has ended and is to go on, `unit` of the plan (`epochs` or `steps`) grows.

    Raises:
        ValueError: a plan that cannot be read, or settings that the given plan would overrule.
    """
    path = out / "plan.json"
    if config.plan is not None:
        if said := unsaid(config, decides):
            raise ValueError(
                f"--plan decides {', '.join(said)}: edit the plan, or leave the option out"
            )
        plan = jm.planning.read_plan(config.plan, kind)
        if not path.exists() or path.resolve() != config.plan.resolve():
            jm.planning.write_plan(path, plan)
        return plan
    if path.exists():
        plan = jm.planning.read_plan(path, kind)
        has, wanted = getattr(plan, unit), getattr(config, unit)
        if wanted is not None and wanted > has and (out / "metrics.json").exists():
            # Of what was predicted at the first end nothing is true of the second.
            shutil.rmtree(out / "masks", ignore_errors=True)
            why = {**plan.why, unit: f"as given, {has} at first"}
            plan = dataclasses.replace(plan, ended=(*plan.ended, has), why=why, **{unit: wanted})
            jm.planning.write_plan(path, plan)
        return plan
    plan = make()
    jm.planning.write_plan(path, plan)
    return plan


def fits(where: Any, plan: Any, source: ManifestSource, classes: Sequence[str], rank: int) -> None:
    """Refuse a plan that was given, or edited, for other data.

    Raises:
        ValueError: other classes, channels or axes; names both.
    """
    image = source.image(0).array
    named = source.classes if source.masks is None else source.mask_labels.classes
    for what, has, wants in (
        ("spatial axes", rank, image.ndim - 1),
        ("channels", len(plan.channels), image.shape[-1]),
        ("the classes", [*classes], [*named] or [*classes]),
    ):
        if has != wants:
            raise ValueError(f"{where} is of {what} {has}, the data are of {wants}: plan anew")
