"""Reading of predictions: a table of scores and labels, or two folders of masks."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data import DataError, Fault, read_mask
from jaxmed.report.results._segmentation import MaskPair

_MASKS = (".nii.gz", ".nii", ".png", ".tif", ".tiff")


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
    `score_NAME` for each class or task; a column `label` (a class by name or number, or a number),
    or one 0/1 column `label_NAME` for each task; and optionally `case` and `group` (the
    patient).

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
    rows = _rows(path)
    without: tuple[str, ...] = ()
    if reference is not None:
        truth = _by_case(Path(reference), case)
        predicted = _by_case(path, case)
        if missing != "error":
            without = tuple(sorted(set(truth) - set(predicted)))
            truth = {name: row for name, row in truth.items() if name in predicted}
        _same_cases(path, predicted, Path(reference), truth)
        # The reference's labels and patients take precedence if both tables have such columns.
        rows = [{**row, **truth[name]} for name, row in predicted.items()]
    scores, classes = _columns(path, rows, score)
    tasks, names = _columns(path, rows, label)
    many = tasks[0] != label
    table = np.array([[_number(path, i, c, row[c]) for c in scores] for i, row in enumerate(rows)])
    if many:
        if names != classes:
            raise _fault(path, f"the tasks of {label}_* are {names}, those of {score}_* {classes}")
        labels = np.array([[_number(path, i, c, r[c]) for c in tasks] for i, r in enumerate(rows)])
    else:
        labels = _classes(path, [row[label] for row in rows], classes)
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
        _by_case(Path(path), case)
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
            raise _fault(path, f"the classes are {table.classes}, those of {origin} {base.classes}")
        differ = table.labels[order] != base.labels
        differ = np.flatnonzero(differ.reshape(len(differ), -1).any(1))
        if len(differ):
            raise _fault(
                path,
                f"{_some([base.cases[i] for i in differ])} with another label than in {origin}",
            )
        patients = None if table.groups is None else [table.groups[i] for i in order]
        if base.groups is not None and patients is not None and patients != [*base.groups]:
            at = next(i for i, g in enumerate(patients) if g != base.groups[i])
            raise _fault(
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
    rows = _by_case(Path(path), case)
    missing = [name for name in cases if name not in rows]
    if missing:
        raise _fault(Path(path), f"{_some(missing)} are not in the table")
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


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except FileNotFoundError:
        raise DataError.of([Fault(str(path), "exists", "there is no such file")]) from None
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError.of([Fault(str(path), "readable", str(error))]) from None
    if not rows:
        raise DataError.of([Fault(str(path), "non-empty", "the table has no rows")])
    for i, row in enumerate(rows):
        if None in row or None in row.values():
            raise _fault(path, f"row {i + 2} has not as many cells as the header")
    return rows


def _by_case(path: Path, case: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in _rows(path):
        if case not in row:
            raise _fault(path, f"to join two tables each needs a column {case!r}")
        if row[case] in found:
            raise DataError.of([Fault(str(path), "unique", f"the case {row[case]!r} comes twice")])
        found[row[case]] = row
    return found


def _same_cases(
    path: Path, found: Mapping[str, object], reference: Path, truth: Mapping[str, object]
) -> None:
    missing, extra = sorted(set(truth) - set(found)), sorted(set(found) - set(truth))
    if missing:
        raise _fault(path, f"{_some(missing)} of {reference} without a prediction")
    if extra:
        raise _fault(path, f"{_some(extra)} that {reference} does not have")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} cases ({shown})"


def _columns(path: Path, rows: list[dict[str, str]], name: str) -> tuple[list[str], tuple]:
    """The columns `name`, or `name_X, name_Y, ...` with the names X, Y, ..."""
    if name in rows[0]:
        return [name], ()
    several = [column for column in rows[0] if column.startswith(f"{name}_")]
    if not several:
        raise _fault(path, f"no column {name!r}, nor {name}_NAME; there are {sorted(rows[0])}")
    return several, tuple(column.removeprefix(f"{name}_") for column in several)


def _number(path: Path, i: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _fault(path, f"row {i + 2}: {column} is {text!r}, not a number") from None
    if not np.isfinite(value):
        raise DataError.of([Fault(str(path), "finite", f"row {i + 2}: {column} is {text!r}")])
    return value


def _classes(path: Path, labels: list[str], classes: Sequence[str]) -> np.ndarray:
    """Labels by name, where they are names of the classes, or as numbers."""
    position = {name: i for i, name in enumerate(classes)}
    if classes and all(label in position for label in labels):
        return np.array([position[label] for label in labels])
    values = np.array([_number(path, i, "label", text) for i, text in enumerate(labels)])
    return values.astype(int) if np.array_equal(values, np.round(values)) else values


def _same_names(
    path: Path, found: Mapping[str, Path], reference: Path, truth: Mapping[str, Path]
) -> None:
    """Hint that all predictions differ from their references only by a suffix."""
    if not set(found) & set(truth):
        tails = {name.removeprefix(t) for name in found for t in truth if name.startswith(t)}
        hint = f" (without {tails.pop()!r} they would)" if len(tails) == 1 else ""
        raise _fault(
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
        ending = next((e for e in _MASKS if path.name.lower().endswith(e)), None)
        if ending and not path.name.startswith("."):
            found[path.name[: -len(ending)]] = path
    if not found:
        others = sorted({p.suffix if p.is_file() else "folders" for p in folder.iterdir()})
        detail = f"no masks here ({', '.join(_MASKS)}), but {', '.join(others) or 'nothing'}"
        advice = "put the masks, each with its case's name, directly into the folder"
        raise DataError.of([Fault(str(folder), "non-empty", f"{detail}; {advice}")])
    return found


def _fault(path: Path, detail: str) -> DataError:
    return DataError.of([Fault(str(path), "table", detail)])
