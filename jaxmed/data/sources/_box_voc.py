"""Boxes in a folder as Pascal VOC lays it: an XML file for each image."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from jaxmed.data._error import Fault, fault
from jaxmed.data.images._box_corners import Corners, from_voc
from jaxmed.data.sources._box_rows import Boxes, BoxRow, beside

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def voc_files(folder: Path) -> list[Path]:
    """The XML files of a folder, in ``Annotations`` or beside the images."""
    inside = folder / "Annotations"
    found = sorted((inside if inside.is_dir() else folder).glob("*.xml"))
    if not found or inside.is_dir():
        return found
    with found[0].open("rb") as file:  # XML of another kind may lie beside images
        return found if b"<annotation" in file.read(4096) else []


def read_voc(folder: Path, *, corners: Corners) -> Boxes:
    """Read a folder; ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt`` tell the splits."""
    splits = _splits(folder)
    rows: list[BoxRow] = []
    faults: list[Fault] = []
    for file in voc_files(folder):
        row = _read(folder, file, splits.get(file.stem, ""), corners, faults)
        if row is not None:
            rows.append(row)
    notes: tuple[str, ...] = ()
    if splits and (rest := sum(not row.split for row in rows)):
        notes = (f"{rest} image(s) are in none of the lists of ImageSets/Main.",)
    return Boxes(rows, faults, notes=notes)


def _splits(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        file = folder / "ImageSets" / "Main" / f"{split}.txt"
        if not file.is_file():
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            name = line.split()[0] if line.split() else ""
            if name and found.setdefault(name, split) != split:
                raise fault(file, "split-disjoint", f"{name} is in {found[name]}.txt too")
    return found


def _read(
    folder: Path, file: Path, split: str, corners: Corners, faults: list[Fault]
) -> BoxRow | None:
    try:
        root = ET.parse(file).getroot()
    except ET.ParseError as error:
        faults.append(Fault(str(file), "readable", f"the boxes cannot be read: {error}"))
        return None
    boxes, names, crowd = [], [], []
    for i, thing in enumerate(root.iter("object")):
        name = (thing.findtext("name") or "").strip()
        held = thing.find("bndbox")
        words = [None if held is None else held.findtext(c) for c in _CORNERS]
        try:
            numbers = [float(w or "") for w in words]
        except ValueError:
            told = f"box {i + 1} ({name}) has no numbers {', '.join(_CORNERS)}: {words}"
            faults.append(Fault(str(file), "box-corners", told))
            continue
        if not name:
            faults.append(Fault(str(file), "label-range", f"box {i + 1} has no name"))
            continue
        boxes.append(_box(numbers, corners))
        names.append(name)
        crowd.append((thing.findtext("difficult") or "0").strip() == "1")
    listed = (root.findtext("filename") or "").strip()
    image = beside(folder, listed or f"{file.stem}.jpg", ("JPEGImages", "", "images"))
    if not image.is_file():
        same = sorted((folder / "JPEGImages").glob(f"{file.stem}.*"))
        image = same[0] if len(same) == 1 else image
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return BoxRow(image, str(file), array, tuple(names), tuple(crowd), split)


def _box(numbers: list[float], corners: Corners) -> np.ndarray:
    """A box; one whose corners are the same as written has no area, whatever they mean.

    Read as the numbers of its first and last pixel it would be one pixel wide: what a slip of the
    hand leaves, and no object.
    """
    x0, y0, x1, y1 = numbers
    kind: Corners = "edges" if x0 == x1 or y0 == y1 else corners
    return from_voc(numbers, corners=kind)
