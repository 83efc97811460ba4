"""Boxes that any framework found, paired with the true ones by image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data import BoxSource
from jaxmed.data._error import fault, reading
from jaxmed.data.formats import stem
from jaxmed.data.images._box_corners import from_coco
from jaxmed.data.sources._box_table import box_columns, box_of
from jaxmed.data.tables._table import TABLES, read_table

Held = dict[str, list[tuple[np.ndarray, float, str]]]


class BoxTable(NamedTuple):
    """Boxes found, one array for each image of a reference, in its order.

    Attributes:
        boxes: (n, 2 * rank) each, lows then highs.
        scores: (n,) each.
        labels: (n,) each.
        missing: names of images of which the file says nothing, although it could: a table by a
            row without corners, COCO's JSON by its list of images. COCO's list of results cannot,
            and has none missing.
    """

    boxes: list[np.ndarray]
    scores: list[np.ndarray]
    labels: list[np.ndarray]
    missing: tuple[str, ...]


def holds_found_boxes(path: str | os.PathLike) -> bool:
    """Whether a file is of boxes with scores: a table, or JSON as COCO has it."""
    file = Path(path)
    if file.suffix == ".json":
        return True
    if file.suffix.lower() not in TABLES or not file.is_file():
        return False
    table = read_table(file)
    found = box_columns(table) if table.rows else None
    return found is not None and "score" in found.of


def read_found_boxes(path: str | os.PathLike, reference: BoxSource) -> BoxTable:
    """Read boxes with scores, and put them beside the images of a reference.

    Args:
        path: a table with a row a box, ``image``, ``label``, ``score`` and corners in any of the
            forms of :func:`jaxmed.data.box_dataset`; COCO's list of results; or COCO's JSON whose
            annotations have a ``score``.
        reference: the true boxes. Images are told by the names of their files, without endings; in
            COCO's list of results by the numbers of the reference's own file.

    Returns:
        The boxes.

    Raises:
        DataError: an image or a class that the reference has not, a box without a score; names it.
    """
    file = Path(path)
    if not file.is_file():
        raise fault(file, "exists", "there is no such file")
    held = _of_json(file, reference) if file.suffix == ".json" else _of_table(file)
    places = [Path(image) for image in reference.images]
    rank = next((b.shape[1] // 2 for b in reference.boxes if len(b)), 2)
    boxes: list[list[Any]] = [[] for _ in reference.images]
    told: set[int] = set()
    by_name: dict[str, list[int]] = {}
    for i, place in enumerate(places):
        by_name.setdefault(stem(place), []).append(i)
    for image, rows in held.items():
        at = _which(file, image, by_name, places, reference.name)
        told.add(at)
        for box, score, label in rows:
            if len(box) != 2 * rank or not (box[rank:] >= box[:rank]).all():
                detail = f"a box of {image} has no corners of {rank} axes in order"
                raise fault(file, "box-corners", f"{detail}: {np.round(box, 2).tolist()}")
            if label not in reference.classes:
                detail = f"a box of {image} is of {label!r}, not of {reference.classes}"
                raise fault(file, "label-range", detail)
            boxes[at].append((box, score, reference.classes.index(label)))
    missing = tuple(name for i, name in enumerate(reference.case_ids) if i not in told)
    if file.suffix == ".json" and _is_list(file):
        missing = ()
    return BoxTable(
        [np.array([b for b, _, _ in r], np.float64).reshape(-1, 2 * rank) for r in boxes],
        [np.array([s for _, s, _ in r], np.float64) for r in boxes],
        [np.array([k for _, _, k in r], np.int32) for r in boxes],
        missing,
    )


def _which(
    file: Path, image: str, by_name: Mapping[str, list[int]], places: list[Path], name: str
) -> int:
    """The position of an image that a file names: by its name, and where that is of several by
    the folders before it too.
    """
    found = by_name.get(stem(Path(image)), [])
    if not found:
        detail = f"boxes are of {image!r}, which is not among the {len(places)} images there"
        raise fault(file, "same-cases", f"{detail} of {name}")
    if len(found) > 1:
        parts = Path(image).parts[:-1]
        found = [i for i in found if places[i].parts[:-1][-len(parts) :] == parts or not parts]
    if len(found) != 1:
        detail = f"boxes are of {image!r}, which several images of {name} are called"
        raise fault(file, "same-cases", f"{detail}: write their folders too")
    return found[0]


def _is_list(file: Path) -> bool:
    """Whether JSON is COCO's list of results, which names no image without a box."""
    with file.open(encoding="utf-8") as held:
        return held.read(64).lstrip().startswith("[")


def _of_table(file: Path) -> Held:
    table = read_table(file)
    found = box_columns(table)
    if found is None or not {"score", "label"} <= {*found.of}:
        raise table.fault(
            "boxes found have the columns image, label, score, and corners such as xmin, ymin, "
            f"xmax, ymax or low_0, low_1, high_0, high_1; it has {', '.join(table.columns)}"
        )
    held: Held = {}
    for i, row in enumerate(table.rows):
        rows = held.setdefault(str(row[found.of["image"]]).strip(), [])
        box = box_of(table, i, found)
        if box is not None:
            label = str(row[found.of["label"]]).strip()
            rows.append((box, table.number(i, found.of["score"]), label))
    return held


def _of_json(file: Path, reference: BoxSource) -> Held:
    with reading(file, "the boxes"):
        return _of_list(file, json.loads(file.read_text(encoding="utf-8")), reference)


def _of_list(file: Path, table: Any, reference: BoxSource) -> Held:
    """The boxes of COCO's whole JSON, or of its list of results."""
    if isinstance(table, Mapping):
        whole, rows = table, table.get("annotations", ())
    else:
        whole, rows = _reference(reference, file), table
    names = {c["id"]: str(c["name"]) for c in whole.get("categories", ())}
    images = {i["id"]: str(i["file_name"]) for i in whole.get("images", ())}
    held: Held = {name: [] for name in images.values()} if isinstance(table, Mapping) else {}
    for n, one in enumerate(rows):
        image, kind = images.get(one.get("image_id")), names.get(one.get("category_id"))
        score, box = one.get("score"), one.get("bbox")
        if image is None or kind is None:
            what = "image_id" if image is None else "category_id"
            detail = f"box {n + 1} has the {what} {one.get(what)!r}, which is not listed"
            raise fault(file, "same-cases" if image is None else "label-range", detail)
        if not isinstance(score, int | float) or not isinstance(box, list) or len(box) != 4:
            detail = f"box {n + 1} of {image} has no bbox of four numbers with a score"
            raise fault(file, "box-corners", detail)
        held.setdefault(image, []).append((from_coco(box), float(score), kind))
    return held


def _reference(reference: BoxSource, file: Path) -> Mapping[str, Any]:
    """The reference's own JSON, by whose numbers a list of results names images and classes."""
    source = Path(reference.name)
    if source.suffix != ".json":
        detail = f"its boxes name images by numbers, which {source} has not"
        raise fault(file, "same-cases", f"{detail}: give COCO's own JSON as the reference")
    return json.loads(source.read_text(encoding="utf-8"))
