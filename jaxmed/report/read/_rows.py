"""Reading of delimited text tables as written by scikit-learn, pandas, R and Excel.

Supports commas, semicolons or tabs between cells; UTF-8, or UTF-16 with a byte order mark; blanks
around cells; the unnamed index column of pandas; decimal commas if cells are not separated by
commas. Anything else raises an error that says what to do.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxmed._csv import restored
from jaxmed.data import DataError, Fault

_MISSING = {"", "na", "n/a", "nan", "null", "none", "."}
_TRUE_FALSE = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


class Table(NamedTuple):
    """A text table: its file, and a dict from column to cell for each row.

    decimal_comma: whether numbers may have decimal commas (if cells are not separated by commas).
    """

    path: Path
    rows: list[dict[str, str]]
    decimal_comma: bool

    def number(self, i: int, column: str) -> float | Fault:
        """Read a cell as a finite number, True and False as 1 and 0; else what is wrong with it."""
        text = self.rows[i][column]
        if is_missing(text):
            return self.fault(
                f"{column} is missing ({text!r}); leave the row out, or fill it in", i
            )
        value = self.parsed(text)
        if value is None:
            return self.fault(f"{column} is {text!r}, not a number", i)
        if not np.isfinite(value):
            return Fault(str(self.path), "finite", f"row {i + 2}: {column} is {text!r}")
        return value

    def parsed(self, text: str) -> float | None:
        """The number that a cell holds, or None if it holds another text."""
        if text.lower() in _TRUE_FALSE:
            return _TRUE_FALSE[text.lower()]
        if self.decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        try:
            return float(text)
        except ValueError:
            return None

    def numbers(
        self, order: Sequence[int], columns: Sequence[str]
    ) -> tuple[NDArray[np.float64], list[Fault]]:
        """Read some rows of some columns, (rows, columns); list the cells that are no numbers."""
        cells = [[self.number(i, column) for column in columns] for i in order]
        faults = [cell for row in cells for cell in row if isinstance(cell, Fault)]
        values = [[np.nan if isinstance(cell, Fault) else cell for cell in row] for row in cells]
        return np.array(values, np.float64).reshape(len(order), len(columns)), faults

    def fault(self, detail: str, i: int | None = None, rule: str = "predictions") -> Fault:
        """What is wrong with the table, or with a row of it."""
        where = "" if i is None else f"row {i + 2}: "
        return Fault(str(self.path), rule, where + detail)


def is_missing(text: str) -> bool:
    """Whether a cell stands for no value, as other programs write it."""
    return text.lower() in _MISSING


def refuse(faults: Iterable[Fault]) -> None:
    """Raise for faults, if there are any: the message shows the first ten and a count.

    Raises:
        DataError: lists them all in its ``faults``.
    """
    faults = tuple(faults)
    if faults:
        raise DataError.of(faults, show=10)


def read_table(path: Path, *names: str) -> Table:
    """Read a table.

    Args:
        path: the file.
        *names: columns that will be used; a column that differs only in case is renamed.

    Raises:
        DataError: if the file is missing or has no rows, an unknown encoding, rows of unequal
            length or duplicate columns.
    """
    text = _text(path)
    delimiter = _delimiter(text.partition("\n")[0])
    try:
        cells = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError.of([Fault(str(path), "readable", str(error))]) from None
    cells = [[restored(cell.strip()) for cell in row] for row in cells if row]
    if len(cells) < 2:
        found = "only a header" if cells else "nothing in it"
        raise DataError.of([Fault(str(path), "non-empty", f"the table has no rows ({found})")])
    header, *body = cells
    header = _named(path, header, names)
    refuse(
        Fault(
            str(path),
            "cells",
            f"row {i + 2} has {len(row)} cells, the header {len(header)}: a cell that holds "
            f"{delimiter!r} must stand in quotes, an empty one still needs its {delimiter!r}",
        )
        for i, row in enumerate(body)
        if len(row) != len(header)
    )
    keep = [j for j, name in enumerate(header) if name]
    rows = [{header[j]: row[j] for j in keep} for row in body]
    return Table(path, rows, decimal_comma=delimiter != ",")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError.of([Fault(str(path), "exists", "there is no such file")]) from None
    except OSError as error:
        raise DataError.of([Fault(str(path), "readable", str(error))]) from None
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if raw[:2] == b"PK":
            hint = "it is a workbook, not text: save it as 'CSV UTF-8'"
        else:
            hint = f"it is not UTF-8 ({error.reason} at byte {error.start}): save it as 'CSV UTF-8'"
        raise DataError.of([Fault(str(path), "readable", hint)]) from None


def _delimiter(header: str) -> str:
    """Return the delimiter: the most frequent candidate in the header, outside quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(",;\t", key=bare.count)


def _named(path: Path, header: list[str], names: tuple[str, ...]) -> list[str]:
    """Rename the columns as requested; only the first may have no name (an index)."""
    found = list(header)
    for name in names:
        alike = [j for j, column in enumerate(header) if column.lower() == name.lower()]
        if name not in header and len(alike) == 1:
            found[alike[0]] = name
    unnamed = [j for j, column in enumerate(found) if not column and j > 0]
    twice = sorted({name for name in found if name and found.count(name) > 1})
    refuse(
        Fault(str(path), "cells", detail)
        for detail in (
            *(f"column {j + 1} has no name" for j in unnamed),
            *(f"more than one column is called {name!r}" for name in twice),
        )
    )
    return found
