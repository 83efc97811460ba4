"""Reading of a table of scores and labels."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxmed.data import Fault
from jaxmed.data.tables._table import Table, is_missing, number
from jaxmed.report.read._cells import numbers, read_text, refuse, row_fault
from jaxmed.report.read._joined import by_case, repeated, same_cases


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
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None
    columns: Mapping[str, tuple[str, ...]] = {}
    missing: tuple[str, ...] = ()


def read_scores(
    predictions: str | os.PathLike,
    reference: str | os.PathLike | None = None,
    *,
    label: str = "label",
    score: str = "score",
    case: str = "case",
    group: str = "group",
    missing: Literal["error", "leave out"] = "error",
) -> ScoreTable:
    """Read scores and labels from CSV.

    The table has a column `score` (of the positive class, or a number), or one column
    `score_NAME` for each class or task; a column `label` (a class by name or number, True or False,
    or a number), or one 0/1 column `label_NAME` for each task; and optionally `case`
    and `group` (the patient). Cells are separated by commas, by semicolons (with decimal commas) or
    by tabs; the text is UTF-8, or UTF-16 with its mark. Each case has one row. Probabilities of a
    row that miss a sum of 1 by the rounding of their digits are divided by their sum.

    Args:
        predictions: the table.
        reference: another table with the labels, joined by `case`; each case occurs once in both.
        label: the column of the labels, or the prefix of their columns.
        score: the column of the scores, or the prefix of their columns.
        case: the column of the cases.
        group: the column of the patients.
        missing: `error`, or `leave out` cases of the reference without a prediction, which are
            then named in the table.

    Returns:
        The table.

    Raises:
        DataError: names the file, the row and the violated rule.
    """
    names = (label, score, case, group)
    found = read_text(Path(predictions), *names)
    rows, own = found.rows, range(len(found.rows))
    truth, order = found, own  # where the labels stand
    without: tuple[str, ...] = ()
    if reference is None:
        refuse(repeated(found, case))
    else:
        other = read_text(Path(reference), *names)
        wanted, predicted = by_case(other, case), by_case(found, case)
        if missing != "error":
            without = tuple(sorted(set(wanted) - set(predicted)))
            wanted = {name: i for name, i in wanted.items() if name in predicted}
        refuse(same_cases(found.path, predicted, other.path, wanted))
        at = [wanted[name] for name in predicted]
        # What the reference says of a case takes precedence, but for the scores.
        rows = [{**row, **other.rows[i]} for row, i in zip(rows, at, strict=True)]
        if _named(other, label) or not _named(found, label):
            truth, order = other, at
    scores, classes = _columns(found, score, "score")
    tasks, of_tasks = _columns(truth, label, "label")
    table, faults = numbers(found, own, scores)
    if tasks[0] != label:
        if of_tasks != classes:
            detail = f"the tasks of {label}_* are {of_tasks}, those of {score}_* {classes}"
            raise truth.fault(detail)
        labels, odd = _zero_or_one(truth, order, tasks)
    else:
        labels, odd = _classes(truth, order, label, classes)
    refuse([*faults, *odd])
    if tasks[0] == label and classes:
        table = _sum_to_one(found, scores, table)
    cases = tuple(row.get(case) or str(i) for i, row in enumerate(rows))
    groups = tuple(row[group] for row in rows) if group in rows[0] else None
    taken = {*scores, *tasks, case, group}
    others = {c: tuple(row[c] for row in rows) for c in rows[0] if c not in taken}
    columns = table if classes else table[:, 0]
    return ScoreTable(labels, columns, classes, cases, groups, others, without)


def _named(table: Table, name: str) -> list[str]:
    """The column `name`, or else the columns `name_X, name_Y, ...`."""
    row = table.rows[0]
    if name in row:
        return [name]
    return [column for column in row if column.lower().startswith(f"{name.lower()}_")]


def _columns(table: Table, name: str, option: str) -> tuple[list[str], tuple[str, ...]]:
    """The columns `name`, or `name_X, name_Y, ...` with the names X, Y, ..."""
    several = _named(table, name)
    if not several:
        detail = (
            f"no column {name!r}, nor {name}_NAME; there are {sorted(table.rows[0])}: name the one "
            f"that is meant by --{option} ({option}= in Python)"
        )
        raise table.fault(detail)
    if several == [name]:
        return several, ()
    return several, tuple(column[len(name) + 1 :] for column in several)


def _classes(
    table: Table, order: Sequence[int], label: str, classes: Sequence[str]
) -> tuple[np.ndarray, list[Fault]]:
    """Labels by name, where they are names of the classes, or as numbers; and those that cannot be.

    Labels that are all words, of no class, are one fault.
    """
    position = {name: i for i, name in enumerate(classes)}
    cells = {i: table.rows[i][label] for i in order}
    if classes and all(text in position for text in cells.values()):
        return np.array([position[text] for text in cells.values()]), []
    found, faults = numbers(table, order, [label])
    values = found[:, 0]
    if not faults:
        return values.astype(int) if np.array_equal(values, np.round(values)) else values, []
    words = {
        i: text
        for i, text in cells.items()
        if not is_missing(text) and number(text, decimal_comma=table.decimal_comma) is None
    }
    if not words:
        return values, faults
    others = [fault for fault in faults if "not a number" not in fault.detail]
    use = f"the classes of the scores are {', '.join(classes)}: use their names or numbers"
    wrong = {i: text for i, text in words.items() if text not in position}
    if len(wrong) == len(words):  # Words of no class: all of them, or several classes in a cell.
        wrong = {i: text for i, text in words.items() if _is_several(text, position)}
    if wrong:
        each = [
            row_fault(table, i, _wrong(label, text, position, use)) for i, text in wrong.items()
        ]
        return values, [*others, *each]
    do = use if classes else (
        "write 0 and 1 (1 is the class that the score is of), or one column of scores for each "
        "class, called by its name"
    )  # fmt: skip
    shown = ", ".join(sorted(set(words.values()))[:4])
    return values, [*others, *table.fault(f"the labels are names ({shown}): {do}").faults]


def _is_several(text: str, classes: Container[str]) -> bool:
    parts = text.replace(",", "|").replace(";", "|").split("|")
    return len(parts) > 1 and all(part.strip() in classes for part in parts)


def _wrong(label: str, text: str, classes: Container[str], use: str) -> str:
    if _is_several(text, classes):
        return (
            f"{label} is {text!r}, several classes in one cell: write one column {label}_NAME of 0 "
            "and 1 for each class"
        )
    return f"{label} is {text!r}; {use}"


def _zero_or_one(
    table: Table, order: Sequence[int], tasks: Sequence[str]
) -> tuple[np.ndarray, list[Fault]]:
    """Labels of several tasks, (rows, tasks), and the cells that are neither 0 nor 1."""
    labels, faults = numbers(table, order, tasks)
    for at, j in np.argwhere(np.isfinite(labels) & (labels != 0) & (labels != 1)):
        detail = (
            f"{tasks[j]} is {labels[at, j]:g}, neither 0 nor 1; labels that are not known cannot "
            "be measured: leave such rows out"
        )
        faults.append(row_fault(table, order[at], detail))
    return labels, faults


def _sum_to_one(table: Table, columns: Sequence[str], scores: np.ndarray) -> np.ndarray:
    """Normalise probabilities that miss a sum of 1 by the rounding of their digits."""
    total = scores.sum(axis=1)
    if scores.min() < 0 or scores.max() > 1 or np.abs(total - 1).max() <= 1e-9:
        return scores
    digits = max(
        len(row[column].replace(",", ".").partition(".")[2])
        for row in table.rows
        for column in columns
    )
    rounding = 0.5 * 10.0**-digits * len(columns)
    if np.abs(total - 1).max() > rounding * (1 + 1e-6):
        return scores
    return scores / total[:, None]
