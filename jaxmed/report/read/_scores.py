"""Reading of a table of scores and labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from jaxmed.data import Fault
from jaxmed.data.tables._table import Table, is_missing, number
from jaxmed.report.read._cells import numbers, read_text, refuse
from jaxmed.report.read._joined import by_case, repeated, same_cases
from jaxmed.report.read._labels import Labels, of_calls, of_classes, of_one_score, of_tasks
from jaxmed.report.read._roles import named, roles


class ScoreTable(NamedTuple):
    """Contents of a table of predictions, as accepted by `classification`.

    Attributes:
        labels: (cases,) classes or numbers, or (cases, tasks) 0/1.
        scores: (cases,), or (cases, classes).
        classes: names of the classes, as far as the table gives them.
        cases: names of the cases; row numbers if there is no such column.
        groups: patient of each case, or None.
        columns: all other columns of the tables, as text: sites, sexes, ages, ...
        missing: cases of the reference that have no prediction.
        notes: what was assumed in reading.
        hard: whether the scores are 0 and 1 alone, predicted classes without a probability.
        has_cases: whether a column names the cases.
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None
    columns: Mapping[str, tuple[str, ...]] = {}
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hard: bool = False
    has_cases: bool = False


Scale = Literal["probability", "logit", "percent"]
_MOST_CLASSES = 50  # of whole numbers that are predicted classes


def read_scores(
    predictions: str | os.PathLike,
    reference: str | os.PathLike | None = None,
    *,
    label: str = "label",
    score: str = "score",
    case: str = "case",
    group: str = "group",
    missing: Literal["error", "leave out"] = "error",
    task: str | None = None,
    positive: str = "",
    scale: Scale = "probability",
    unknown: Sequence[str] = (),
) -> ScoreTable:
    """Read scores and labels from CSV.

    The table has a column `score` (of the positive class, or a number), or one column
    `score_NAME` for each class or task; a column `label` (a class by name or number, True or False,
    or a number), or one 0/1 column `label_NAME` for each task; and optionally `case`
    and `group` (the patient). Columns with other usual names (`y_true`, `y_pred`, `prob_1`,
    `image_id`, ...) are found if nothing has the name asked for. Cells are separated by commas, by
    semicolons (with decimal commas) or by tabs; the text is UTF-8, or UTF-16 with its mark. Each
    case has one row. Probabilities of a row that miss a sum of 1 by the rounding of their digits
    are divided by their sum.

    Predicted classes in place of scores, by name or as 0 and 1, are `hard`. Of several
    classes in a cell (`A|B`) each is one task's label. A task's empty label is not known: NaN.

    Args:
        predictions: the table.
        reference: another table with the labels, joined by `case`; each case occurs once in both.
        label: the column of the labels, or the prefix of their columns.
        score: the column of the scores, or the prefix of their columns.
        case: the column of the cases.
        group: the column of the patients.
        missing: `error`, or `leave out` cases of the reference without a prediction and rows
            without a score, which are then named in the table.
        task: as in `classification`, if it is known: whole numbers may be measurements.
        positive: of two labels the one that the score is of. By default the larger of two numbers;
            of two names the one that is no usual word for the negative (`benign`, `no`, ...), else
            the last in the order of the alphabet. A note of the table says so.
        scale: of the scores. Those in `logit` are sent through a sigmoid, of several classes a
            softmax; those in `percent` divided by 100.
        unknown: what stands for a task's label that is not known, besides an empty cell.

    Returns:
        The table.

    Raises:
        DataError: names the file, the row and the violated rule.
    """
    names = (label, score, case, group)
    found = read_text(Path(predictions), *names)
    asked = {"label": label, "score": score, "case": case}
    of = roles(found, **asked)
    score, ours = of.score, of.case
    scores, classes = _columns(found, score, "score")
    own, unscored = _without_missing(found, scores, ours, missing)
    rows = [found.rows[i] for i in own]
    truth, order, label = found, own, of.label  # where the labels stand
    notes = list(of.notes)
    without = unscored
    if reference is None:
        refuse(repeated(found, ours))
    else:
        other = read_text(Path(reference), *names)
        theirs = roles(other, **asked)
        wanted = by_case(other, theirs.case)
        predicted = {name: i for name, i in by_case(found, ours).items() if i in set(own)}
        if missing != "error":
            without = tuple(sorted(set(wanted) - set(predicted)))
            wanted = {name: i for name, i in wanted.items() if name in predicted}
        refuse(same_cases(found.path, predicted, other.path, wanted))
        at = [wanted[name] for name in predicted]
        # What the reference says of a case takes precedence, but for the scores.
        rows = [{**row, **other.rows[i]} for row, i in zip(rows, at, strict=True)]
        if named(other, theirs.label) or not named(found, label):
            truth, order, label = other, at, theirs.label
            notes += [note for note in theirs.notes if note.endswith("as the label")]
    tasks, of_task = _columns(truth, label, "label")
    one = len(scores) == 1 and tasks[0] == label and task != "regression"
    calls = [found.rows[i][scores[0]] for i in own] if one else []
    faults: list[Fault] = []
    if one and _are_classes(calls, [truth.rows[i][label] for i in order], named_so=of.calls):
        labels, read = of_calls(truth, order, label, calls, positive=positive)
        hard = True
    else:
        read, faults = numbers(found, own, scores)
        if tasks[0] != label and of_task != classes:
            detail = f"the tasks of {label}_* are {of_task}, those of {score}_* {classes}"
            raise truth.fault(detail)
        labels = _labels(truth, order, label, tasks, classes, task, positive, unknown)
        hard = task != "regression" and len(read) > 1 and bool(np.isin(read, (0, 1)).all())
        classes = classes if len(classes) > 1 else ()
    refuse([*map(_with_remedy, faults), *labels.faults])
    several = labels.values.ndim == 2
    if task != "regression":
        read = _on_scale(read, scale, softmax=len(classes) > 1 and not several)
    if len(classes) > 1 and not several:
        read, said = _sum_to_one(found, scores, read)
        notes += said
    if hard:
        notes.append(_HARD)
    cases = tuple(row.get(ours) or str(i) for i, row in enumerate(rows))
    groups = tuple(row[group] for row in rows) if group in rows[0] else None
    taken = {*scores, *tasks, ours, case, group}
    others = {c: tuple(row[c] for row in rows) for c in rows[0] if c not in taken}
    columns = read if read.shape[1] > 1 else read[:, 0]
    return ScoreTable(
        labels.values, columns, labels.classes or classes, cases, groups, others, without,
        (*notes, *labels.notes), hard, ours in found.columns,
    )  # fmt: skip


def _labels(
    table: Table,
    order: Sequence[int],
    label: str,
    tasks: Sequence[str],
    classes: Sequence[str],
    task: str | None,
    positive: str,
    unknown: Sequence[str],
) -> Labels:
    """The labels, as the scores and the task have them."""
    if len(tasks) > 1:
        return of_tasks(table, order, tasks, unknown)
    label = tasks[0]  # `label_NAME` alone is one label
    if len(classes) > 1:
        return of_classes(table, order, label, classes)
    if task == "regression":
        values, faults = numbers(table, order, [label])
        return Labels(values[:, 0], faults)
    of = classes[0] if classes else ""
    return of_one_score(table, order, label, positive=positive, of=of)


def _with_remedy(fault: Fault) -> Fault:
    """A score that is missing may be counted as a failure."""
    if " is missing (" not in fault.detail:
        return fault
    told = f"{fault.detail}; evaluate --missing fail leaves such rows out and names them"
    return fault._replace(detail=told)


_HARD = (
    "the predictions are classes without a probability: what needs scores (AUC, average precision, "
    "calibration, curves) is not given"
)


def _are_classes(calls: Sequence[str], truth: Sequence[str], *, named_so: bool) -> bool:
    """Whether predictions are classes: words, or whole numbers in a column that says so."""
    values = [number(text) for text in calls]
    if any(is_missing(text) for text in calls):
        return False
    known = {text for text in truth if number(text) is None and not is_missing(text)}
    if all(value is None for value in values):
        return bool(known) and bool(known & set(calls))
    both = [*values, *(number(text) for text in truth if not is_missing(text))]
    whole = all(value is not None and value == round(value) for value in both)
    return named_so and whole and 1 < len(set(both)) <= _MOST_CLASSES


def _without_missing(
    table: Table, scores: Sequence[str], case: str, missing: str
) -> tuple[Sequence[int], tuple[str, ...]]:
    """The rows with a score, or all where none may be left out; and the other rows' cases."""
    every = range(len(table.rows))
    if missing == "error":
        return every, ()
    keep = [i for i, row in enumerate(table.rows) if not any(is_missing(row[c]) for c in scores)]
    left = sorted(set(range(len(table.rows))) - set(keep))
    if not left or not keep:
        return every, ()
    return keep, tuple(table.rows[i].get(case) or table.where(i) for i in left)


def _on_scale(scores: np.ndarray, scale: Scale, *, softmax: bool) -> np.ndarray:
    """Turn scores into probabilities."""
    if scale == "percent":
        return scores / 100
    if scale == "logit":
        return special.softmax(scores, axis=1) if softmax else special.expit(scores)
    return scores


def _columns(table: Table, name: str, option: str) -> tuple[list[str], tuple[str, ...]]:
    """The columns `name`, or `name_X, name_Y, ...` with the names X, Y, ..."""
    several = named(table, name)
    if not several:
        detail = (
            f"no column {name!r}, nor {name}_NAME; there are {sorted(table.rows[0])}: name the one "
            f"that is meant by --{option}, in Python by {option}"
        )
        raise table.fault(detail)
    if several == [name]:
        return several, ()
    return several, tuple(column[len(name) + 1 :] for column in several)


def _sum_to_one(
    table: Table, columns: Sequence[str], scores: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Normalise probabilities that miss a sum of 1 by the rounding of their digits."""
    total = scores.sum(axis=1)
    if scores.min() < 0 or scores.max() > 1 or np.abs(total - 1).max() <= 1e-9:
        return scores, []
    digits = max(
        len(row[column].replace(",", ".").partition(".")[2])
        for row in table.rows
        for column in columns
    )
    rounding = 0.5 * 10.0**-digits * len(columns)
    if np.abs(total - 1).max() > rounding * (1 + 1e-6):
        return scores, []
    note = (
        f"probabilities of a row miss a sum of 1 by up to {np.abs(total - 1).max():.2g}, the "
        f"rounding to {digits} digits: each row is divided by its sum"
    )
    return scores / total[:, None], [note]
