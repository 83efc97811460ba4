"""`jaxmed evaluate`: measure anyone's predictions against a reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxmed.cli import _given
from jaxmed.cli.runs._settings import ask

Task = Literal[
    "binary", "multi-class", "ordinal", "multi-label", "regression", "segmentation", "detection",
    "instances",
]  # fmt: skip


_MANY = 24  # Numbers in masks without names above which they look like those of objects.


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure predictions, whatever made them, and write metrics.json, a table and report.html.

    Predictions are a CSV with the columns case, group (the patient), label, and score or
    score_NAME for each class; or a folder of masks; or boxes, a CSV with image, label, score and
    corners, or COCO's JSON. The reference is a CSV with case and label, if the labels are not in
    the first; or a folder of masks with the same file names; or true boxes, COCO's JSON, a folder
    of VOC or a CSV. With --task instances masks are label maps: every object has a number of its
    own.

    Args:
        predictions: a CSV file, a folder of masks or label maps, or a file of boxes.
        reference: a CSV file, a folder of masks or label maps, or boxes.
        out: folder of the report.
        task: what is predicted; by default told from the table.
        classes: names of the classes (of a segmentation: without the background).
        level: of all intervals.
        threshold: of a positive call.
        validation: a CSV of other cases, with labels and scores: the threshold is fixed on it by
            --rule instead.
        rule: youden, closest-topleft, sensitivity or specificity (which is at least --at there).
        at: the rate of the last two rules.
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
        groups: columns by which the metrics are told too: site, sex, age, ...
        missing: what to do with cases of the reference that have no prediction: an error, or
            count them as failures (empty masks; scores are left out).
        images: a folder of the images of the masks, named like them, to show the cases on.
        tolerance: of the normalised surface distance (NSD), in mm (of pictures in pixels).
        study: a TOML file of what only you know of the study, for the checklist in the report.
        ledger: a file in which each look at a test set is recorded; the report says how often.
        corners: of a reference in VOC's form: inclusive, numbers of pixels from 1, or edges.
        split: of a reference of boxes: the images of this split alone, such as test.
    """

    predictions: Path
    reference: Path | None = None
    out: Path = Path("evaluation")
    task: Task | None = None
    classes: tuple[str, ...] = ()
    level: float = 0.95
    threshold: float = 0.5
    validation: Path | None = None
    rule: Literal["youden", "closest-topleft", "sensitivity", "specificity"] = "youden"
    at: float | None = None
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
    corners: Literal["inclusive", "edges"] = "inclusive"
    split: str = ""


def run(arguments: Sequence[str]) -> int:
    """Read, measure, write, print."""
    options = ask(Options, arguments, prog="jaxmed evaluate")
    study = _given.checked_study(options)
    if options.task == "instances":
        measure = _instances
    elif options.task == "detection" or holds_boxes(options.predictions):
        measure = _boxes
    else:
        measure = _masks if holds_masks(options.predictions) else _scores
    results, columns = measure(options)
    return _given.finish(results, columns, options, study, ["jaxmed", "evaluate", *arguments])


def _scores(options: Options) -> tuple[Any, dict[str, Any]]:
    from jaxmed import report

    table = report.read_scores(
        options.predictions,
        options.reference,
        group=_given.column_of(options.unit),
        missing="error" if options.missing == "error" else "leave out",
        **_given.reading(options, options.task),
    )
    columns = {**table.columns, **_given.known_columns(options, table.cases)}
    units = _given.units(options.unit, table.groups, columns)
    threshold, rule = options.threshold, ""
    if options.validation is not None:
        threshold, rule = _chosen(options, table)
    results = _given.measured(
        options.predictions,
        report.classification,
        table.labels,
        table.scores,
        task=options.task,
        classes=options.classes or table.classes,
        cases=table.cases,
        groups=units.groups,
        level=options.level,
        threshold=threshold,
        hard=table.hard,
        title=f"Evaluation of {options.predictions.name}",
        failures=tuple(f"{name}: no prediction, left out" for name in table.missing),
        notes=(*units.notes, *table.notes, *_failed(table.missing, "left out of every metric")),
        study={"threshold_rule": rule} if rule else {},
    )
    return units.warn(results), columns


def _chosen(options: Options, tested: Any) -> tuple[float, str]:
    """The threshold that the rule fixes on validation data, and a sentence on it."""
    import numpy as np

    from jaxmed import report, stats

    assert options.validation is not None  # the caller has looked
    table = report.read_scores(options.validation, **_given.reading(options, options.task))
    scores = table.scores if table.scores.ndim == 1 else table.scores[:, -1]
    if table.scores.ndim > 1 and table.scores.shape[1] != 2:
        raise ValueError(f"--validation: {options.validation} is not of two classes")
    named = table.has_cases and tested.has_cases
    shared = sorted(set(table.cases) & set(tested.cases)) if named else []
    if shared:
        raise ValueError(
            f"--validation: {len(shared)} of its cases are tested too ({', '.join(shared[:3])}): "
            "a threshold is fixed on other cases"
        )
    point = stats.operating_points(
        table.labels, np.asarray(scores), rule=options.rule, at=options.at
    )[0]
    held = f" at {options.at:g}" if options.rule in ("sensitivity", "specificity") else ""
    return float(point.threshold), (
        f"{point.threshold:.4g}, by the rule {options.rule}{held} on {len(scores)} cases of "
        f"{options.validation.name}"  # pyright: ignore[reportOptionalMemberAccess]
    )


def _masks(options: Options) -> tuple[Any, dict[str, Any]]:
    from jaxmed import report

    if options.reference is None:
        raise ValueError("--predictions is of masks: --reference must name the true ones")
    missing = "error" if options.missing == "error" else "empty"
    read = (options.predictions, options.reference)
    count = len(options.classes)
    names, pairs = report.read_mask_pairs(*read, missing=missing, classes=count)
    columns = _given.known_columns(options, names)
    classes = options.classes or class_names(pairs)
    image = _given.images(options)
    _, pairs = report.read_mask_pairs(*read, missing=missing, classes=count)
    without = report.cases_without_mask(*read)
    units = _given.units(options.unit, None, columns)
    results = report.segmentation(
        pairs,
        classes=classes,
        groups=units.groups,
        tolerance=options.tolerance,
        level=options.level,
        title=f"Evaluation of {options.predictions.name}",
        failures=tuple(f"{name}: no mask, measured as an empty one" for name in without),
        notes=(*units.notes, *_failed(without, "measured as empty masks")),
    )
    if not options.classes and len(classes) > _MANY:
        note = (
            f"{len(classes)} numbers in masks were taken for classes: if each is an object of its "
            "own, give --task instances"
        )
        results = results.replace(notes=(*results.notes, note))
    assert results.overlap is not None  # `segmentation` measures it
    shown = report.mask_pictures(results.overlap, _given.reader(*read, missing, classes), image)
    results = results.replace(pictures=shown)
    return units.warn(results), columns


def _boxes(options: Options) -> tuple[Any, dict[str, Any]]:
    from jaxmed import report
    from jaxmed.data import box_dataset, read_image

    if options.reference is None:
        raise ValueError("--predictions is of boxes: --reference must name the true ones")
    truth = box_dataset(options.reference, classes=options.classes or None, corners=options.corners)
    found = report.read_found_boxes(options.predictions, truth)
    rows = range(len(truth))
    if options.split:
        rows = [i for i, name in enumerate(truth.splits) if name == options.split]
        truth = truth.of_split(options.split)
    boxes, scores, labels = ([part[i] for i in rows] for part in found[:3])
    missing = [name for name in found.missing if name in truth.case_ids]
    if missing and options.missing == "error":
        raise ValueError(
            f"{options.predictions} says nothing of {len(missing)} of {len(truth)} images "
            f"({', '.join(missing[:3])}): an image without a box has a row whose corners are "
            "empty. Choose a --split, or count them as failures (--missing fail)"
        )
    columns = _given.known_columns(options, truth.case_ids)
    units = _given.units(options.unit, truth.groups, columns)
    results = _given.measured(
        options.predictions,
        report.detection,
        truth.boxes,
        truth.box_labels,
        boxes,
        scores,
        labels,
        classes=truth.classes,
        cases=truth.case_ids,
        groups=units.groups,
        crowd=truth.crowd,
        images=lambda i: read_image(truth.images[i]).array,
        level=options.level,
        title=f"Evaluation of {options.predictions.name}",
        notes=(*units.notes, *truth.notes, *_unfound(missing)),
    )
    return units.warn(results), columns


def _instances(options: Options) -> tuple[Any, dict[str, Any]]:
    import numpy as np

    from jaxmed import report

    if options.reference is None:
        raise ValueError("--predictions is of label maps: --reference must name the true ones")
    missing = "error" if options.missing == "error" else "empty"
    read = (options.predictions, options.reference)
    names, pairs = report.read_mask_pairs(*read, missing=missing, objects=True)
    columns = _given.known_columns(options, names)
    image = _given.images(options)
    without = report.cases_without_mask(*read)
    units = _given.units(options.unit, None, columns)
    true: list[Any] = []
    found: list[Any] = []
    for pair in pairs:
        true.append(_small(pair.truth))
        found.append(_small(pair.prediction))

    def shown(i: int) -> Any:
        # Without an image, where the true objects are.
        return (true[i] > 0).astype(np.float32)[..., None] if image is None else image(names[i])

    results = _given.measured(
        options.predictions,
        report.instances,
        true,
        found,
        cases=names,
        groups=units.groups,
        images=shown,
        level=options.level,
        title=f"Evaluation of {options.predictions.name}",
        failures=tuple(f"{name}: no label map, measured as an empty one" for name in without),
        notes=(*units.notes, *_failed(without, "measured as images without an object")),
    )
    return units.warn(results), columns


def _small(labels: Any) -> Any:
    """A label map in as few bytes as hold its numbers: all maps are in memory at once."""
    import numpy as np

    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))))


def _unfound(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"{len(names)} images are not in the predictions: nothing was found there",)


def holds_boxes(path: Path) -> bool:
    """Whether a file is of boxes with scores."""
    from jaxmed.report import holds_found_boxes

    return path.is_file() and holds_found_boxes(path)


def holds_masks(path: Path) -> bool:
    """Whether a path is of masks, a folder of them or one, and not a table."""
    from jaxmed.data.formats import MASKS, suffix

    return path.is_dir() or suffix(path) in (*MASKS, ".npz")


def class_names(pairs: Any) -> tuple[str, ...]:
    """Names by number of all classes in some pairs of masks."""
    most = max(int(max(pair.truth.max(), pair.prediction.max())) for pair in pairs)
    return tuple(f"class {i}" for i in range(1, max(most, 1) + 1))


def _failed(names: Any, how: str) -> tuple[str, ...]:
    return (f"{len(names)} cases have no prediction and are {how}",) if names else ()
