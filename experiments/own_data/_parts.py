"""How one's own cases are dealt into what is learned from, held out and tested, by patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import ManifestSource, check_disjoint, split
from jaxmed.report import Split

from ._copies import Files, check_splits, copies, files_of, units

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


class Cases(NamedTuple):
    """What is dealt.

    Attributes:
        name: of the data.
        groups: the patient of each case, or None where none are named.
        splits: `train`, `val` or `test` of each case, or None where the data name none.
        files: of each case's image; none where it has no image.
        labels: the class of each case, by which folds are alike, or None.
        noun: what a case is called.
    """

    name: str
    groups: Sequence[Any] | None
    splits: np.ndarray | None
    files: Files
    labels: np.ndarray | None
    noun: str = "image"


def dealt(source: ManifestSource, config: Any) -> Parts:
    """Deal the images into folds, by patient, and into the table's own splits where it has any.

    Raises:
        ValueError: a split of another name, a share or a fold that is none.
    """
    labels = source.labels
    if labels is not None and not (labels.ndim == 1 and labels.dtype.kind == "i"):
        labels = None
    splits = split_names(source) if "split" in source.rows[0] else None
    return deal(Cases(source.name, source.groups, splits, files_of(source), labels), config)


def deal(cases: Cases, config: Any, *, look: bool = True) -> Parts:
    """Deal cases into folds, by patient, and into the data's own splits where they name any.

    Args:
        cases: what is dealt.
        config: with `folds`, `held_out`, `fold` and `seed`.
        look: whether a single network is looked at while it learns, so that cases are held out
            beside a test set too. Else it learns from all but the test set.

    Raises:
        ValueError: a share or a fold that is none, a split `train` without a case.
        DataError: a patient or a copy of a file in two splits.
    """
    n, noun = len(cases.files), cases.noun
    flow = [f"{n} {noun}{'s' * (n != 1)} of {Path(cases.name).name}"]
    told: list[str] = []
    every = np.arange(n)
    splits = np.full(n, "train") if cases.splits is None else cases.splits
    alike = copies(cases.files)
    check_splits(cases.files, splits, alike)
    if cases.splits is not None:
        flow.append("dealt into " + ", ".join(sorted(set(splits))) + " as the data say")
    test, val = every[splits == "test"], every[splits == "val"]
    rest = every[splits == "train"]
    if not len(rest):
        raise ValueError(f"{cases.name}: no {noun} is in the split 'train'")
    named = {"train": rest, "val": val, "test": test}
    check_disjoint({s: part for s, part in named.items() if len(part)}, groups=cases.groups)
    learned = np.sort(np.concatenate([rest, val]))
    if config.folds == 1 and len(test) and not look:
        return Parts([(learned, every[:0])], test, tuple(flow))
    if len(val) and config.folds == 1:
        pairs = [(rest, val)]
        flow.append(f"{len(val)} {noun}s held out, as the data say")
    else:
        whole = units(n, cases.groups, alike)
        pairs, count = _folds(cases, learned, config, whole)
        if alike:
            repeats = sum(len(several) - 1 for several in alike)
            told.append(f"{repeats} images are copies of others, kept on one side")
            flow.append(told[-1])
        unit = f"{noun}: no patients are named" if cases.groups is None else "patient"
        what = f"dealt at random into {count} folds by {unit}"
        if not count:
            what = f"{config.held_out:g} of all drawn at random by {unit}"
        if config.folds > 1 and count < config.folds:
            what += f", not {config.folds}, as there are no more"
            told.append(what)
        out = f"; fold {config.fold} held out" if count else " and held out"
        flow.append(what + ("" if config.folds > 1 else out))
    for train, held in pairs:
        if np.array_equal(train, held):
            continue  # a single patient
        check_disjoint({"train": train, "held out": held}, groups=cases.groups)
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
    cases: Cases, rest: np.ndarray, config: Any, whole: Sequence[Any] | None
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """The parts, and into how many folds all were dealt; 0 of a share that is no whole part."""
    if config.folds < 1:
        raise ValueError(f"--folds is 1 or more, got {config.folds}")
    parts = held_out_parts(config.held_out if config.folds == 1 else 1 / config.folds)
    groups = None if whole is None else [whole[i] for i in rest]
    labels = None if cases.labels is None else cases.labels[rest]
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


def sizes(source: Any, parts: Parts) -> tuple[Split, ...]:
    """Cases, patients and, where there are labels, classes of each part."""

    def size(name: str, which: np.ndarray) -> Split:
        groups = source.groups
        patients = None if groups is None else len({groups[int(i)] for i in which})
        counts = {}
        labels = getattr(source, "labels", None)
        labels = None if labels is None else labels[which]
        if labels is not None and labels.dtype.kind == "i":
            found = labels.sum(0) if labels.ndim == 2 else np.bincount(
                labels, minlength=len(source.classes)
            )  # fmt: skip
            counts = dict(zip(source.classes, map(int, found), strict=True))
        return Split(name, len(which), patients, counts)

    if len(parts.folds) == 1:
        train, held = parts.folds[0]
        found = [size("train", train), *([size("held out", held)] if len(held) else [])]
    else:
        found = [size(f"development, {len(parts.folds)} folds", parts.development)]
    return (*found, *([size("test", parts.test)] if len(parts.test) else []))


def notes(source: Any, parts: Parts, noun: str = "image") -> tuple[str, ...]:
    """What a reader should know of the parts."""
    found = [*parts.notes]
    train, held = parts.folds[0]
    if np.array_equal(train, held):
        found.append("One patient only: the network is measured on what it was trained on.")
    if source.groups is None and len(train) > 1:
        found.append(f"No patients are named: {noun}s of one patient may be on both sides.")
    return tuple(found)


def partition(source: Any, noun: str = "image") -> str:
    """What the parts share none of, for the checklist: `deal` has refused all else."""
    unit = f"{noun}, no patients named" if source.groups is None else "patient"
    return f"by {unit}; no {unit.partition(',')[0]} and no copy of a file in two parts, checked"
