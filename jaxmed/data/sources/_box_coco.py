"""Boxes in COCO's JSON: one file, or one for each split."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import Fault, reading
from jaxmed.data.images._box_corners import from_coco
from jaxmed.data.sources._box_rows import Boxes, BoxRow, beside

_SPLITS = ("train", "val", "test")


def coco_files(path: Path) -> list[Path]:
    """The files of a folder, or that file, that list boxes as COCO does."""
    if path.is_file():
        return [path] if path.suffix == ".json" and _is_coco(path) else []
    found = [*path.glob("*.json"), *path.glob("annotations/*.json"), *path.glob("*/*.coco.json")]
    return [p for p in sorted(found) if _is_coco(p)]


def _is_coco(path: Path) -> bool:
    if not path.is_file():  # such as a link to a device, which has no end
        return False
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(table, dict) and {"images", "annotations"} <= {*table}


def read_coco(path: Path) -> Boxes:
    """Read the files of a folder, or one file; a file's or its folder's name tells the split."""
    files = coco_files(path)
    parts = [_read(file, split_of(file) if len(files) > 1 else "") for file in files]
    rows = [row for part in parts for row in part.rows]
    faults = [fault for part in parts for fault in part.faults]
    listed = dict.fromkeys(name for part in parts for name in part.classes)
    # Some tools write a category above all others, of which no box is in any of the files.
    used = {name for row in rows for name in row.names}
    classes = tuple(name for name in listed if name in used) or tuple(listed)
    for file, part in zip(files[1:], parts[1:], strict=True):
        if {*part.classes} - {*parts[0].classes} and {*parts[0].classes} - {*part.classes}:
            detail = f"its categories are {part.classes}, those of {files[0]} {parts[0].classes}"
            faults.append(Fault(str(file), "label-range", detail))
    return Boxes(rows, faults, classes)


def split_of(file: Path) -> str:
    """The split that a file's name, or its folder's, names; "" for none.

    >>> split_of(Path("annotations/instances_val2017.json")), split_of(Path("test/_a.coco.json"))
    ('val', 'test')
    """
    words = (file.stem.casefold(), file.parent.name.casefold())
    return next((s for word in words for s in _SPLITS if s in word), "")


def _read(file: Path, split: str) -> Boxes:
    with reading(file, "the boxes"):
        return _of_table(file, json.loads(file.read_text(encoding="utf-8")), split)


def _of_table(file: Path, table: dict[str, Any], split: str) -> Boxes:
    kinds = [(c["id"], str(c["name"])) for c in table.get("categories", ())]
    every = [(image["id"], str(image["file_name"]), image) for image in table["images"]]
    names, images = dict(kinds), {i: image for i, _, image in every}
    of: dict[Any, list[dict[str, Any]]] = {i: [] for i in images}
    # An image of which another takes the number would be lost, and its boxes be the other's.
    numbers = Counter(f"image {i}" for i, *_ in every) + Counter(f"category {k}" for k, _ in kinds)
    faults = [
        Fault(str(file), "unique", f"{n} {what.split()[0]} entries have the id {what.split()[1]}")
        for what, n in numbers.items()
        if n > 1
    ]
    for one in table["annotations"]:
        where = f"annotation {one.get('id', '?')}"
        box = one.get("bbox")
        if one.get("image_id") not in of:
            detail = f"{where} is of image {one.get('image_id')!r}, which is not among the images"
            faults.append(Fault(str(file), "table", detail))
        elif not isinstance(box, list) or len(box) != 4 or not all(
            isinstance(v, int | float) for v in box
        ):  # fmt: skip
            detail = f"{where} has no bbox of four numbers, x, y, width, height: {box!r}"
            faults.append(Fault(str(file), "box-corners", detail))
        elif one.get("category_id") not in names:
            detail = f"{where} has the category {one.get('category_id')!r}; there are {[*names]}"
            faults.append(Fault(str(file), "label-range", detail))
        else:
            of[one["image_id"]].append(one)
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    rows = [
        BoxRow(
            beside(root, name),
            str(file),
            from_coco(np.asarray([one["bbox"] for one in of[i]], float).reshape(-1, 4)),
            tuple(names[one["category_id"]] for one in of[i]),
            tuple(bool(one.get("iscrowd", 0)) for one in of[i]),
            split,
            str(image.get("patient", image.get("patient_id", ""))),
        )
        for i, name, image in {i: (i, name, image) for i, name, image in every}.values()
    ]
    # Numbers may have gaps and be text; of one name there is one class.
    order = sorted(names, key=lambda k: (isinstance(k, str), k))
    return Boxes(rows, faults, tuple(dict.fromkeys(names[k] for k in order)))
