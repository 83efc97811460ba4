"""What training on one's own images shares: opening them, their parts, earlier runs."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxmed as jm
from jaxmed.data import ManifestSource, MaskLabels, check_disjoint, dataset, split
from jaxmed.data.images._mask_labels import parse_map
from jaxmed.data.tables._columns import parse_columns
from jaxmed.inference._model_file import weight_shapes
from jaxmed.report import Split

from ._copies import check_splits, copies, files_of, units

_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "tuning": "val", "tune": "val", "test": "test", "testing": "test",
    "holdout": "test", "external": "test",
}  # fmt: skip


class Parts(NamedTuple):
    """How the images are dealt.

    Attributes:
        folds: `(train, held out)` positions, one pair for each network that is trained.
        test: positions of the test set, which is opened once; perhaps none.
        flow: how they came to be there, one sentence a step.
        notes: what of it a reader should know.
    """

    folds: list[tuple[np.ndarray, np.ndarray]]
    test: np.ndarray
    flow: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def development(self) -> np.ndarray:
        """All images but the test set's."""
        train, held = self.folds[0]
        return np.sort(np.concatenate([train, held]))


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


def split_names(source: ManifestSource) -> np.ndarray:
    """The split of each image, `train`, `val` or `test`; `train` where the data name none.

    Raises:
        ValueError: a split of another name.
    """
    if "split" not in source.rows[0]:
        return np.full(len(source), "train")
    return np.array([split_name(str(row["split"]), source.name) for row in source.rows])


def split_name(given: str, where: str) -> str:
    """Which of train, val and test a split of this name is.

    Raises:
        ValueError: none of them.
    """
    found = _SPLITS.get(given.strip().casefold())
    if found is None:
        raise ValueError(
            f"{where}: the split {given.strip().casefold()!r} is none of train, val and test (or "
            f"{', '.join(name for name in _SPLITS if name not in ('train', 'val', 'test'))})"
        )
    return found


def dealt(source: ManifestSource, config: Any) -> Parts:
    """Deal the images into folds, by patient, and into the table's own splits where it has any.

    Raises:
        ValueError: a split of another name, a share or a fold that is none.
    """
    count = "image" if len(source) == 1 else "images"
    flow = [f"{len(source)} {count} of {Path(source.name).name}"]
    told: list[str] = []
    every = np.arange(len(source))
    splits, files = split_names(source), files_of(source)
    alike = copies(files)
    check_splits(files, splits, alike)
    if "split" in source.rows[0]:
        flow.append("dealt into " + ", ".join(sorted(set(splits))) + " as the data say")
    test, val = every[splits == "test"], every[splits == "val"]
    rest = every[splits == "train"]
    if not len(rest):
        raise ValueError(f"{source.name}: no image is in the split 'train'")
    if len(val) and config.folds == 1:
        pairs = [(rest, val)]
        flow.append(f"{len(val)} images held out, as the data say")
    else:
        whole = units(len(source), source.groups, alike)
        pairs, count = _folds(source, np.sort(np.concatenate([rest, val])), config, whole)
        if alike:
            n = sum(len(several) - 1 for several in alike)
            told.append(f"{n} images are copies of others, kept on one side")
            flow.append(told[-1])
        unit = "image: no patients are named" if source.groups is None else "patient"
        what = f"dealt at random into {count} folds by {unit}"
        if not count:
            what = f"{config.held_out:g} of all drawn at random by {unit}"
        if config.folds > 1 and count < config.folds:
            what += f", not {config.folds}, as there are no more"
            told.append(what)
        held = f"; fold {config.fold} held out" if count else " and held out"
        flow.append(what + ("" if config.folds > 1 else held))
    for train, held in pairs:
        if np.array_equal(train, held):
            continue  # a single patient
        check_disjoint({"train": train, "held out": held}, groups=source.groups)
    return Parts(pairs, test, tuple(flow), tuple(told))


def held_out_parts(share: float) -> list[float]:
    """Parts of all patients, of which the first is held out: equal ones if the share is one of k.

    Raises:
        ValueError: a share that is none, or more than half.

    >>> held_out_parts(0.25), held_out_parts(0.4)
    ([0.25, 0.25, 0.25, 0.25], [0.4, 0.6])
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"--held-out is a share above 0 and at most 0.5, got {share}")
    k = round(1 / share)
    return [1 / k] * k if abs(k * share - 1) < 0.02 else [share, 1 - share]


def parted(
    count: int, parts: Sequence[float], **options: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to learn from and those held out, a pair for each part that may be held out.

    Args:
        count: how many examples.
        parts: as `held_out_parts` makes them.
        **options: of `split`.
    """
    groups = options.get("groups")
    units = count if groups is None else len(set(groups))
    if len(parts) > units or parts[0] * units < 1:
        parts = [1 / units] * units
    found = split(count, {f"fold {i}": part for i, part in enumerate(parts)}, **options)
    held = [*found.values()][: len(parts) if len({*parts}) == 1 else 1]
    return [(np.setdiff1d(np.arange(count), one), one) for one in held]


def _folds(
    source: ManifestSource, rest: np.ndarray, config: Any, whole: Sequence[Any] | None
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """The parts, and into how many folds all were dealt; 0 of a share that is no whole part."""
    if config.folds < 1:
        raise ValueError(f"--folds is 1 or more, got {config.folds}")
    parts = held_out_parts(config.held_out if config.folds == 1 else 1 / config.folds)
    groups = None if whole is None else [whole[i] for i in rest]
    labels = None
    if source.labels is not None and source.labels.ndim == 1 and source.labels.dtype.kind == "i":
        labels = source.labels[rest]
    if len(rest) == 1 or (groups is not None and len(set(groups)) == 1):
        # A single patient: it is learned and looked at, and nothing is held out.
        return [(rest, rest)], 1
    found = parted(len(rest), parts, groups=groups, stratify=labels, seed=config.seed)
    count = len(found) if len(found) > 1 else 0
    if config.folds == 1:
        if not 0 <= config.fold < len(found):
            raise ValueError(f"--fold is 0 to {len(found) - 1}, got {config.fold}")
        found = [found[config.fold]]
    return [(rest[train], rest[test]) for train, test in found], count


def sizes(source: ManifestSource, parts: Parts) -> tuple[Split, ...]:
    """Cases, patients and, where there are labels, classes of each part."""

    def size(name: str, which: np.ndarray) -> Split:
        groups = source.groups
        patients = None if groups is None else len({groups[int(i)] for i in which})
        counts = {}
        labels = None if source.labels is None else source.labels[which]
        if labels is not None and labels.dtype.kind == "i":
            found = labels.sum(0) if labels.ndim == 2 else np.bincount(
                labels, minlength=len(source.classes)
            )  # fmt: skip
            counts = dict(zip(source.classes, map(int, found), strict=True))
        return Split(name, len(which), patients, counts)

    if len(parts.folds) == 1:
        train, held = parts.folds[0]
        found = [size("train", train), size("held out", held)]
    else:
        found = [size(f"development, {len(parts.folds)} folds", parts.development)]
    return (*found, *([size("test", parts.test)] if len(parts.test) else []))


def notes(source: ManifestSource, parts: Parts) -> tuple[str, ...]:
    """What a reader should know of the parts."""
    found = [*parts.notes]
    train, held = parts.folds[0]
    if np.array_equal(train, held):
        found.append("One patient only: the network is measured on what it was trained on.")
    if source.groups is None and len(train) > 1:
        found.append("No patients are named: images of one patient may be on both sides.")
    return tuple(found)


def partition(source: ManifestSource) -> str:
    """What the parts share none of, for the checklist: `dealt` has refused all else."""
    unit = "image, no patients named" if source.groups is None else "patient"
    return f"by {unit}; no {unit.partition(',')[0]} and no copy of a file in two parts, checked"


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
