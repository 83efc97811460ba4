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
from pathlib import Path
from typing import NamedTuple

import numpy as np

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

    def number(self, i: int, column: str) -> float:
        """Read a cell as a finite number; True and False are 1 and 0."""
        text = self.rows[i][column]
        if text.lower() in _MISSING:
            raise self.fault(
                f"row {i + 2}: {column} is missing ({text!r}); leave the row out, or fill it in"
            )
        if text.lower() in _TRUE_FALSE:
            return _TRUE_FALSE[text.lower()]
        plain = text
        if self.decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            plain = text.replace(",", ".")
        try:
            value = float(plain)
        except ValueError:
            raise self.fault(f"row {i + 2}: {column} is {text!r}, not a number") from None
        if not np.isfinite(value):
            raise DataError.of(
                [Fault(str(self.path), "finite", f"row {i + 2}: {column} is {text!r}")]
            )
        return value

    def fault(self, detail: str) -> DataError:
        """The error of a table that breaks a rule."""
        return table_fault(self.path, detail)


def table_fault(path: Path, detail: str) -> DataError:
    """The error of a table that breaks a rule."""
    return DataError.of([Fault(str(path), "table", detail)])


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
    for i, row in enumerate(body):
        if len(row) != len(header):
            raise table_fault(
                path,
                f"row {i + 2} has {len(row)} cells, the header {len(header)}: a cell that holds "
                f"{delimiter!r} must stand in quotes, an empty one still needs its {delimiter!r}",
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
    if "" in found[1:]:
        raise table_fault(path, f"column {found.index('', 1) + 1} has no name")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise table_fault(path, f"more than one column is called {twice[0]!r}")
    return found
