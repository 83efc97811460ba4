"""Survival of the cases of tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed._csv import csv_text
from jaxmed._files import write_whole
from jaxmed.data import DataError, read_image
from jaxmed.data.formats._registry import is_image
from jaxmed.data.tables._records import read_records
from jaxmed.data.tables._table import Table, is_missing, read_table
from jaxmed.inference import SurvivalModel, prepare_image


def write(
    model: SurvivalModel, given: Sequence[Path], out: Path | None, columns: dict[str, str]
) -> int:
    """Write one row a case: its place, and the probability of being free of the event by time.

    Args:
        model: the model.
        given: tables with the columns that it learned from.
        out: the table, or a folder for `survival.csv`; by default the current one.
        columns: the table's column of the role `image`, where it has another name.

    Returns:
        0; 1 if some images could not be read, whose rows are predicted without them.

    Raises:
        ValueError: an image or a folder in the place of a table.
    """
    recipe, rows, faults = model.recipe, [], 0
    for path in given:
        if path.is_dir() or is_image(path):
            asked = ", ".join(("image",) * (recipe.image is not None) + recipe.records)
            raise ValueError(f"{path}: times are predicted of tables, with the columns {asked}")
        table = read_table(path)
        inputs, wrong, notes = _inputs(model, table, columns.get("image", "image"))
        for note in (*notes, *wrong):
            print(f"{path}: {note}", file=sys.stderr)
        faults += len(wrong)
        known = inputs["present"].any(axis=1)
        said = model.survival(inputs)
        for i in range(len(table.rows)):
            text = [f"{x:.6g}" if known[i] else "" for x in said[i]]
            rows.append([str(path), table.where(i), *text])
    file = out or Path("survival.csv")
    file = file if file.suffix and not file.is_dir() else file / "survival.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    header = ["table", "case", *(f"survival_{t:g}" for t in recipe.times)]
    write_whole(file, csv_text(header, rows))
    print(file)
    return 1 if faults else 0


def _inputs(
    model: SurvivalModel, table: Table, column: str
) -> tuple[dict[str, Any], list[str], tuple[str, ...]]:
    """What the network is given of a table, images that cannot be read, notes."""
    recipe, wrong = model.recipe, []
    arrays: dict[str, Any] = {}
    present: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if recipe.image is not None:
        blank = np.zeros((*recipe.image.shape, recipe.image.inputs), np.float32)
        found, there = [], []
        if column not in table.columns:
            notes = (f"no column {column!r}: all cases are predicted without an image",)
        for i, row in enumerate(table.rows):
            cell = row.get(column)
            image = None
            if not is_missing(cell):
                try:
                    scan = read_image(table.path.parent / str(cell), canonical=True)
                    image = prepare_image(recipe.image, scan)
                except (DataError, ValueError) as error:
                    wrong.append(f"{table.where(i)}: {error}")
            found.append(blank if image is None else image)
            there.append(image is not None)
        arrays["image"], present["image"] = np.stack(found), np.array(there)
    if recipe.records:
        read = read_records(table, recipe.records, recipe.categories)
        arrays["record"], notes = read.values, (*notes, *read.notes)
        present["record"] = np.isfinite(read.values).any(axis=1)
    here = np.stack([present[name] for name in sorted(present)], axis=1).astype(np.float32)
    return {**arrays, "present": here}, wrong, notes
