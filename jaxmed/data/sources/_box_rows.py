"""Annotated boxes of images as any format lists them, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data._error import DataError, Fault
from jaxmed.data.formats._read import read_space

_SLACK = 2.0  # Voxels by which an annotation may reach beyond its image without being told.
_FOLDERS = ("", "images", "JPEGImages", "img", "data", "train", "val", "test")


class BoxRow(NamedTuple):
    """One image and its boxes, as a file lists them.

    Attributes:
        image: path of the image.
        listed: what lists its boxes, for faults.
        boxes: (n, 2 * rank) lows then highs along the array's axes, voxel i covering i to i + 1.
        names: (n,) classes.
        crowd: (n,) whether each is a region in which boxes count neither way.
        split: of the image, or "".
        patient: of the image, or "".
    """

    image: Path
    listed: str
    boxes: np.ndarray
    names: tuple[str, ...]
    crowd: tuple[bool, ...] = ()
    split: str = ""
    patient: str = ""


class Boxes(NamedTuple):
    """What a format lists: its rows, faults, classes in order where it has one, and notes."""

    rows: list[BoxRow]
    faults: list[Fault]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def beside(root: Path, text: str, folders: Sequence[str] = _FOLDERS) -> Path:
    """The file of an image that a format names: by its path, or in one of the usual folders."""
    wanted = Path(text)
    places = [wanted] if wanted.is_absolute() else []
    places += [root / f / wanted for f in folders] + [root / f / wanted.name for f in folders]
    return next((p for p in places if p.is_file()), root / wanted)


def checked_rows(rows: Iterable[BoxRow]) -> tuple[list[BoxRow], list[Fault], tuple[str, ...]]:
    """Rows whose boxes lie in their images; what is wrong; notes on what was changed.

    A box without an area is left out, one that reaches beyond its image is cut there, one that is
    listed twice is counted once, and all are noted. A box whose corners are exchanged or that lies
    outside its image is a fault, and so is an image with other channels than most.
    """
    kept, faults = [], []
    empty: list[str] = []
    cut: list[str] = []
    twice: list[str] = []
    channels: dict[str, int] = {}
    for row in rows:
        if not row.image.is_file():
            detail = f"listed in {row.listed}, and there is no such image"
            faults.append(Fault(str(row.image), "exists", detail))
            continue
        try:
            space, channels[str(row.image)] = read_space(row.image)
            shape = space.shape
        except DataError as error:
            faults.extend(error.faults)
            continue
        found = _checked(row, shape, faults, empty, cut, twice)
        if found is not None:
            kept.append(found)
    notes = ()
    if empty:
        notes += (_counted(empty, "without an area", "left out"),)
    if cut:
        notes += (_counted(cut, "beyond the border of its image", "cut there"),)
    if twice:
        notes += (_counted(twice, "listed twice", "counted once"),)
    return kept, faults + _mixed(channels), notes


def _mixed(channels: dict[str, int]) -> list[Fault]:
    """Images that have other channels than most: one network does not take both."""
    if len({*channels.values()}) < 2:
        return []
    usual = Counter(channels.values()).most_common(1)[0][0]
    detail = f"channels, where most images have {usual}: save all alike, as grey or as colour"
    return [Fault(file, "shape", f"{n} {detail}") for file, n in channels.items() if n != usual]


def _counted(which: list[str], what: str, done: str) -> str:
    if len(which) == 1:
        return f"1 box {what}, which was {done}: {which[0]}"
    return f"{len(which)} boxes {what}, which were {done}: {which[0]}, ..."


def _checked(
    row: BoxRow, shape: tuple[int, ...], faults: list[Fault], empty: list[str], cut: list[str],
    twice: list[str],
) -> BoxRow | None:  # fmt: skip
    rank = len(shape)
    boxes = row.boxes if len(row.boxes) else np.zeros((0, 2 * rank), np.float32)
    if boxes.shape[1] != 2 * rank:
        detail = f"its boxes have {boxes.shape[1]} numbers each, the image has {rank} axes"
        faults.append(Fault(row.listed, "box-corners", f"{row.image.name}: {detail}"))
        return None
    low, high = boxes[:, :rank], boxes[:, rank:]
    keep = np.ones(len(boxes), bool)
    whole = len(faults)
    seen: set[tuple[float | str, ...]] = set()
    for i, name in enumerate(row.names):
        box = f"box {i + 1} ({name}, {boxes[i].round(1).tolist()})"
        if not np.isfinite(boxes[i]).all() or (high[i] < low[i]).any():
            detail = f"{box} of {row.image.name} has no corners in order"
            faults.append(Fault(row.listed, "box-corners", detail))
        elif (high[i] == low[i]).any():
            keep[i] = False
            empty.append(f"{row.listed}: {box}")
        elif (low[i] >= shape).any() or (high[i] <= 0).any():
            detail = f"{box} lies outside {row.image.name}, of {shape}"
            faults.append(Fault(row.listed, "box-inside", detail))
        elif (same := (name, *boxes[i].tolist())) in seen:
            # No detector finds one object twice.
            keep[i] = False
            twice.append(f"{row.listed}: {box}")
        else:
            seen.add(same)
            if (low[i] < -_SLACK).any() or (high[i] > np.add(shape, _SLACK)).any():
                cut.append(f"{row.listed}: {box}")
    if len(faults) > whole:
        return None
    edge = np.asarray([*shape, *shape], np.float32)
    crowd = row.crowd or (False,) * len(boxes)
    return row._replace(
        boxes=np.clip(boxes, 0, edge)[keep].astype(np.float32),
        names=tuple(n for n, k in zip(row.names, keep, strict=True) if k),
        crowd=tuple(c for c, k in zip(crowd, keep, strict=True) if k),
    )
