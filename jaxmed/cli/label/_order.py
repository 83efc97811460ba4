"""Which cases are asked for, in which order: as listed, by chance, by what a model is unsure of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.formats._registry import stem
from jaxmed.data.tables._table import Table, read_table

DOUBTS = ("margin", "entropy", "least-confident")


def asked(table: Path, source: Any) -> list[int]:
    """The rows of a source that a table lists by ``case``, in its order.

    Raises:
        DataError: no such column, or a case that the source does not have, or twice.
    """
    found = read_table(table, "case")
    rows = _rows(found, source)
    if len(set(rows)) < len(rows):
        twice = next(i for i, row in enumerate(rows) if row in rows[:i])
        detail = f"{found.where(twice)}: the case is listed twice"
        raise fault(table, "unique", detail)
    return rows


def by_doubt(table: Path, source: Any, rows: Sequence[int], measure: str) -> list[int]:
    """Rows in the order of what a model is unsure of, the most doubtful first.

    Args:
        table: of scores, as `jaxmed predict` writes it: ``case``, and a ``score_NAME`` a class.
        source: that the rows are of.
        rows: which are to be ordered. Those without scores come last, as they stand.
        measure: ``margin``, ``entropy`` or ``least-confident``.

    Raises:
        DataError: fewer than two columns of scores, cells that are no probabilities, or a case that
            the source does not have.
    """
    found = read_table(table, "case")
    columns = [name for name in found.columns if name.startswith("score_")]
    if len(columns) < 2:
        detail = f"a score_NAME for each class is needed; there are {found.columns}"
        raise fault(table, "table", detail)
    p = np.array([[found.number(i, c) for c in columns] for i in range(len(found.rows))])
    wrong = np.flatnonzero((p < 0).any(1) | (abs(p.sum(1) - 1) > 1e-3))
    if len(wrong):
        detail = f"{found.where(int(wrong[0]))}: scores are no probabilities that add up to 1"
        raise fault(table, "table", detail)
    top = np.sort(p, axis=1)
    doubt = {
        "margin": top[:, -2] - top[:, -1],
        "entropy": -(p * np.log(np.maximum(p, 1e-300))).sum(1),
        "least-confident": -top[:, -1],
    }[measure]
    of = dict(zip(_rows(found, source), doubt.tolist(), strict=True))
    return sorted(rows, key=lambda row: -of.get(row, -np.inf))


def _rows(table: Table, source: Any) -> list[int]:
    """The row of a source that each row of a table is of, by case or by the name of its file."""
    if "case" not in table.columns:
        raise table.fault(f"there is no column 'case'; there are {table.columns}")
    places = {name: i for i, name in enumerate(source.case_ids)}
    by_file: dict[str, list[int]] = {}
    for i in range(len(source)):
        path = source.paths(i)[0]
        for name in {path.name, stem(path)}:
            by_file.setdefault(name, []).append(i)
    found = []
    for i, row in enumerate(table.rows):
        case = row["case"]
        alike = [places[case]] if case in places else by_file.get(case, [])
        if len(alike) != 1:
            why = f"{len(alike)} images have that name" if alike else "the data have none of it"
            raise table.fault(f"{table.where(i)}: case {case!r}: {why}")
        found.append(alike[0])
    return found
