"""Boxes in a table: a row a box, true or found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data._error import DataError, Fault
from jaxmed.data.images._box_corners import from_coco, from_voc
from jaxmed.data.sources._box_rows import Boxes, BoxRow, beside
from jaxmed.data.tables._table import Table, is_missing, read_table

_EDGES = (
    ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
)  # fmt: skip
_SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
_ROLES = {
    "image": ("image", "image_path", "filename", "file_name", "file", "path", "image_id", "case"),
    "label": ("label", "class", "class_name", "cell_type", "category", "name"),
    "score": ("score", "confidence", "probability"),
    "split": ("split", "subset"),
    "patient": ("patient", "patient_id", "patientid", "subject"),
}


class BoxColumns(NamedTuple):
    """Which columns of a table hold what: corners in one of three forms, and the roles."""

    form: str
    corners: tuple[str, ...]
    of: dict[str, str]


def box_columns(table: Table, given: Mapping[str, str] | None = None) -> BoxColumns | None:
    """The columns of boxes; None for a table of something else.

    Corners are ``xmin, ymin, xmax, ymax`` or ``x1, y1, x2, y2``, coordinates from the image's
    corner; ``x, y, width, height``; or ``low_0, low_1, ..., high_0, high_1, ...`` along the array's
    axes, for any rank.
    """
    columns = {c.strip().casefold(): c for c in table.columns}
    of = {
        role: next((columns[n] for n in names if n in columns), "")
        for role, names in _ROLES.items()
    }
    of = {role: name for role, name in {**of, **(given or {})}.items() if name}
    if "image" not in of:
        return None
    for rank in (3, 2):
        wanted = [f"{end}_{axis}" for end in ("low", "high") for axis in range(rank)]
        if all(name in columns for name in wanted):
            return BoxColumns("axes", tuple(columns[name] for name in wanted), of)
    for form, sets in (("edges", _EDGES), ("size", _SIZES)):
        for names in sets:
            if all(name in columns for name in names):
                return BoxColumns(form, tuple(columns[name] for name in names), of)
    return None


def lists_boxes(path: Path) -> bool:
    """Whether a table lists boxes."""
    try:
        table = read_table(path)
    except DataError:
        return False
    return bool(table.rows) and box_columns(table) is not None


def read_box_table(path: Path, columns: Mapping[str, str] | None = None) -> Boxes:
    """Read a table of true boxes; an image without an object has a row with empty corners."""
    table = read_table(path)
    found = box_columns(table, columns)
    if found is None:
        raise table.fault(
            "no columns of boxes: image, and xmin, ymin, xmax, ymax, or x, y, width, height, or "
            f"low_0, low_1, high_0, high_1; it has {', '.join(table.columns)}"
        )
    faults: list[Fault] = []
    held: dict[str, list[tuple[np.ndarray, str]]] = {}
    about: dict[str, tuple[str, str]] = {}
    for i, row in enumerate(table.rows):
        image = str(row[found.of["image"]]).strip()
        boxes = held.setdefault(image, [])
        mine = tuple(str(row.get(found.of.get(r, ""), "") or "") for r in ("split", "patient"))
        if about.setdefault(image, (mine[0], mine[1])) != mine:
            detail = f"{table.where(i)}: {image} has {mine}, before {about[image]}"
            faults.append(Fault(str(path), "split-disjoint", detail))
        try:
            box = box_of(table, i, found)
        except DataError as error:
            faults.extend(error.faults)
            continue
        if box is not None:
            kind = row[found.of["label"]] if "label" in found.of else "object"
            if is_missing(kind):
                detail = f"{table.where(i)}: a box of {image} has no {found.of['label']}"
                faults.append(Fault(str(path), "label-range", detail))
                continue
            boxes.append((box, str(kind).strip()))
    rows = [
        BoxRow(
            beside(path.parent, image), str(path),
            np.asarray([box for box, _ in boxes], np.float32).reshape(
                len(boxes), len(found.corners)
            ),
            tuple(name for _, name in boxes), (), *about[image],
        )
        for image, boxes in held.items()
    ]  # fmt: skip
    return Boxes(rows, faults)


def box_of(table: Table, i: int, columns: BoxColumns) -> np.ndarray | None:
    """The box of a row, lows then highs along the array's axes; None for a row without one.

    Raises:
        DataError: corners of which some are missing or no numbers.
    """
    cells = [table.rows[i][c] for c in columns.corners]
    if all(is_missing(cell) for cell in cells):
        return None
    numbers = np.array([table.number(i, c) for c in columns.corners])
    if columns.form == "axes":
        return numbers.astype(np.float32)
    return from_coco(numbers) if columns.form == "size" else from_voc(numbers, corners="edges")
