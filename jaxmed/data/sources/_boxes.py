"""Images with boxes around their objects: COCO, Pascal VOC, tables."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data._source import Example
from jaxmed.data.formats._read import read_image
from jaxmed.data.formats._registry import stem
from jaxmed.data.images._box_corners import Corners
from jaxmed.data.sources._box_coco import coco_files, read_coco
from jaxmed.data.sources._box_rows import Boxes, checked_rows
from jaxmed.data.sources._box_table import lists_boxes, read_box_table
from jaxmed.data.sources._box_voc import read_voc, voc_files
from jaxmed.data.tables._table import TABLES


@dataclass(frozen=True, repr=False)
class BoxSource:
    """Images with boxes; made by `box_dataset`.

    Attributes:
        name: the file or folder.
        images: the file of each image.
        boxes: of each image, (n, 2 * rank) float32, lows then highs along the array's axes in
            voxels, where voxel i covers i to i + 1.
        box_labels: of each image, (n,) int32.
        crowd: of each image, (n,) bool: regions in which boxes count neither way (COCO's crowds,
            VOC's difficult objects). They are not among the boxes of an example.
        classes: names of the classes.
        case_ids: a name per image.
        groups: a patient per image, if something names patients.
        splits: a split per image, "" where nothing tells it.
        places: how many boxes an example is padded to.
        notes: what was assumed, for a report.
    """

    name: str
    images: tuple[Path, ...]
    boxes: tuple[np.ndarray, ...]
    box_labels: tuple[np.ndarray, ...]
    crowd: tuple[np.ndarray, ...]
    classes: tuple[str, ...]
    case_ids: tuple[str, ...]
    groups: tuple[str, ...] | None
    splits: tuple[str, ...]
    places: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.told()})"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        real = ~self.crowd[index]
        boxes, labels = self.boxes[index][real], self.box_labels[index][real]
        box = np.zeros((self.places, self.boxes[index].shape[1]), np.float32)
        label = np.full(self.places, -1, np.int32)
        box[: len(boxes)], label[: len(boxes)] = boxes, labels
        image = read_image(self.images[index]).array
        return {"image": image, "box": box, "box_label": label}

    def column(self, name: str) -> np.ndarray:
        """One field of all images: boxes and labels without reading images."""
        if name not in ("box", "box_label"):
            return np.stack([self[i][name] for i in range(len(self))])
        box = np.zeros((len(self), self.places, self.boxes[0].shape[1]), np.float32)
        label = np.full((len(self), self.places), -1, np.int32)
        for i, (boxes, labels, many) in enumerate(zip(self.boxes, self.box_labels, self.crowd)):
            n = int((~many).sum())
            box[i, :n], label[i, :n] = boxes[~many], labels[~many]
        return box if name == "box" else label

    def told(self) -> str:
        """What there is, in a line."""
        counts = Counter(int(k) for labels in self.box_labels for k in labels)
        named = ", ".join(f"{name} {counts[k]}" for k, name in enumerate(self.classes))
        empty = sum(not len(b) for b in self.boxes)
        parts = [f"{len(self)} images", f"{sum(counts.values())} boxes ({named})"]
        parts += [f"{empty} images without a box"] if empty else []
        splits = Counter(s for s in self.splits if s)
        parts += [", ".join(f"{n} {name}" for name, n in splits.items())] if splits else []
        known = self.groups is not None
        parts.append(f"{len(set(self.groups or ()))} patients" if known else "no patients named")
        return f"{self.name}: {'; '.join(parts)}"

    def of_split(self, split: str) -> BoxSource:
        """The images of a split.

        Raises:
            DataError: there is none.
        """
        rows = [i for i, s in enumerate(self.splits) if s == split]
        if not rows:
            there = ", ".join(sorted({s for s in self.splits if s})) or "none"
            raise fault(self.name, "non-empty", f"no image is in split {split!r}; there is {there}")
        return self.kept(rows)

    def kept(self, rows: Sequence[int]) -> BoxSource:
        """Some of the images, in that order."""
        picked = {
            field: tuple(getattr(self, field)[i] for i in rows)
            for field in ("images", "boxes", "box_labels", "crowd", "case_ids", "splits")
        }
        groups = None if self.groups is None else tuple(self.groups[i] for i in rows)
        return replace(self, groups=groups, **picked)


def box_dataset(
    path: str | os.PathLike,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    corners: Corners = "inclusive",
    columns: Mapping[str, str] | None = None,
) -> BoxSource:
    """Open images with boxes around their objects.

    - COCO's JSON: a file, or a folder with one for each split, whose name tells it.
    - A folder of Pascal VOC: ``Annotations/*.xml``, ``JPEGImages``, ``ImageSets/Main``.
    - A table with a row a box: ``image``, ``label``, and ``xmin, ymin, xmax, ymax``, or ``x, y,
      width, height``, or, for any rank, ``low_0, low_1, ..., high_0, ...`` along the array's axes;
      ``split`` and ``patient`` where there are such. An image without an object has a row whose
      corners are empty.

    A box without an area is left out, one that reaches beyond its image is cut there, one that is
    listed twice is counted once; ``notes`` say how many. (VOC's corners that are written alike
    count as no area, though the numbers of pixels would span one: it is what a slip of the hand
    leaves.) One that lies outside its image is a fault, and so is an image of other channels than
    most have.

    Args:
        path: the file or folder.
        split: keep the images of this split.
        classes: names of the classes, in order; by default COCO's order, else the alphabet's.
        corners: what VOC's corners are: ``"inclusive"``, numbers of pixels from 1, as it defines
            them, or ``"edges"``, coordinates from the image's corner, as many tools write them.
        columns: ``{role: column}`` of a table, roles being image, label, split, patient.

    Returns:
        A source of ``image`` (*spatial, channels) float32, ``box`` (places, 2 * rank) float32 and
        ``box_label`` (places,) int32, -1 for padding.

    Raises:
        DataError: a layout that is not known, or anything malformed: all faults at once, each with
            its file and box.
    """
    source, faults = open_boxes(
        Path(path), split=split, classes=classes, corners=corners, columns=columns
    )
    if faults:
        raise DataError.of(faults)
    assert source is not None
    return source


def holds_boxes(path: Path) -> bool:
    """Whether a file or folder lists boxes in a way that is known here."""
    if path.is_file() and path.suffix.lower() in TABLES:
        return lists_boxes(path)
    return bool(coco_files(path)) or (path.is_dir() and bool(voc_files(path)))


def open_boxes(
    path: Path,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    corners: Corners = "inclusive",
    columns: Mapping[str, str] | None = None,
) -> tuple[BoxSource | None, list[Fault]]:
    """Open boxes: the source, unless they are too broken to have one, and all of their faults."""
    if not (path.is_file() or path.is_dir()):
        raise fault(path, "exists", "there is no such file or folder")
    found = _read(path, corners, columns)
    rows, faults, notes = checked_rows(found.rows)
    faults = found.faults + faults
    names = sorted({name for row in found.rows for name in row.names})
    order = tuple(classes or found.classes or names)
    unknown = [name for name in names if name not in order]
    if unknown:
        detail = f"boxes are of the class {unknown[0]!r}, which is not among {order}"
        faults.append(Fault(str(path), "label-range", detail))
    if not found.rows or not names:
        faults.append(Fault(str(path), "non-empty", "no box is listed"))
    ids = [stem(row.image) for row in rows]
    twice = Counter(row.image for row in rows)
    faults += [
        Fault(str(image), "unique", f"listed {n} times") for image, n in twice.items() if n > 1
    ]
    if faults:
        return None, faults
    if len({*ids}) < len(ids):
        ids = [str(row.image) for row in rows]
    patients = tuple(row.patient for row in rows)
    source = BoxSource(
        name=str(path),
        images=tuple(row.image for row in rows),
        boxes=tuple(row.boxes for row in rows),
        box_labels=tuple(np.array([order.index(n) for n in row.names], np.int32) for row in rows),
        crowd=tuple(np.array(row.crowd, bool) for row in rows),
        classes=order,
        case_ids=tuple(ids),
        groups=patients if all(patients) else None,
        splits=tuple(row.split for row in rows),
        places=max(1, *(len(row.boxes) for row in rows), 1),
        notes=(*found.notes, *notes),
    )
    return (source if split is None else source.of_split(split)), []


def _read(path: Path, corners: Corners, columns: Mapping[str, str] | None) -> Boxes:
    if path.is_file() and path.suffix.lower() in TABLES:
        return read_box_table(path, columns)
    if coco_files(path):
        return read_coco(path)
    if path.is_dir():
        if voc_files(path):
            return read_voc(path, corners=corners)
        tables = [p for p in sorted(path.iterdir()) if p.suffix.lower() in TABLES]
        tables = [p for p in tables if lists_boxes(p)]
        if len(tables) == 1:
            return read_box_table(tables[0], columns)
    raise fault(
        path, "table",
        "no boxes are listed in a way that is known here: COCO's JSON, VOC's Annotations/*.xml, or "
        "one table with columns image, label, xmin, ymin, xmax, ymax",
    )  # fmt: skip
