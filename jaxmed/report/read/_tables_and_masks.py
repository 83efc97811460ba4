"""Reading of predictions: a table of scores and labels, or two folders of masks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data import DataError, Fault, read_mask
from jaxmed.data.formats import MASKS, stem, suffix
from jaxmed.data.tables._table import Table, read_table, table_fault
from jaxmed.report.results._segmentation import MaskPair


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
    missing: str = "error",
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
    path = Path(predictions)
    names = (label, score, case, group)
    found = read_table(path, *names)
    rows = found.rows
    without: tuple[str, ...] = ()
    if reference is None:
        _unique_cases(found, case)
    else:
        truth = _by_case(read_table(Path(reference), *names), case)
        predicted = _by_case(found, case)
        if missing != "error":
            without = tuple(sorted(set(truth) - set(predicted)))
            truth = {name: row for name, row in truth.items() if name in predicted}
        _same_cases(path, predicted, Path(reference), truth)
        # The reference's labels and patients take precedence if both tables have such columns.
        rows = [{**row, **truth[name]} for name, row in predicted.items()]
        found = found._replace(rows=rows)
    scores, classes = _columns(found, score, "score")
    tasks, of_tasks = _columns(found, label, "label")
    many = tasks[0] != label
    table = np.array([[found.number(i, c) for c in scores] for i in range(len(rows))])
    if many:
        if of_tasks != classes:
            raise table_fault(
                path, f"the tasks of {label}_* are {of_tasks}, those of {score}_* {classes}"
            )
        labels = np.array([[found.number(i, c) for c in tasks] for i in range(len(rows))])
        _zero_or_one(found, tasks, labels)
    else:
        labels = _classes(found, label, classes)
        if classes:
            table = _sum_to_one(found, scores, table)
    cases = tuple(row.get(case) or str(i) for i, row in enumerate(rows))
    groups = tuple(row[group] for row in rows) if group in rows[0] else None
    taken = {*scores, *tasks, case, group}
    others = {c: tuple(row[c] for row in rows) for c in rows[0] if c not in taken}
    columns = table if classes else table[:, 0]
    return ScoreTable(labels, columns, classes, cases, groups, others, without)


class ModelTables(NamedTuple):
    """The predictions of several models, joined by case in the order of the first.

    Attributes:
        labels: as in `ScoreTable`.
        scores: model to its scores.
        classes: as in `ScoreTable`.
        cases: as in `ScoreTable`.
        groups: as in `ScoreTable`.
        columns: as in `ScoreTable`.
    """

    labels: np.ndarray
    scores: dict[str, np.ndarray]
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None
    columns: Mapping[str, tuple[str, ...]]


def read_models(
    predictions: Mapping[str, str | os.PathLike],
    reference: str | os.PathLike | None = None,
    *,
    case: str = "case",
    **names: str,
) -> ModelTables:
    """Read the predictions of several models of the same cases.

    Args:
        predictions: model to its table, as in `read_scores`, with a column of cases.
        reference: a table of the labels; without it each table must have them, and they must agree.
        case: the column of the cases.
        **names: further columns, as in `read_scores`.

    Returns:
        The predictions, joined by case.

    Raises:
        DataError: if a case is missing or duplicated in a table, or labels, patients or classes
            differ between two tables; names the file and the case.
    """
    tables = {}
    for model, path in predictions.items():
        _by_case(read_table(Path(path), case), case)
        tables[model] = read_scores(path, reference, case=case, **names)
    first, *_ = tables
    base, origin = tables[first], Path(predictions[first])
    scores = {}
    for model, table in tables.items():
        path = Path(predictions[model])
        position = {name: i for i, name in enumerate(table.cases)}
        _same_cases(path, position, origin, dict.fromkeys(base.cases))
        order = np.array([position[name] for name in base.cases])
        if table.classes != base.classes:
            raise table_fault(
                path, f"the classes are {table.classes}, those of {origin} {base.classes}"
            )
        differ = table.labels[order] != base.labels
        differ = np.flatnonzero(differ.reshape(len(differ), -1).any(1))
        if len(differ):
            raise table_fault(
                path,
                f"{_some([base.cases[i] for i in differ])} with another label than in {origin}",
            )
        patients = None if table.groups is None else [table.groups[i] for i in order]
        if base.groups is not None and patients is not None and patients != [*base.groups]:
            at = next(i for i, g in enumerate(patients) if g != base.groups[i])
            raise table_fault(
                path,
                f"case {base.cases[at]} is of patient {patients[at]!r}, in {origin} of "
                f"{base.groups[at]!r}",
            )
        scores[model] = table.scores[order]
    return ModelTables(base.labels, scores, base.classes, base.cases, base.groups, base.columns)


def read_columns(
    path: str | os.PathLike, cases: Sequence[str], *, case: str = "case"
) -> dict[str, tuple[str, ...]]:
    """Read attributes of the cases: patient, site, sex, ...

    Args:
        path: CSV with a column of cases; it may hold further cases.
        cases: the requested cases.
        case: the column of the cases.

    Returns:
        Column to (cases,) text.

    Raises:
        DataError: if a case is missing from the table or duplicated.
    """
    rows = _by_case(read_table(Path(path), case), case)
    missing = [name for name in cases if name not in rows]
    if missing:
        raise table_fault(Path(path), f"{_some(missing)} are not in the table")
    names = [name for name in next(iter(rows.values())) if name != case]
    return {name: tuple(rows[c][name] for c in cases) for name in names}


def read_mask_pairs(
    predictions: str | os.PathLike, reference: str | os.PathLike, *, missing: str = "error"
) -> tuple[list[str], Iterator[MaskPair]]:
    """Pair the masks of two folders by file name.

    Args:
        predictions: folder of predicted masks, NIfTI, PNG or TIFF.
        reference: folder of true masks.
        missing: `error`, or `empty`: a case without a predicted mask is treated as an empty
            prediction.

    Returns:
        The names of the cases, and the pairs, read lazily one by one.

    Raises:
        DataError: if a folder has no masks, or a case is in only one of them; while reading, if
            the masks of a case differ in size or affine.
    """
    found, truth = _masks(Path(predictions)), _masks(Path(reference))
    _same_names(Path(predictions), found, Path(reference), truth)
    if missing == "error":
        _same_cases(Path(predictions), found, Path(reference), truth)
    else:
        _same_cases(Path(predictions), found, Path(reference), {n: 0 for n in truth if n in found})

    def pairs() -> Iterator[MaskPair]:
        for name in sorted(truth):
            true = read_mask(truth[name])
            if name not in found:
                yield MaskPair(name, true.array, np.zeros_like(true.array), true.spacing)
                continue
            predicted = read_mask(found[name], like=true)
            _same_numbers(found[name], predicted.array, truth[name], true.array)
            yield MaskPair(name, true.array, predicted.array, true.spacing)

    return sorted(truth), pairs()


def cases_without_mask(
    predictions: str | os.PathLike, reference: str | os.PathLike
) -> tuple[str, ...]:
    """Return the cases that have a true mask but no predicted one."""
    return tuple(sorted(set(_masks(Path(reference))) - set(_masks(Path(predictions)))))


def _unique_cases(table: Table, case: str) -> None:
    """Raise for a duplicate case, which would count twice."""
    if case not in table.rows[0]:
        return
    first: dict[str, int] = {}
    for i, row in enumerate(table.rows):
        name = row[case]
        if name and name in first:
            raise DataError.of(
                [
                    Fault(
                        str(table.path),
                        "unique",
                        f"the case {name!r} comes twice, in rows {first[name] + 2} and {i + 2}: "
                        "give each case one row; several images of a patient have names of their "
                        "own and the patient in a column of groups",
                    )
                ]
            )
        first[name] = i


def _by_case(table: Table, case: str) -> dict[str, dict[str, str]]:
    if case not in table.rows[0]:
        raise table.fault(
            f"to join two tables each needs a column {case!r}; there are {sorted(table.rows[0])}"
        )
    _unique_cases(table, case)
    return {row[case]: row for row in table.rows}


def _same_cases(
    path: Path, found: Mapping[str, object], reference: Path, truth: Mapping[str, object]
) -> None:
    missing, extra = sorted(set(truth) - set(found)), sorted(set(found) - set(truth))
    if missing:
        raise table_fault(path, f"{_some(missing)} of {reference} without a prediction")
    if extra:
        raise table_fault(path, f"{_some(extra)} that {reference} does not have")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} cases ({shown})"


def _columns(table: Table, name: str, option: str) -> tuple[list[str], tuple]:
    """The columns `name`, or `name_X, name_Y, ...` with the names X, Y, ..."""
    row = table.rows[0]
    if name in row:
        return [name], ()
    several = [column for column in row if column.lower().startswith(f"{name.lower()}_")]
    if not several:
        raise table.fault(
            f"no column {name!r}, nor {name}_NAME; there are {sorted(row)}: name the one that is "
            f"meant by --{option} ({option}= in Python)"
        )
    return several, tuple(column[len(name) + 1 :] for column in several)


def _classes(table: Table, label: str, classes: Sequence[str]) -> np.ndarray:
    """Labels by name, where they are names of the classes, or as numbers."""
    position = {name: i for i, name in enumerate(classes)}
    labels = [row[label] for row in table.rows]
    if classes and all(text in position for text in labels):
        return np.array([position[text] for text in labels])
    for i, text in enumerate(labels):
        parts = text.replace(",", "|").replace(";", "|").split("|")
        if len(parts) > 1 and all(part.strip() in position for part in parts):
            raise table.fault(
                f"row {i + 2}: {label} is {text!r}, several classes in one cell: write one column "
                f"{label}_NAME of 0 and 1 for each class"
            )
    try:
        values = np.array([table.number(i, label) for i in range(len(labels))])
    except DataError as error:
        shown = sorted(set(labels) - {""})[:4]
        if "not a number" not in str(error):
            raise
        do = (
            f"the classes of the scores are {', '.join(classes)}: use their names or numbers"
            if classes
            else "write 0 and 1 (1 is the class that the score is of), or one column of scores "
            "for each class, called by its name"
        )
        raise table.fault(f"the labels are names ({', '.join(shown)}): {do}") from None
    return values.astype(int) if np.array_equal(values, np.round(values)) else values


def _zero_or_one(table: Table, tasks: Sequence[str], labels: np.ndarray) -> None:
    odd = np.argwhere((labels != 0) & (labels != 1))
    if len(odd):
        i, j = odd[0]
        raise table.fault(
            f"row {i + 2}: {tasks[j]} is {labels[i, j]:g}, neither 0 nor 1; labels that are not "
            "known cannot be measured: leave such rows out"
        )


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


def _same_names(
    path: Path, found: Mapping[str, Path], reference: Path, truth: Mapping[str, Path]
) -> None:
    """Hint that all predictions differ from their references only by a suffix."""
    if not set(found) & set(truth):
        tails = {name.removeprefix(t) for name in found for t in truth if name.startswith(t)}
        hint = f" (without {tails.pop()!r} they would)" if len(tails) == 1 else ""
        raise table_fault(
            path,
            f"no name here, such as {min(found)!r}, is one of {reference}, such as "
            f"{min(truth)!r}{hint}: give each prediction the name of its reference",
        )


def _same_numbers(path: Path, found: np.ndarray, reference: Path, truth: np.ndarray) -> None:
    """Raise if 255 stands for the reference's 1: it would count as another class."""
    for (one, a), (other, b) in itertools.permutations([(path, found), (reference, truth)]):
        if a.max() == 255 and b.max() == 1 and not np.any((a > 0) & (a < 255)):
            raise DataError.of(
                [
                    Fault(
                        str(one),
                        "mask-values",
                        f"marks with 255 what {other} marks with 1: write the number of the class",
                    )
                ]
            )


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError.of([Fault(str(folder), "exists", "there is no such folder")])
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if suffix(path) in MASKS and not path.name.startswith("."):
            found[stem(path)] = path
    if not found:
        others = sorted({p.suffix if p.is_file() else "folders" for p in folder.iterdir()})
        detail = f"no masks here ({', '.join(MASKS)}), but {', '.join(others) or 'nothing'}"
        advice = "put the masks, each with its case's name, directly into the folder"
        raise DataError.of([Fault(str(folder), "non-empty", f"{detail}; {advice}")])
    return found
