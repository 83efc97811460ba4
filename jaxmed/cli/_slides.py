"""Whole slides that a command is given: files, folders of them, tables that list them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxmed._files import files_below
from jaxmed.data import DataError, Fault
from jaxmed.data.formats import SLIDES, stem
from jaxmed.data.sources._find_files import Finder
from jaxmed.data.tables._columns import find_columns
from jaxmed.data.tables._table import TABLES, is_missing, read_table

ENDINGS = (*SLIDES, ".tif", ".tiff")


class Named(NamedTuple):
    """A slide's file, its name, and what a table says of it.

    Attributes:
        name: by which slides are told apart.
        path: the file.
        mask: the file of a picture of classes over the whole slide, or None.
        row: the other cells of the table, by column.
    """

    name: str
    path: Path
    mask: Path | None
    row: Mapping[str, str]


def named_slides(given: Sequence[Path], columns: Mapping[str, str] | None = None) -> list[Named]:
    """The slides that are named, in order.

    Args:
        given: files, folders, tables with a column `image` and perhaps `mask`.
        columns: `{role: column}` where a table's columns have other names.

    Raises:
        ValueError: a folder without a slide, or a slide twice.
        DataError: a table that cannot be read, or a file that it names and that is not there.
    """
    found: list[Named] = []
    for path in given:
        if path.suffix.lower() in TABLES and path.is_file():
            found += _listed(path, columns)
        elif path.is_dir():
            inside = [p for p in files_below(path) if p.name.lower().endswith(ENDINGS)]
            if not inside:
                raise ValueError(f"{path} has no slide: none of its files ends in "
                                 f"{', '.join(ENDINGS)}")  # fmt: skip
            found += [Named(stem(p), p, None, {}) for p in inside]
        else:
            found.append(Named(stem(path), path, None, {}))
    counts = Counter(one.path.resolve() for one in found)
    if twice := [path for path, n in counts.items() if n > 1]:
        raise ValueError(f"the slide {twice[0]} is named twice")
    # p1/slide.svs and p2/slide.svs
    counts = Counter(one.name for one in found)
    found = [
        one._replace(name=f"{one.path.resolve().parent.name}_{one.name}")
        if counts[one.name] > 1
        else one
        for one in found
    ]
    counts = Counter(one.name for one in found)
    if twice := [name for name, n in counts.items() if n > 1]:
        raise ValueError(f"{counts[twice[0]]} slides are called {twice[0]!r}: rename a folder")
    return found


def _listed(path: Path, columns: Mapping[str, str] | None) -> list[Named]:
    table = read_table(path)
    roles = find_columns(table, columns, leave=("label",)).of
    finder, faults, found = Finder(path.parent), [], []
    for i, cells in enumerate(table.rows):
        row = {**cells, **{role: cells[column] for role, column in roles.items()}}
        for role in ("image", "mask"):
            if role in row and is_missing(row[role]):
                detail = f"{table.where(i)} names no {role}"
                faults.append(Fault(str(path), "table", detail))
        if any(is_missing(row[role]) for role in ("image", "mask") if role in row):
            continue
        file = finder.find(row["image"], faults, listed=str(path))
        mask = finder.find(row["mask"], faults, listed=str(path)) if "mask" in row else None
        used = {"image", "mask", roles.get("image"), roles.get("mask")}
        rest = {name: cell for name, cell in row.items() if name not in used}
        found.append(Named(stem(file), file, mask, rest))
    if faults:
        raise DataError.of(faults)
    return found
