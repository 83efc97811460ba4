"""Columns of a table as records: numbers, and words as categories, with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxmed.data.tables._table import NO_NUMBER, Table, is_missing, number

_FEW = 10  # numbers beside words that may be names of categories


class Records(NamedTuple):
    """What columns hold.

    Attributes:
        values: (cases, columns) float32: numbers, codes of categories, NaN for empty cells.
        categories: the values of each column of words, in the order of their codes; () of numbers.
        notes: how cells were read.
    """

    values: NDArray[np.float32]
    categories: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def columns(self) -> tuple[int, ...]:
        """What each column is, as `networks.tabular` takes it."""
        return tuple(len(values) for values in self.categories)

    def learned_by(self, *which: NDArray[np.integer]) -> Records:
        """The records as models know them that learned from some of the cases, each from its own.

        Of a category that none of its cases has a model knows nothing: it counts as missing.
        """
        values, found = self.values.copy(), []
        for k, words in enumerate(self.categories):
            codes = [(self.values[:, k] == code) for code in range(len(words))]
            seen = [c for c, has in enumerate(codes) if all(has[cases].any() for cases in which)]
            if words:
                values[:, k] = np.nan
            for code, old in enumerate(seen):
                values[codes[old], k] = code
            found.append(tuple(words[code] for code in seen))
        return Records(values, tuple(found), self.notes)


def read_records(
    table: Table,
    names: Sequence[str],
    categories: Sequence[Sequence[str]] | None = None,
) -> Records:
    """Read columns as numbers where all known cells are, as categories where some are words.

    Args:
        table: the table.
        names: the columns.
        categories: what they were when a model learned; another word is then unknown, NaN.

    Raises:
        DataError: a column that is not there or is empty, an infinite number, a word where numbers
            were learned, or among many of them.
    """
    if missing := [name for name in names if name not in table.columns]:
        raise table.fault(f"there is no column {missing[0]!r}, of {', '.join(table.columns)}")
    columns, found, notes = [], [], []
    for k, name in enumerate(names):
        cells = [None if is_missing(row[name]) else row[name] for row in table.rows]
        numbers = [
            None if cell is None else number(cell, decimal_comma=table.decimal_comma)
            for cell in cells
        ]
        wordy = [i for i, cell in enumerate(cells) if cell is not None and numbers[i] is None]
        known = () if categories is None else tuple(categories[k])
        if not known and all(str(cells[i]).strip().casefold() in NO_NUMBER for i in wordy):
            wordy = []  # what programs write for a number that is not there
        if odd := [i for i, x in enumerate(numbers) if x is not None and not np.isfinite(x)]:
            raise table.fault(f"{table.where(odd[0])}: {name} is {cells[odd[0]]!r}")
        if categories is None and all(cell is None for cell in cells):
            raise table.fault(f"all cells of {name} are empty: leave the column out")
        if categories is None and wordy and len({*numbers} - {None}) > _FEW:
            i = wordy[0]
            raise table.fault(
                f"{table.where(i)}: {name} is {cells[i]!r} in a column of numbers; leave the cell "
                "empty if it is not known"
            )
        if categories is None and wordy:
            known = tuple(sorted({str(cell).strip() for cell in cells if cell is not None}))
        if not known and wordy:
            i = wordy[0]
            raise table.fault(f"{table.where(i)}: {name} is {cells[i]!r}, not a number")
        codes = {word: code for code, word in enumerate(known)}
        if known:
            strange = {str(c).strip() for c in cells if c is not None} - set(codes)
            if strange:
                notes.append(
                    f"{name} has words that were not learned: {', '.join(sorted(strange))}"
                )
            numbers = [None if c is None else codes.get(str(c).strip()) for c in cells]
        columns.append([np.nan if x is None else x for x in numbers])
        found.append(known)
    return Records(np.array(columns, np.float32).T, tuple(found), tuple(notes))
