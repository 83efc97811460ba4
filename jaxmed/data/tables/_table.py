"""Reading of tables as scikit-learn, pandas, R and Excel write them.

Supports text with commas, semicolons, tabs or bars between cells, in UTF-8, or in UTF-16 with a
byte order mark; blanks around cells; the unnamed index column of pandas; decimal commas if cells
are not separated by commas; JSON lines; workbooks of Excel. Anything else raises an error
that says what to do.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed._csv import restored
from jaxmed.data._error import DataError, Fault, fault

TABLES = (".csv", ".tsv", ".jsonl", ".xlsx", ".xlsm")
_MISSING = {"", "na", "n/a", "<na>", "nan"}
NO_NUMBER = {*_MISSING, "null", "none", "."}  # which among names could be one
_TRUE_FALSE = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


class Table(NamedTuple):
    """A table: its file, and a dict from column to cell for each row.

    ``first`` is the line or row of the file that holds the first of ``rows``; ``decimal_comma``
    tells whether numbers may have decimal commas (if cells are not separated by commas).
    ``numbers`` are those of the rows in the file, where some were left out.
    """

    path: Path
    rows: list[dict[str, Any]]
    decimal_comma: bool
    first: int = 2
    numbers: tuple[int, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return list(self.rows[0])

    def number(self, i: int, column: str) -> float:
        """Read a cell as a finite number; True and False are 1 and 0."""
        text = self.rows[i][column]
        if is_missing(text) or str(text).casefold() in NO_NUMBER:
            raise self.fault(
                f"{self.where(i)}: {column} is missing ({text!r}); leave the row out, or fill it in"
            )
        value = number(text, decimal_comma=self.decimal_comma)
        if value is None:
            raise self.fault(f"{self.where(i)}: {column} is {text!r}, not a number")
        if not np.isfinite(value):
            raise fault(self.path, "finite", f"{self.where(i)}: {column} is {text!r}")
        return value

    def where(self, i: int) -> str:
        """The place of a row in the file, for a message."""
        return f"row {self.numbers[i] if self.numbers else i + self.first}"

    def kept(self, keep: Sequence[int]) -> Table:
        """The table with some of its rows."""
        rows = [self.rows[i] for i in keep]
        was = self.numbers or range(self.first, self.first + len(self.rows))
        return self._replace(rows=rows, numbers=tuple(was[i] for i in keep))

    def fault(self, detail: str) -> DataError:
        """The error of a table that breaks a rule."""
        return table_fault(self.path, detail)


def table_fault(path: Path, detail: str) -> DataError:
    """The error of a table that breaks a rule."""
    return fault(path, "table", detail)


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty, or holds what R or pandas write for a missing value."""
    return cell is None or (isinstance(cell, str) and cell.strip().casefold() in _MISSING)


def number(cell: Any, *, decimal_comma: bool = False) -> float | None:
    """Read a cell as a number, if it is one; True and False are 1 and 0.

    >>> number("2,5", decimal_comma=True), number("true"), number("benign")
    (2.5, 1.0, None)
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text.casefold() in _TRUE_FALSE:
            return _TRUE_FALSE[text.casefold()]
        if decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        cell = text
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def read_table(path: Path, *names: str) -> Table:
    """Read a table.

    Args:
        path: the file: text (``.csv``, ``.tsv`` or any other ending), ``.jsonl`` or ``.xlsx``.
        *names: columns that will be used; a column that differs only in case is renamed.

    Raises:
        DataError: the file is missing or has no rows, has an unknown encoding, rows of unequal
            length, or duplicate columns.
    """
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    ending = path.suffix.lower()
    if ending == ".jsonl":
        return _json_lines(path, names)
    if ending in (".xlsx", ".xlsm"):
        return _table(path, _workbook(path), names, decimal_comma=False)
    text = _text(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = _delimiter(header)
    try:
        cells = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise fault(path, "readable", str(error)) from None
    cells = [[restored(cell.strip()) for cell in row] for row in cells]
    return _table(path, cells, names, decimal_comma=delimiter != ",", delimiter=delimiter)


def _table(
    path: Path,
    cells: list[list[str]],
    names: tuple[str, ...],
    *,
    decimal_comma: bool,
    delimiter: str = "",
) -> Table:
    """Make the dicts of rows of text, the first of which is the header."""
    cells = [row for row in cells if any(row)]  # spreadsheets end in rows of empty cells
    if len(cells) < 2:
        found = "only a header" if cells else "nothing in it"
        raise fault(path, "non-empty", f"the table has no rows ({found})")
    header, *body = cells
    while not header[-1] and all(len(row) >= len(header) and not row[-1] for row in body):
        header = header[:-1]  # and in empty columns
        body = [row[: len(header)] for row in body]
    header = _named(path, header, names)
    uneven = [
        Fault(
            str(path),
            "table",
            f"row {i + 2} has {len(row)} cells, the header {len(header)}: a cell that holds "
            f"{delimiter!r} must stand in quotes, an empty one still needs its {delimiter!r}",
        )
        for i, row in enumerate(body)
        if len(row) != len(header)
    ]
    if uneven:
        raise DataError.of(uneven, show=10)
    keep = [j for j, name in enumerate(header) if name]
    rows = [{header[j]: row[j] for j in keep} for row in body]
    return Table(path, rows, decimal_comma)


def _json_lines(path: Path, names: tuple[str, ...]) -> Table:
    rows: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise fault(path, "readable", f"not JSON lines: {error}") from error
    if not found:
        raise fault(path, "non-empty", "the table has no rows (nothing in it)")
    for i, row in enumerate(found, start=1):
        if not isinstance(row, dict):
            raise table_fault(path, f"row {i} is no JSON object but {type(row).__name__}")
        if set(row) != set(found[0]):
            detail = f"row {i} has columns {sorted(row)}, row 1 {sorted(found[0])}"
            raise table_fault(path, detail)
        header = _named(path, [str(name).strip() for name in row], names)
        cells = (v.strip() if isinstance(v, str) else v for v in row.values())
        rows.append(dict(zip(header, cells, strict=True)))
    return Table(path, rows, decimal_comma=False, first=1)


def _workbook(path: Path) -> list[list[str]]:
    """The cells of the one sheet that holds any, as text."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise fault(
            path,
            "readable",
            "a workbook needs openpyxl: pip install 'jaxmed[formats]', or save it as 'CSV UTF-8'",
        ) from None
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # of all kinds: a workbook is a zip of XML
        raise fault(path, "readable", f"the workbook cannot be read: {error}") from error
    sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
    book.close()
    filled = {
        name: rows
        for name, rows in sheets.items()
        if any(cell is not None for row in rows for cell in row)
    }
    if len(filled) > 1:
        raise table_fault(
            path,
            f"{len(filled)} sheets hold cells ({', '.join(map(repr, filled))}): save the one that "
            "is meant as a file of its own",
        )
    rows = next(iter(filled.values()), [])
    return [["" if cell is None else _cell(cell) for cell in row] for row in rows]


def _cell(value: Any) -> str:
    # Excel has no integers: 3 is stored as 3.0.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise fault(path, "readable", str(error)) from None
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if raw[:2] == b"PK":
            hint = "it is a workbook, not text: name it .xlsx, or save it as 'CSV UTF-8'"
        else:
            hint = f"it is not UTF-8 ({error.reason} at byte {error.start}): save it as 'CSV UTF-8'"
        raise fault(path, "readable", hint) from None


def _delimiter(header: str) -> str:
    """Return the delimiter: the most frequent candidate in the header, outside quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=bare.count)


def _named(path: Path, header: Sequence[str], names: tuple[str, ...]) -> list[str]:
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
