"""`jaxmed evaluate`: measure anyone's predictions against a reference."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Task = Literal["binary", "multi-class", "ordinal", "multi-label", "regression", "segmentation"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure predictions, whatever made them, and write metrics.json, a table and report.html.

    Predictions are a CSV with the columns case, group (the patient), label, and score or
    score_NAME for each class; or a folder of masks. The reference is a CSV with case and label,
    if the labels are not in the first; or a folder of masks with the same file names.

    Args:
        predictions: a CSV file, or a folder of masks.
        reference: a CSV file, or a folder of masks.
        out: folder of the report.
        task: what is predicted; by default told from the table.
        classes: names of the classes (of a segmentation: without the background).
        level: of all intervals.
        threshold: of a positive call.
        label: column of the labels, or what their columns begin with.
        score: column of the scores, or what their columns begin with.
        case: column of the cases.
        group: column of the patients.
    """

    predictions: Path
    reference: Path | None = None
    out: Path = Path("evaluation")
    task: Task | None = None
    classes: tuple[str, ...] = ()
    level: float = 0.95
    threshold: float = 0.5
    label: str = "label"
    score: str = "score"
    case: str = "case"
    group: str = "group"


def run(arguments: Sequence[str]) -> int:
    """Read, measure, write, print."""
    import tyro

    options = tyro.cli(Options, prog="jaxmed evaluate", args=[*arguments])
    from jaxmed import report

    if not 0 < options.level < 1:
        raise ValueError(f"--level must be between 0 and 1, got {options.level}")
    measure = _masks if options.predictions.is_dir() else _scores
    results = measure(options).replace(
        command=shlex.join(["jaxmed", "evaluate", *arguments]),
        environment=report.environment(),
    )
    written = report.write(results, options.out)
    print(report.summary(results))
    for note in results.notes:
        print(f"note: {note}")
    print(f"report: {written.report}")
    return 0


def _scores(options: Options) -> Any:
    from jaxmed import report

    table = report.read_scores(
        options.predictions,
        options.reference,
        label=options.label,
        score=options.score,
        case=options.case,
        group=options.group,
    )
    return report.classification(
        table.labels,
        table.scores,
        task=options.task,
        classes=options.classes or table.classes,
        cases=table.cases,
        groups=table.groups,
        level=options.level,
        threshold=options.threshold,
        title=f"Evaluation of {options.predictions.name}",
    )


def _masks(options: Options) -> Any:
    from jaxmed import report

    if options.reference is None:
        raise ValueError("--predictions is a folder of masks: --reference must name that of truth")
    classes = options.classes
    if not classes:
        _, pairs = report.read_mask_pairs(options.predictions, options.reference)
        most = max(int(max(pair.truth.max(), pair.prediction.max())) for pair in pairs)
        classes = tuple(f"class {i}" for i in range(1, max(most, 1) + 1))
    _, pairs = report.read_mask_pairs(options.predictions, options.reference)
    return report.segmentation(
        pairs,
        classes=classes,
        level=options.level,
        title=f"Evaluation of {options.predictions.name}",
    )
