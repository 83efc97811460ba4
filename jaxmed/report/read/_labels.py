"""Labels as people write them: numbers, names, pairs of numbers, several in a cell."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

from jaxmed.data import Fault
from jaxmed.data.tables._table import Table, is_missing, number
from jaxmed.report.read._cells import numbers, row_fault

# Of two names, what the other is the opposite of.
_NEGATIVE = {
    "no", "n", "negative", "neg", "benign", "normal", "healthy", "control", "absent", "none",
    "false", "without", "low",
}  # fmt: skip


class Labels(NamedTuple):
    """Labels, what is wrong with them, names of the classes, and lines on what was assumed."""

    values: np.ndarray
    faults: list[Fault]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def of_classes(table: Table, order: Sequence[int], label: str, classes: Sequence[str]) -> Labels:
    """Read labels of classes with a score each: by name, by number, or several in a cell.

    Labels that are all words, of no class, are one fault.
    """
    position = {name: i for i, name in enumerate(classes)}
    cells = {i: table.rows[i][label] for i in order}
    if all(text in position for text in cells.values()):
        return Labels(np.array([position[text] for text in cells.values()]), [])
    several = {i: _parts(text) for i, text in cells.items()}
    if any(len(parts) > 1 for parts in several.values()) and all(
        part in position for parts in several.values() for part in parts
    ):
        values = np.array([[name in parts for name in classes] for parts in several.values()], int)
        empty = sum(not parts for parts in several.values())
        note = f"in {empty} rows {label!r} is empty, which is read as none of the classes"
        return Labels(values, [], notes=(note,) * (empty > 0))
    found, faults = numbers(table, order, [label])
    values = found[:, 0]
    if not faults:
        return Labels(_whole(values), [])
    words = _words(table, cells)
    if not words:
        return Labels(values, faults)
    others = [fault for fault in faults if "not a number" not in fault.detail]
    use = f"the classes of the scores are {', '.join(classes)}: use their names or numbers"
    wrong = {i: text for i, text in words.items() if text not in position}
    if len(wrong) == len(words):  # Words of no class: all of them, or several classes in a cell.
        wrong = {i: text for i, text in words.items() if _is_several(text, position)}
    if wrong:
        each = [
            row_fault(table, i, _wrong(label, text, position, use)) for i, text in wrong.items()
        ]
        return Labels(values, [*others, *each])
    return Labels(values, [*others, *table.fault(_are_names(words.values(), use)).faults])


def of_one_score(
    table: Table, order: Sequence[int], label: str, *, positive: str = "", of: str = ""
) -> Labels:
    """Read labels that one score is of: 0 and 1, two other numbers, two names, or measurements.

    Args:
        table: where they stand.
        order: its rows.
        label: the column.
        positive: the label that the score is of. By default the larger of two numbers; of two
            names the one that is not a usual word for the negative (`benign`, `no`, `control`), and
            else the last in the order of the alphabet.
        of: the NAME of a column of scores `score_NAME`, which is the positive label then.
    """
    cells = {i: table.rows[i][label] for i in order}
    words = _words(table, cells)
    asked = positive or of
    if words and len(words) < len(cells):
        values, faults = numbers(table, order, [label])
        missing = [fault for fault in faults if "not a number" not in fault.detail]
        if len(words) + len(missing) < len(cells):
            told = table.fault(_are_names(words.values(), _ZERO_ONE)).faults
            return Labels(values[:, 0], [*missing, *told])
        return Labels(values[:, 0], missing)
    if not words:
        found, faults = numbers(table, order, [label])
        return _of_numbers(table, found[:, 0], faults, label, positive, of)
    names = sorted(set(words.values()))
    if len(names) > 2:
        return Labels(np.zeros(len(cells)), list(table.fault(_are_names(names, _ZERO_ONE)).faults))
    if asked and asked not in names and len(names) == 2:
        return Labels(np.zeros(len(cells)), [_no_such(table, label, names, positive or of)])
    negative = [name for name in names if name.casefold() in _NEGATIVE]
    if len(names) == 1:
        if not asked and not negative:
            detail = f"all of {label!r} is {names[0]!r}: say with --positive what the score is of"
            return Labels(np.zeros(len(cells)), list(table.fault(detail).faults))
        is_it = asked == names[0]
        classes = (f"not {names[0]}", names[0]) if is_it else (names[0], asked or f"not {names[0]}")
        return Labels(np.full(len(cells), int(is_it)), [], classes)
    chosen = asked or (names[1 - names.index(negative[0])] if len(negative) == 1 else names[1])
    other = names[1 - names.index(chosen)]
    note = f"{chosen!r} of {label!r} is taken as positive, what the score is of; --positive says so"
    return Labels(
        np.array([int(text == chosen) for text in cells.values()]),
        [], (other, chosen), (note,) * (not asked),
    )  # fmt: skip


def of_calls(
    table: Table, order: Sequence[int], label: str, calls: Sequence[str], *, positive: str = ""
) -> tuple[Labels, np.ndarray]:
    """Read labels and predicted classes, both by name; return the scores 0 and 1 too.

    Args:
        table: where the labels stand.
        order: its rows.
        label: the column.
        calls: (cases,) names of the predicted classes.
        positive: of two classes, as in `of_one_score`.
    """
    truth = [str(table.rows[i][label]) for i in order]
    faults = [
        row_fault(table, i, f"{label} is missing ({text!r}); leave the row out, or fill it in")
        for i, text in zip(order, truth)
        if is_missing(text)
    ]
    if faults:
        return Labels(np.zeros(len(truth)), faults), np.zeros((len(truth), 2))
    truth, calls = _alike(truth), _alike(calls)
    names = sorted({*truth, *calls}, key=lambda text: (_as_number(text), text))
    notes: tuple[str, ...] = ()
    if len(names) == 1:
        names = [f"not {names[0]}", names[0]]
    if len(names) == 2:
        if positive and positive not in names:
            return Labels(
                np.zeros(len(truth)), [_no_such(table, label, names, positive)]
            ), np.zeros((len(truth), 2))
        negative = [name for name in names if name.casefold() in _NEGATIVE]
        chosen = positive or (negative and names[1 - names.index(negative[0])]) or names[1]
        names = [next(n for n in names if n != chosen), chosen]
        if not positive and set(names) != {"0", "1"}:
            notes = (f"{chosen!r} of {label!r} is taken as positive; --positive says so",)
    position = {name: i for i, name in enumerate(names)}
    values = np.array([position[text] for text in truth])
    scores = np.eye(len(names))[[position[text] for text in calls]]
    return Labels(values, [], tuple(names), notes), scores


def of_tasks(
    table: Table, order: Sequence[int], tasks: Sequence[str], unknown: Sequence[str] = ()
) -> Labels:
    """Read labels of several tasks, (rows, tasks): 0, 1, or NaN where they are not known.

    Args:
        table: where they stand.
        order: its rows.
        tasks: the columns.
        unknown: what else than an empty cell stands for a label that is not known, such as `-1`.
    """
    values = np.full((len(order), len(tasks)), np.nan)
    odd: dict[str, list[tuple[int, str]]] = {}
    for at, i in enumerate(order):
        for j, task in enumerate(tasks):
            cell = table.rows[i][task]
            if is_missing(cell) or any(_same(str(cell), other) for other in unknown):
                continue
            value = number(cell, decimal_comma=table.decimal_comma)
            if value not in (0, 1):
                odd.setdefault(str(cell), []).append((i, task))
            else:
                values[at, j] = value
    faults = []
    for cell, places in odd.items():
        (i, task), *more = places
        others = ", ".join(dict.fromkeys(column for _, column in places))
        also = f" (and {len(more)} more cells of {others})" * bool(more)
        detail = (
            f"{table.where(i)}: {task} is {cell}, neither 0 nor 1{also}; if that means not known, "
            f"say so by --unknown {cell}, and each label is measured on its other cases"
        )
        faults += table.fault(detail).faults
    left = int(np.isnan(values).sum())
    note = f"{left} labels are not known: each metric is over the cases where its label is"
    if not left:
        values = values.astype(int)
    return Labels(values, faults, notes=(note,) * (left > 0))


_ZERO_ONE = (
    "write 0 and 1 (1 is the class that the score is of), or one column of scores for each class, "
    "called by its name"
)


def _of_numbers(
    table: Table, values: np.ndarray, faults: list[Fault], label: str, positive: str, of: str
) -> Labels:
    distinct = np.unique(values[np.isfinite(values)])
    whole = np.array_equal(distinct, np.round(distinct))
    if faults or not whole:
        return Labels(_whole(values) if whole and not faults else values, faults)
    if positive:
        chosen = number(positive)
        if chosen is None or len(distinct) > 2 or (len(distinct) == 2 and chosen not in distinct):
            return Labels(values, [_no_such(table, label, [f"{v:g}" for v in distinct], positive)])
        others = [f"{v:g}" for v in distinct if v != chosen] or [f"not {chosen:g}"]
        return Labels((values == chosen).astype(int), [], (others[0], f"{chosen:g}"))
    if set(distinct) <= {0, 1} or len(distinct) > 2:
        return Labels(_whole(values), [])
    if len(distinct) == 1:
        if distinct[0] != -1:
            return Labels(_whole(values), [])
        return Labels(np.zeros(len(values), int), [], ("-1", "1"))
    low, high = (f"{v:g}" for v in distinct)
    note = (
        f"the labels of {label!r} are {low} and {high}: {high} is taken as positive, what the "
        "score is of; --positive says so"
    )
    return Labels((values == distinct[1]).astype(int), [], (low, high), (note,))


def _whole(values: np.ndarray) -> np.ndarray:
    return values.astype(int) if np.array_equal(values, np.round(values)) else values


def _no_such(table: Table, label: str, names: Sequence[str], positive: str) -> Fault:
    detail = f"--positive is {positive!r}, but the labels of {label!r} are {', '.join(names[:6])}"
    return table.fault(detail).faults[0]


def _as_number(text: str) -> float:
    value = number(text)
    return np.inf if value is None else value


def _alike(cells: Sequence[str]) -> list[str]:
    """Whole numbers as such: 1.0 and 1 are one class."""
    values = [number(text) for text in cells]
    return [
        f"{value:g}" if value is not None and value == round(value) else text
        for text, value in zip(cells, values)
    ]


def _same(cell: str, other: str) -> bool:
    a, b = number(cell), number(other)
    return cell.strip() == other or (a is not None and a == b)


def _words(table: Table, cells: dict[int, str]) -> dict[int, str]:
    """The cells that are neither numbers nor missing."""
    return {
        i: text
        for i, text in cells.items()
        if not is_missing(text) and number(text, decimal_comma=table.decimal_comma) is None
    }


def _are_names(words: Sequence[str] | object, do: str) -> str:
    shown = ", ".join(sorted(set(words))[:4])  # pyright: ignore[reportArgumentType]
    return f"the labels are names ({shown}): {do}"


def _parts(text: str) -> list[str]:
    """The names in a cell, between bars, semicolons or commas."""
    parts = text.replace(",", "|").replace(";", "|").split("|")
    return [part.strip() for part in parts if part.strip()]


def _is_several(text: str, classes: Container[str]) -> bool:
    parts = _parts(text)
    return len(parts) > 1 and all(part in classes for part in parts)


def _wrong(label: str, text: str, classes: Container[str], use: str) -> str:
    if _is_several(text, classes):
        return (
            f"{label} is {text!r}, several classes in one cell: write one column {label}_NAME of 0 "
            "and 1 for each class"
        )
    return f"{label} is {text!r}; {use}"
