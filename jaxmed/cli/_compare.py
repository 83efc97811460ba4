"""`jaxmed compare`: several models on the same cases, every pair tested."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxmed.cli import _given
from jaxmed.cli._evaluate import class_names, holds_masks
from jaxmed.cli.runs._settings import ask

Task = Literal["binary", "multi-class", "ordinal", "multi-label", "regression", "segmentation"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare models on the same cases: estimates, a test of every pair, corrected p-values.

    Each model is a CSV as `jaxmed evaluate` takes it, with a column of cases by which they are
    joined; or a folder of masks, with --reference. Writes metrics.json, comparison.csv and
    report.html.

    Args:
        models: two or more CSV files, or folders of masks.
        reference: a CSV with case and label, or the folder of true masks.
        out: folder of the report.
        names: of the models; by default those of the files.
        task: what is predicted; by default told from the tables.
        classes: names of the classes (of a segmentation: without the background).
        metrics: which to test; by default all. Name beforehand what the study is about.
        adjustment: of the p-values: holm, hochberg, hommel, bonferroni, benjamini-hochberg, none.
        family: what is corrected together: all tests, or those of one metric.
        level: of all intervals.
        threshold: of a positive call.
        resamples: of the bootstrap.
        label: column of the labels, or what their columns begin with.
        score: column of the scores, or what their columns begin with.
        case: column of the cases.
        positive: of two labels the one that the score is of; by default told in a note.
        scale: of the scores: logit is sent through a sigmoid, percent divided by 100.
        unknown: what stands for a label that is not known, besides an empty cell: -1.
        unit: what is independent and resampled: a column, such as `patient`; `case` counts rows.
            By default the column `group` if there is one, else rows, with a warning where a column
            of patients shows repeats.
        cases: a CSV by case with further columns, such as patients, sites, sexes.
        groups: columns by which each model is told too: site, sex, age, ...
        missing: what to do with cases of the reference that a folder of masks lacks: an error, or
            measure them as empty masks.
        images: a folder of the images of the masks, named like them, to show the cases on.
        tolerance: of the normalised surface distance (NSD), in mm (of pictures in pixels).
        study: a TOML file of what only you know of the study, for the checklist in the report.
        ledger: a file in which each look at a test set is recorded; the report says how often.
    """

    models: tyro.conf.Positional[tuple[Path, ...]]
    reference: Path | None = None
    out: Path = Path("comparison")
    names: tuple[str, ...] = ()
    task: Task | None = None
    classes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    adjustment: str = "holm"
    family: Literal["all", "metric"] = "all"
    level: float = 0.95
    threshold: float = 0.5
    resamples: int = 2000
    label: str = "label"
    score: str = "score"
    case: str = "case"
    positive: str = ""
    scale: Literal["probability", "logit", "percent"] = "probability"
    unknown: tuple[str, ...] = ()
    unit: str = ""
    cases: Path | None = None
    groups: tuple[str, ...] = ()
    missing: Literal["error", "fail"] = "error"
    images: Path | None = None
    tolerance: float = 1.0
    study: Path | None = None
    ledger: Path | None = None


def run(arguments: Sequence[str]) -> int:
    """Read, compare, write, print."""
    options = ask(Options, arguments, prog="jaxmed compare")
    study = _given.checked_study(options)
    models = named(options.models, options.names)
    folders = [holds_masks(path) for path in models.values()]
    if any(folders) and not all(folders):
        raise ValueError("models are either all CSV files or all folders of masks")
    results, columns = _masks(options, models) if all(folders) else _scores(options, models)
    return _given.finish(results, columns, options, study, ["jaxmed", "compare", *arguments])


def named(paths: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Model names to their paths: as given, or the fewest parts of the paths that tell them apart.

    Raises:
        ValueError: fewer than two models, names that are not one a model, or the same twice.
    """
    if len(paths) < 2:
        raise ValueError(f"a comparison needs at least 2 models, got {len(paths)}")
    if names and (len(names) != len(paths) or len(set(names)) < len(names)):
        raise ValueError(f"--names: one for each of the {len(paths)} models, all different")
    if not names:
        absolute = [path.resolve() for path in paths]
        if len(set(absolute)) < len(absolute):
            raise ValueError("a model is given twice")
        parts = [(*path.parts[:-1], path.stem) for path in absolute]
        if len(set(parts)) < len(parts):  # told apart by their suffixes alone
            parts = [path.parts for path in absolute]
        while len({p[-1] for p in parts}) == 1:  # runs/a/predictions.csv, runs/b/predictions.csv
            parts = [p[:-1] for p in parts]
        depth = next(d for d in range(1, 99) if len({p[-d:] for p in parts}) == len(parts))
        names = ["/".join(p[-depth:]) for p in parts]
    return dict(zip(names, paths, strict=True))


def _title(models: Mapping[str, Path]) -> str:
    several = len(models) > 3
    return f"Comparison of {f'{len(models)} models' if several else ', '.join(models)}"


def _shared(options: Options) -> dict[str, Any]:
    return {
        "metrics": options.metrics,
        "adjustment": options.adjustment,
        "family": options.family,
        "level": options.level,
        "n_resamples": options.resamples,
    }


def _scores(options: Options, models: dict[str, Path]) -> tuple[Any, dict[str, Any]]:
    from jaxmed import report

    table = report.read_models(
        models, options.reference, group=_given.column_of(options.unit),
        **_given.reading(options, options.task),
    )  # fmt: skip
    columns = dict(table.columns)
    columns |= _given.known_columns(options, table.cases)
    units = _given.units(options.unit, table.groups, columns)
    results = report.compare(
        table.labels, table.scores, task=options.task, classes=options.classes or table.classes,
        cases=table.cases, groups=units.groups, threshold=options.threshold,
        title=_title(models), notes=(*units.notes, *table.notes), hard=table.hard,
        **_shared(options),
    )  # fmt: skip
    return units.warn(results), columns


def _masks(options: Options, models: dict[str, Path]) -> tuple[Any, dict[str, Any]]:
    from jaxmed import report

    if options.reference is None:
        raise ValueError("folders of masks need --reference, the folder of true masks")
    classes, notes = options.classes, []
    missing = "error" if options.missing == "error" else "empty"
    for model, path in models.items():
        without = report.cases_without_mask(path, options.reference)
        if without and missing == "empty":
            notes.append(f"{model}: {len(without)} cases have no mask and are measured as empty.")
    if not classes:
        seen = [class_names(report.read_mask_pairs(p, options.reference, missing=missing)[1])
                for p in models.values()]  # fmt: skip
        classes = max(seen, key=len)
    first = next(iter(models.values()))
    names, _ = report.read_mask_pairs(first, options.reference, missing=missing)
    columns = _given.known_columns(options, names)
    units = _given.units(options.unit, None, columns)
    image = _given.images(options)
    overlaps, reads = {}, {}
    for model, path in models.items():
        _, pairs = report.read_mask_pairs(
            path, options.reference, missing=missing, classes=len(options.classes)
        )
        overlaps[model] = report.overlap(
            pairs, classes=classes, groups=units.groups, tolerance=options.tolerance
        )
        reads[model] = _given.reader(path, options.reference, missing, classes)
    results = report.compare_segmentations(
        overlaps,
        classes=classes,
        title=_title(models),
        notes=(*units.notes, *notes),
        pictures=report.contrast_pictures(overlaps, reads, image),
        **_shared(options),
    )
    return units.warn(results), columns
