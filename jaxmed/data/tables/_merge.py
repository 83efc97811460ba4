"""Rows of one image made one: tables that list a row for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxmed.data._error import Fault
from jaxmed.data.tables._labels import parts
from jaxmed.data.tables._table import Table

_AGREE = ("mask", "patient", "case", "split", "site")


class Merged(NamedTuple):
    """A row for each image, what was assumed, and where rows contradict each other.

    ``keep`` are the positions of the rows that are kept, the first of each image.
    """

    keep: list[int]
    notes: tuple[str, ...]
    faults: list[Fault]


def merge(table: Table, rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> Merged:
    """Keep the first row of each image, if the others say the same of what is read.

    Args:
        table: the table, for messages.
        rows: its rows, with the roles' names.
        labels: the columns of the labels.
    """
    first: dict[tuple[str, ...], int] = {}
    faults: list[Fault] = []
    for i, row in enumerate(rows):
        image = tuple(parts(row["image"]))
        at = first.setdefault(image, i)
        for column in (*labels, *_AGREE):
            if column in row and str(row[column]).strip() != str(rows[at][column]).strip():
                detail = (
                    f"rows of the image {';'.join(image)} differ in {column}: "
                    f"{rows[at][column]!r} in {table.where(at)}, {row[column]!r} in "
                    f"{table.where(i)}; leave all but one out"
                )
                faults.append(Fault(str(table.path), "unique", detail))
    less = len(rows) - len(first)
    if not less:
        return Merged([*range(len(rows))], (), faults)
    note = f"{len(rows)} rows are of {len(first)} images: {less} that repeat one are left out."
    return Merged(sorted(first.values()), (note,), faults)
