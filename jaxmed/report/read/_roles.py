"""Which columns of a table of predictions hold labels, scores and cases, whatever their names."""

from __future__ import annotations

from typing import NamedTuple

from jaxmed.data.tables._columns import predicted_column
from jaxmed.data.tables._table import Table


class Roles(NamedTuple):
    """Names of columns, or what several begin with; and a line on each that was guessed."""

    label: str
    score: str
    case: str
    calls: bool
    notes: tuple[str, ...]


def named(table: Table, name: str) -> list[str]:
    """The column `name`, or else the columns `name_X, name_Y, ...`."""
    if name in table.columns:
        return [name]
    return [column for column in table.columns if column.lower().startswith(f"{name.lower()}_")]


def roles(table: Table, *, label: str, score: str, case: str) -> Roles:
    """Find the columns of each role: those asked for, else those of another usual name.

    What is asked for by another name than the role's own is never guessed.
    """
    notes = []
    found = {"label": label, "score": score, "case": case}
    calls = False
    for role, name in list(found.items()):
        if name != role or named(table, name):
            continue
        other = predicted_column(table, role)
        if role == "score" and other is None:
            other = predicted_column(table, "prediction", "score")
            calls = other is not None
        if other is None or (role == "case" and not _tells_apart(table, other)):
            continue
        found[role] = other
        if role != "case":
            of = other if other in table.columns else f"{other}_..."
            notes.append(f"{table.path.name}: the column {of!r} is read as the {role}")
    return Roles(**found, calls=calls, notes=tuple(notes))


def _tells_apart(table: Table, column: str) -> bool:
    cells = [row[column] for row in table.rows]
    return all(cells) and len(set(cells)) == len(cells)
