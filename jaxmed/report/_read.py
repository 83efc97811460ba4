"""Reading anyone's predictions: a table of scores and labels, or two folders of masks."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data import DataError, Fault, read_mask
from jaxmed.report._segmentation import MaskPair

_MASKS = (".nii.gz", ".nii", ".png", ".tif", ".tiff")


class ScoreTable(NamedTuple):
    """What a table of predictions holds, as `classification` takes it.

    Attributes:
        labels: (cases,) classes or numbers, or (cases, tasks) 0/1.
        scores: (cases,), or (cases, classes).
        classes: their names, as far as the table gives them.
        cases: names of the cases; the row's number where there is no such column.
        groups: patient of each case, or None.
    """

    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None


def read_scores(
    predictions: str | os.PathLike,
    reference: str | os.PathLike | None = None,
    *,
    label: str = "label",
    score: str = "score",
    case: str = "case",
    group: str = "group",
) -> ScoreTable:
    """Read scores and labels from CSV.

    The table has a column `score` (of the positive class, or a number), or one column
    `score_NAME` for each class or task; a column `label` (a class by name or number, or a number),
    or one 0/1 column `label_NAME` for each task; and, as there are, `case` and `group` (the
    patient).

    Args:
        predictions: the table.
        reference: another table with the labels, joined by `case`; each case is in both, once.
        label: the column of the labels, or what their columns begin with.
        score: the column of the scores, or what their columns begin with.
        case: the column of the cases.
        group: the column of the patients.

    Returns:
        The table.

    Raises:
        DataError: naming the file, the row and the rule that is broken.
    """
    path = Path(predictions)
    rows = _rows(path)
    if reference is not None:
        truth = _by_case(Path(reference), case)
        predicted = _by_case(path, case)
        _same_cases(path, predicted, Path(reference), truth)
        # The reference's labels and patients count, should both tables have such columns.
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
    return ScoreTable(labels, table if classes else table[:, 0], classes, cases, groups)


def read_mask_pairs(
    predictions: str | os.PathLike, reference: str | os.PathLike
) -> tuple[list[str], Iterator[MaskPair]]:
    """Pair the masks of two folders by file name.

    Args:
        predictions: folder of predicted masks, NIfTI, PNG or TIFF.
        reference: folder of true masks.

    Returns:
        The names of the cases, and the pairs, read one by one as they are asked for.

    Raises:
        DataError: a folder without masks, or a case that is in one of them alone; while reading:
            masks of one case with different size or affine.
    """
    found, truth = _masks(Path(predictions)), _masks(Path(reference))
    _same_cases(Path(predictions), found, Path(reference), truth)

    def pairs() -> Iterator[MaskPair]:
        for name in sorted(truth):
            true = read_mask(truth[name])
            predicted = read_mask(found[name], like=true)
            yield MaskPair(name, true.array, predicted.array)

    return sorted(truth), pairs()


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


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError.of([Fault(str(folder), "exists", "there is no such folder")])
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in _MASKS if path.name.lower().endswith(e)), None)
        if ending and not path.name.startswith("."):
            found[path.name[: -len(ending)]] = path
    if not found:
        raise DataError.of(
            [Fault(str(folder), "non-empty", f"no masks here ({', '.join(_MASKS)})")]
        )
    return found


def _fault(path: Path, detail: str) -> DataError:
    return DataError.of([Fault(str(path), "table", detail)])
