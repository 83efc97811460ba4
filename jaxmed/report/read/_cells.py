"""Cells of a table of predictions as numbers, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxmed.data import DataError, Fault
from jaxmed.data.tables._table import Table, read_table


def read_text(path: Path, *names: str) -> Table:
    """Read a table of any kind, its cells as text, as names of cases and classes are compared."""
    table = read_table(path, *names)
    rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in table.rows]
    return table._replace(rows=rows)


def numbers(
    table: Table, order: Sequence[int], columns: Sequence[str]
) -> tuple[NDArray[np.float64], list[Fault]]:
    """Read some rows of some columns, (rows, columns); list the cells that are no numbers."""
    values = np.full((len(order), len(columns)), np.nan)
    faults: list[Fault] = []
    for at, i in enumerate(order):
        for j, column in enumerate(columns):
            try:
                values[at, j] = table.number(i, column)
            except DataError as error:
                faults += error.faults
    return values, faults


def row_fault(table: Table, i: int, detail: str) -> Fault:
    """What is wrong with a row."""
    return Fault(str(table.path), "table", f"{table.where(i)}: {detail}")


def refuse(faults: Iterable[Fault]) -> None:
    """Raise for faults, if there are any: the message shows the first ten and a count.

    Raises:
        DataError: lists them all in its ``faults``.
    """
    faults = tuple(faults)
    if faults:
        raise DataError.of(faults, show=10)
