"""Joining of tables and folders by case."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jaxmed.data import DataError, Fault
from jaxmed.data.tables._table import Table
from jaxmed.report.read._cells import read_text, refuse


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
    table = read_text(Path(path), case)
    rows = by_case(table, case)
    missing = [name for name in cases if name not in rows]
    if missing:
        refuse([Fault(str(path), "same-cases", f"{some(missing)} are not in the table")])
    names = [name for name in table.rows[0] if name != case]
    return {name: tuple(table.rows[rows[c]][name] for c in cases) for name in names}


def by_case(table: Table, case: str) -> dict[str, int]:
    """The row of each case.

    Raises:
        DataError: if there is no such column, or a case comes twice.
    """
    if case not in table.rows[0]:
        there = sorted(table.rows[0])
        detail = f"to join two tables each needs a column {case!r}; there are {there}"
        raise DataError.of([Fault(str(table.path), "same-cases", detail)])
    refuse(repeated(table, case))
    return {row[case]: i for i, row in enumerate(table.rows)}


def repeated(table: Table, case: str) -> Iterator[Fault]:
    """The cases with more than one row, each of which would count twice."""
    first: dict[str, int] = {}
    for i, row in enumerate(table.rows):
        name = row.get(case)
        if not name:
            continue
        if name in first:
            yield Fault(
                str(table.path),
                "unique",
                f"the case {name!r} comes twice, in rows {first[name] + table.first} and "
                f"{i + table.first}: give each case one row; several images of a patient have "
                "names of their own and the patient in a column of groups",
            )
        first.setdefault(name, i)


def same_cases(
    path: Path, found: Mapping[str, object], reference: Path, truth: Mapping[str, object]
) -> Iterator[Fault]:
    """What keeps predictions and their reference from being of the same cases."""
    missing, extra = sorted(set(truth) - set(found)), sorted(set(found) - set(truth))
    if missing:
        yield Fault(str(path), "same-cases", f"{some(missing)} of {reference} without a prediction")
    if extra:
        yield Fault(str(path), "same-cases", f"{some(extra)} that {reference} does not have")


def some(names: Sequence[str]) -> str:
    """The number of some cases, and the first names."""
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} cases ({shown})"
