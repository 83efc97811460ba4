"""Labels from the cells of a table: classes, several labels of an image, measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import Fault
from jaxmed.data.tables._table import Table, is_missing, number

# In Python, and in brackets on the command line, which tells the latter alone.
_MEASURED = (
    "regression=True (--regression, jaxmed train regression, jaxmed study --task regression) if "
    "they are measurements"
)
_CLASSES = "classes={} (--classes {})"


class Labels(NamedTuple):
    """Labels of all rows.

    ``values`` is (n,) int32 for classes, (n, labels) int32 for several labels, (n,) or (n, numbers)
    float32 for measurements; None if there are faults. ``known`` tells, of several labels, which
    cells hold one; None if all do.
    """

    values: np.ndarray | None
    classes: tuple[str, ...]
    known: np.ndarray | None = None


def parts(value: Any) -> list[str]:
    """The values of a cell, which hold several by ``;`` or as a list."""
    several = value if isinstance(value, list) else str(value).split(";")
    return [str(v).strip() for v in several]


def find_labels(
    table: Table,
    columns: Sequence[str],
    names: Sequence[str],
    *,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    regression: bool = False,
    named: bool = False,
) -> tuple[Labels, list[Fault]]:
    """Read the labels of a table, and list what is wrong with them.

    Args:
        table: the table.
        columns: the columns that hold labels.
        names: name of each row's case, for messages.
        classes: names of the classes.
        positive: of two classes, the second; of more, the one that is told from all others.
        regression: whether labels are measurements.
        named: whether labels are names, though they may look like numbers.
    """
    reader = _Reader(table, names, [], classes, regression, named)
    if len(columns) > 1:
        found = reader.of_columns(columns)
    else:
        found = reader.of_cells([row[columns[0]] for row in table.rows], columns[0], positive)
    return found, reader.faults


class _Reader(NamedTuple):
    table: Table
    names: Sequence[str]
    faults: list[Fault]
    asked: Sequence[str] | None
    regression: bool
    named: bool = False

    def fault(self, rule: str, detail: str) -> None:
        self.faults.append(Fault(str(self.table.path), rule, detail))

    def number(self, cell: Any) -> float | None:
        # True and False are names of classes here.
        if isinstance(cell, str) and cell.strip().casefold() in ("true", "false"):
            return None
        return number(cell, decimal_comma=self.table.decimal_comma)

    def of_columns(self, columns: Sequence[str]) -> Labels:
        """Labels by column: measurements, or 0/1, empty where a label is not known."""
        prefix = "label_" if all(c.casefold().startswith("label_") for c in columns) else ""
        classes = tuple(self.asked or (c[len(prefix) :] for c in columns))
        if len(classes) != len(columns):
            self.fault("label-range", f"{len(columns)} columns of labels for classes {classes}")
            return Labels(None, classes)
        values = np.zeros((len(self.names), len(columns)))
        known = np.ones(values.shape, bool)
        for i, row in enumerate(self.table.rows):
            for j, column in enumerate(columns):
                if is_missing(row[column]):
                    known[i, j] = False
                    continue
                got = number(row[column], decimal_comma=self.table.decimal_comma)
                if got is None or not np.isfinite(got):
                    detail = f"the label {column} of {self.names[i]} is {row[column]!r}, no number"
                    self.fault("table" if got is None else "finite", detail)
                elif not self.regression and got not in (0, 1):
                    hint = "; leave a label that is not known empty" if got == -1 else ""
                    detail = f"the label {column} of {self.names[i]} is {row[column]!r}, not 0 or 1"
                    self.fault("label-range", detail + hint)
                else:
                    values[i, j] = got
        for i in np.flatnonzero(~known.any(axis=1)).tolist():
            detail = f"{self.table.where(i)} ({self.names[i]}) has no label in any column"
            self.fault("table", detail)
        if self.regression and not known.all():
            i, j = map(int, np.argwhere(~known)[0])
            self.fault("table", f"{self.names[i]} has no {columns[j]}: leave the row out")
        if self.faults:
            return Labels(None, classes)
        kind = np.float32 if self.regression else np.int32
        return Labels(values.astype(kind), classes, None if known.all() else known)

    def of_cells(self, cells: list[Any], column: str, positive: str | None) -> Labels:
        """Labels of one column."""
        if self.named:
            return self._told_or_all([str(cell) for cell in cells], [[None]] * len(cells), positive)
        for i, cell in enumerate(cells):
            if is_missing(cell):
                self.fault(
                    "table",
                    f"{self.table.where(i)} ({self.names[i]}) has no {column}, though there is "
                    "that column; fill it, or list such rows in a table of their own",
                )
        if self.faults:
            return Labels(None, tuple(self.asked or ()))
        texts = [parts(cell) for cell in cells]
        if not self.regression and any("|" in str(cell) for cell in cells):
            return self._of_names([[p.strip() for p in str(cell).split("|")] for cell in cells])
        if len({len(text) for text in texts}) > 1:
            if not self.regression and any(self.number(t) is None for row in texts for t in row):
                return self._of_names(texts)
            sizes = sorted({len(text) for text in texts})
            self.fault("table", f"rows have {sizes} labels: give all the same number")
            return Labels(None, ())
        numbers = [[self.number(v) for v in row] for row in texts]
        several = len(texts[0]) > 1
        if self.regression or several:
            return self._of_numbers(texts, numbers, several)
        return self._told_or_all([row[0] for row in texts], numbers, positive)

    def _told_or_all(
        self, texts: list[str], numbers: list[list[float | None]], positive: str | None
    ) -> Labels:
        """One class an image, or one class told from all others."""
        found = self._one_of_several(texts, numbers, positive)
        return found if positive is None else self._told_apart(found, positive)

    def _of_names(self, texts: list[list[str]]) -> Labels:
        """Several labels by name, as of a chest radiograph's findings."""
        classes = tuple(self.asked or sorted({name for row in texts for name in row}))
        for who, row in zip(self.names, texts, strict=True):
            for name in row:
                if name not in classes:
                    detail = f"the label {name!r} of {who} is not in {classes}"
                    self.fault("label-range", detail)
        values = np.array([[name in row for name in classes] for row in texts])
        return Labels(None if self.faults else values.astype(np.int32), classes)

    def _of_numbers(
        self, texts: list[list[str]], numbers: list[list[float | None]], several: bool
    ) -> Labels:
        """Measurements, or several labels of 0 and 1."""
        for who, row, text in zip(self.names, numbers, texts, strict=True):
            if None in row:
                detail = f"the label of {who} is {text[row.index(None)]!r}, no number"
                self.fault("table", detail)
            elif not np.all(np.isfinite(np.array(row, float))):
                self.fault("finite", f"the label of {who} is {row}")
            elif not self.regression and not set(row) <= {0, 1}:
                self.fault("label-range", f"the label {row} of {who} is not in 0..1")
        if not self.regression and self.asked and len(self.asked) != len(texts[0]):
            detail = f"{len(texts[0])} labels a row for classes {tuple(self.asked)}"
            self.fault("label-range", detail)
        if self.faults:
            return Labels(None, tuple(self.asked or ()))
        values = np.array(numbers, float)
        if self.regression:
            return Labels((values if several else values[:, 0]).astype(np.float32), ())
        classes = tuple(self.asked or (str(i) for i in range(values.shape[1])))
        return Labels(values.astype(np.int32), classes)

    def _one_of_several(
        self, texts: list[str], numbers: list[list[float | None]], positive: str | None
    ) -> Labels:
        """One class an image, by name or by number."""
        values = [row[0] for row in numbers]
        # A number in another spelling, such as 1.0, is the same label.
        texts = [f"{v:g}" if v is not None else t for t, v in zip(texts, values, strict=True)]
        named = {*texts} <= {*(self.asked or ())} or (not self.asked and positive in texts)
        if None not in values and not named:
            return self._by_number([v for v in values if v is not None])
        if self.asked:
            classes = tuple(self.asked)
        else:
            order = {t: v for t, v in zip(texts, values, strict=True) if v is not None}
            classes = tuple(sorted({*texts}, key=lambda t: (order.get(t, 0.0), t)))
        for who, text in zip(self.names, texts, strict=True):
            if text not in classes:
                self.fault("label-range", f"the label {text!r} of {who} is not in {classes}")
        if self.faults:
            return Labels(None, classes)
        return Labels(np.array([classes.index(text) for text in texts], np.int32), classes)

    def _by_number(self, numbers: list[float]) -> Labels:
        values = np.array(numbers)
        for who, value in zip(self.names, numbers, strict=True):
            if not np.isfinite(value):
                self.fault("finite", f"the label of {who} is {value}")
        if self.faults:
            return Labels(None, ())
        top = len(self.asked) - 1 if self.asked else int(values.max())
        found = sorted({*numbers})
        if not self.asked and 0 not in found and all(v == round(v) for v in found):
            shown = [f"{v:g}" for v in found]
            few = ", ".join(shown[:20]) + (", ..." if len(shown) > 20 else "")
            name = (
                f"{_CLASSES.format(shown, ' '.join(shown))} names" if len(shown) <= 20 else "name"
            )
            self.fault(
                "label-range",
                f"labels are {few}, but classes count from 0: {name} the classes in order; "
                f"{_MEASURED}",
            )
            return Labels(None, ())
        for who, value in zip(self.names, numbers, strict=True):
            if value < 0 or value > top or value != round(value):
                hint = "" if value == round(value) else f"; {_MEASURED}"
                detail = f"the label {value:g} of {who} is not in 0..{top}{hint}"
                self.fault("label-range", detail)
        classes = tuple(self.asked or (str(i) for i in range(top + 1)))
        return Labels(None if self.faults else values.astype(np.int32), classes)

    def _told_apart(self, found: Labels, positive: str) -> Labels:
        """Put one class second, and all others first."""
        if found.values is None:
            return found
        if positive not in found.classes:
            detail = f"the positive class {positive!r} is none of {found.classes}"
            self.fault("label-range", detail)
            return Labels(None, found.classes)
        others = [name for name in found.classes if name != positive]
        rest = others[0] if len(others) == 1 else f"not {positive}"
        values = (found.values == found.classes.index(positive)).astype(np.int32)
        return Labels(values, (rest, positive))


def spellings(file: str, field: str, values: Sequence[str]) -> Iterator[Fault]:
    """Find names that differ only in case or spaces and probably mean the same."""
    spelled: dict[str, list[str]] = {}
    for value in dict.fromkeys(values):
        spelled.setdefault("".join(value.casefold().split()), []).append(value)
    for names in spelled.values():
        if len(names) > 1:
            detail = f"the {field}s {', '.join(map(repr, names))}: write one of them"
            yield Fault(file, "spelling", detail)
