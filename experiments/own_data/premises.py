"""What premises change in the masks of a finished segmentation.

    jaxmed train premises --run RUN --one-piece LV RV --encloses myocardium=LV --in-plane

RUN is the folder of a finished `jaxmed train segmentation`, of one network with a held-out part or
a split `test`. The scans on which it was measured are segmented again; the most probable masks are
compared with those that were mended until they satisfy the premises (`jaxmed.rules.deduce_mask`),
case by case. How often the true masks break each premise is told first: one that annotators break
is none. Premises are given, not chosen here: choose them before the numbers are seen.

No training; a scan takes as long as `jaxmed predict`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import jaxmed as jm
from jaxmed import rules, stats
from jaxmed.data import to_space
from jaxmed.inference import Segmenter
from jaxmed.report import Results, compare_segmentations, overlap, stage

from .._common.compared import named
from . import segmentation
from ._parts import dealt
from ._segmentation import Case, cases, measured

MODELS = ("network", "deduced")


@dataclasses.dataclass(frozen=True)
class Config:
    """The premises, about the classes of a finished run.

    Args:
        run: folder of the run.
        one_piece: structures in one piece each.
        encloses: OUTER=INNER, where the inner one touches nothing but the outer one.
        apart: FIRST=SECOND, which do not touch.
        left_of: FIRST=SECOND, the centre of the first further to the patient's left.
        behind: FIRST=SECOND, likewise to the back.
        below: FIRST=SECOND, likewise to the feet.
        in_plane: look at neighbours within slices alone, across which voxels are longest.
    """

    run: Path | None = None
    one_piece: tuple[str, ...] = ()
    encloses: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    left_of: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    in_plane: bool = False


def run(config: Config, out: Path) -> Results:
    """Segment the run's measured scans with and without the premises, and compare."""
    seconds: dict[str, float] = {}
    with stage(seconds, "data"):
        folder = config.run
        if folder is None:
            raise ValueError("--run: the folder of a finished `jaxmed train segmentation`")
        training = settings_of(folder)
        source = segmentation.source_of(training)
        parts = dealt(source, training)
        model = jm.inference.load_segmenter(folder)
        if model.recipe.regions:
            raise ValueError(f"--run {folder}: its regions overlap, and premises are about classes")
        if len(parts.folds) > 1 and not len(parts.test):
            raise ValueError(
                f"--run {folder}: its network is the average of {len(parts.folds)}, of which each "
                "has seen scans that others had not; take a run of one fold"
            )
        which = parts.test if len(parts.test) else parts.folds[0][1]
        if len(which) < 2:
            raise ValueError(
                f"--run {folder}: it was measured on one scan, which tells no interval"
            )
        premises(config, model.recipe.classes, (0, 1))  # mistakes are told before the work
    pairs: dict[str, list[Any]] = {name: [] for name in MODELS}
    truths, found, known = [], [], None
    with stage(seconds, "prediction"):
        for case, known, truth, deduced in _deduced(config, model, cases(source, which)):
            truths.append(known.broken(truth))
            found.append(deduced)
            for name, mask in zip(MODELS, (deduced.first, deduced.mask), strict=True):
                on_file = to_space(mask.astype(np.int32), case.scan.affine, case.scan.file)
                pairs[name].append(measured(case, on_file))
    assert known is not None
    groups = None if source.groups is None else [source.groups[int(i)] for i in which]
    structures = model.recipe.classes[1:]
    overlaps = {
        name: overlap(made, classes=structures, groups=groups) for name, made in pairs.items()
    }
    return compare_segmentations(
        overlaps,
        classes=structures,
        title=f"Premises in {Path(source.name).stem}",
        description=(
            f"{len(which)} scans, segmented by one network; `deduced` are its masks mended until "
            f"they satisfy: {'; '.join(map(str, known.premises))}."
        ),
        seconds=seconds,
        notes=(*source.notes, *_told(known, truths, found, groups)),
    ).replace(metrics=_metrics(truths, found, overlaps, groups))


def settings_of(folder: Path) -> segmentation.Config:
    """The settings of a finished run.

    Raises:
        ValueError: the folder holds none of `jaxmed train segmentation`.
    """
    path = folder / "config.json"
    if not path.is_file() or not (folder / "metrics.json").is_file():
        raise ValueError(f"--run {folder}: not the folder of a finished run")
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept.pop("experiment") != "segmentation":
        raise ValueError(f"--run {folder}: not a run of `jaxmed train segmentation`")
    places = kept.pop("places", {})
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()
    }
    data = places.get("data", fields["data"])
    return segmentation.Config(**{**fields, "data": Path(data), "plan": None, "start": None})


def premises(config: Config, classes: tuple[str, ...], plane: tuple[int, ...]) -> rules.Anatomy:
    """The premises of the command line, about a scan whose slices have these axes.

    Raises:
        ValueError: none is given, a pair without `=`, or one about another structure.
    """
    axes = plane if config.in_plane else None
    given = [rules.one_component(name) for name in config.one_piece]
    for field, make in (("encloses", rules.encloses), ("apart", rules.not_touching)):
        given += [make(*_pair(field, text), axes=axes) for text in getattr(config, field)]
    for axis, field in enumerate(("left_of", "behind", "below")):
        pairs = [_pair(field, text) for text in getattr(config, field)]
        given += [rules.left_of(first, second, axis=axis) for first, second in pairs]
    return rules.anatomy(classes, *given)


def _pair(field: str, text: str) -> tuple[str, str]:
    first, sign, second = text.partition("=")
    if not (sign and first and second):
        option = field.replace("_", "-")
        raise ValueError(f"--{option} {text}: two structures with = between them")
    return first, second


@dataclasses.dataclass(frozen=True)
class _Masks:
    """A case's most probable mask, the mended one, and what the first one breaks."""

    first: np.ndarray
    mask: np.ndarray
    before: dict[str, int]
    left: dict[str, int]


def _deduced(
    config: Config, model: Segmenter, scans: Iterator[Case]
) -> Iterator[tuple[Case, rules.Anatomy, np.ndarray, _Masks]]:
    """Each case with its premises, its true mask and its masks, in the patient's axes."""
    for case in scans:
        scan = case.scan
        axes = range(len(scan.space.shape))
        slices = int(np.argmax(scan.spacing)) if len(axes) == 3 else None
        plane = tuple(axis for axis in axes if axis != slices)
        known = premises(config, model.recipe.classes, plane)
        p = jm.inference.probabilities(model, scan._replace(file=scan.space)).array
        made = rules.deduce_mask(known, p)
        truth = to_space(case.truth.astype(np.int32), case.on_file.affine, scan.space)
        yield case, known, truth, _Masks(p.argmax(-1), made.mask, made.before, made.left)


def _share(broken: list[dict[str, int]], text: str, groups: Any) -> stats.Estimate:
    """The share of cases that break a premise; any, by the name `any`."""
    wrong = np.array([any(one.values()) if text == "any" else one[text] > 0 for one in broken])
    if groups is None:
        return stats.proportion(int(wrong.sum()), len(wrong))
    return stats.clustered_proportion(wrong, groups)


def _metrics(
    truths: list[dict[str, int]], found: list[_Masks], overlaps: Any, groups: Any
) -> dict[str, stats.Estimate]:
    """Dice of both, its paired difference, and how many cases break a premise."""
    dice = {}
    for name in MODELS:
        rows = np.asarray(overlaps[name].values["dice"], float)
        # Without any structure in truth or prediction nothing is missed.
        dice[name] = np.array([np.nanmean(row) if np.isfinite(row).any() else 1.0 for row in rows])
    made = {f"dice/{name}": stats.mean(v, groups=groups, bounds=(0, 1)) for name, v in dice.items()}
    made["dice/difference"] = stats.mean(dice["deduced"] - dice["network"], groups=groups)
    for name, broken in (
        ("truth", truths),
        ("network", [one.before for one in found]),
        ("deduced", [one.left for one in found]),
    ):
        made[f"broken/{name}"] = _share(broken, "any", groups)
    return named(made)


def _told(
    known: rules.Anatomy, truths: list[dict[str, int]], found: list[_Masks], groups: Any
) -> list[str]:
    """Each premise, and in how many cases it is broken, by whom."""
    told = []
    for text in map(str, known.premises):
        counts = [
            sum(one[text] > 0 for one in broken)
            for broken in (truths, [m.before for m in found], [m.left for m in found])
        ]
        told.append(
            f"{text}: broken in {counts[0]} of {len(truths)} true masks, {counts[1]} of the "
            f"network's, {counts[2]} of the deduced."
        )
    return told


if __name__ == "__main__":
    from jaxmed.cli import train_file

    train_file(__file__)
