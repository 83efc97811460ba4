"""Reading of the predictions of several models on the same cases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import DataError, Fault
from jaxmed.report.read._cells import read_text, refuse
from jaxmed.report.read._joined import by_case, same_cases, some
from jaxmed.report.read._roles import roles
from jaxmed.report.read._scores import ScoreTable, read_scores


class ModelTables(NamedTuple):
    """The predictions of several models, joined by case in the order of the first.

    Attributes:
        labels: as in `ScoreTable`.
        scores: model to its scores.
        classes: as in `ScoreTable`.
        cases: as in `ScoreTable`.
        groups: as in `ScoreTable`.
        columns: as in `ScoreTable`.
        notes: as in `ScoreTable`, of all tables.
        hard: whether some model's predictions are classes without a probability.
    """

    labels: np.ndarray
    scores: dict[str, np.ndarray]
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None
    columns: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()
    hard: bool = False


_ASKED = {"label": "label", "score": "score"}


def read_models(
    predictions: Mapping[str, str | os.PathLike],
    reference: str | os.PathLike | None = None,
    *,
    case: str = "case",
    **names: Any,
) -> ModelTables:
    """Read the predictions of several models of the same cases.

    Args:
        predictions: model to its table, as in `read_scores`, with a column of cases.
        reference: a table of the labels; without it each table must have them, and they must agree.
        case: the column of the cases.
        **names: further columns and options, as in `read_scores`.

    Returns:
        The predictions, joined by case.

    Raises:
        DataError: if a case is missing or duplicated in a table, or labels, patients or classes
            differ between two tables; names the file and the case.
    """
    tables: dict[str, ScoreTable] = {}
    faults: list[Fault] = []
    for model, path in predictions.items():
        try:
            text = read_text(Path(path), case)
            by_case(text, roles(text, **_ASKED | {"case": case}).case)
            tables[model] = read_scores(path, reference, case=case, **names)
        except DataError as error:
            faults += error.faults
    refuse(faults)
    first, *_ = tables
    base, origin = tables[first], Path(predictions[first])
    scores = {}
    for model, table in tables.items():
        path = Path(predictions[model])
        position = {name: i for i, name in enumerate(table.cases)}
        apart = [*same_cases(path, position, origin, dict.fromkeys(base.cases))]
        if table.classes != base.classes:
            detail = f"the classes are {table.classes}, those of {origin} {base.classes}"
            apart.append(Fault(str(path), "table", detail))
        faults += apart
        if not apart:
            order = np.array([position[name] for name in base.cases])
            faults += _otherwise(path, table, order, origin, base)
            scores[model] = table.scores[order]
    refuse(faults)
    notes = tuple(dict.fromkeys(note for table in tables.values() for note in table.notes))
    hard = any(table.hard for table in tables.values())
    return ModelTables(
        base.labels, scores, base.classes, base.cases, base.groups, base.columns, notes, hard
    )


def _otherwise(
    path: Path, table: ScoreTable, order: np.ndarray, origin: Path, base: ScoreTable
) -> Iterator[Fault]:
    """Where a table says something else of the cases than the first one."""
    ours = table.labels[order]
    if ours.shape != base.labels.shape:
        yield Fault(str(path), "table", f"its labels are of another kind than those of {origin}")
        return
    differ = (ours != base.labels) & ~((ours != ours) & (base.labels != base.labels))  # NaN
    differ = np.flatnonzero(differ.reshape(len(differ), -1).any(1))
    if len(differ):
        detail = f"{some([base.cases[i] for i in differ])} with another label than in {origin}"
        yield Fault(str(path), "same-cases", detail)
    if base.groups is None or table.groups is None:
        return
    for at, i in enumerate(order):
        if table.groups[i] != base.groups[at]:
            yield Fault(
                str(path),
                "same-cases",
                f"case {base.cases[at]} is of patient {table.groups[i]!r}, in {origin} of "
                f"{base.groups[at]!r}",
            )
