"""A manifest: a CSV or JSONL table of one's own images, with labels, masks, patients and sites."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data._source import Example
from jaxmed.data.images._scan import Scan, read_image, read_mask

Row = dict[str, Any]


@dataclass(frozen=True)
class ManifestSource:
    """The rows of a manifest; made by `manifest`."""

    name: str
    rows: tuple[Row, ...]
    labels: np.ndarray | None
    case_ids: tuple[str, ...]
    groups: tuple[str, ...] | None
    classes: tuple[str, ...]
    mask_classes: int | None
    canonical: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def paths(self, index: int) -> tuple[Path, ...]:
        """Files of the images of a row, one per modality."""
        folder = Path(self.name).parent
        return tuple(folder / part for part in _parts(self.rows[index]["image"]))

    def image(self, index: int) -> Scan:
        """Read the image of a row; several files are joined as channels."""
        paths = self.paths(index)
        scans = [read_image(path, canonical=self.canonical) for path in paths]
        for path, scan in zip(paths[1:], scans[1:], strict=True):
            if scan.space.shape != scans[0].space.shape:
                raise fault(
                    path, "shape", f"{scan.space.shape}, but {paths[0]} is {scans[0].space.shape}"
                )
        return scans[0]._replace(array=np.concatenate([s.array for s in scans], axis=-1))

    def mask(self, index: int, *, like: Scan | None = None) -> Scan:
        """Read the mask of a row, held against its image if that is given."""
        path = Path(self.name).parent / self.rows[index]["mask"]
        return read_mask(path, like=like, classes=self.mask_classes, canonical=self.canonical)

    def __getitem__(self, index: int) -> Example:
        scan = self.image(index)
        example: Example = {"image": scan.array, "spacing": np.float32(scan.spacing)}
        if self.labels is not None:
            example["label"] = self.labels[index]
        if "mask" in self.rows[index]:
            example["mask"] = self.mask(index, like=scan).array
        return example

    def column(self, name: str) -> np.ndarray:
        """Read one column of the table, such as ``site``; ``label`` as numbers."""
        if name == "label" and self.labels is not None:
            return self.labels
        if name not in self.rows[0]:
            raise KeyError(f"{self.name} has columns {sorted(self.rows[0])}, not {name!r}")
        return np.asarray([row[name] for row in self.rows])


def manifest(
    path: str | os.PathLike,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    mask_classes: int | None = None,
    regression: bool = False,
    canonical: bool = False,
) -> ManifestSource:
    """Open a table of one's own images.

    Columns: ``image`` (a file, relative to the table; several, joined as channels, are separated
    by ``;`` or are a JSON list) and, as there are, ``label`` (a class number or name; several 0/1
    by ``;`` or as a JSON list; any number if ``regression``), ``mask`` (a file), ``patient``,
    ``case`` (a name; the image's file name by default), ``split``, ``site`` and what else one
    likes, which `column` gives back.

    Args:
        path: A ``.csv`` (with a header) or ``.jsonl`` file.
        split: Keep the rows with this value in the column ``split``. Wherever that column exists,
            a patient in two splits is refused.
        classes: Names of the classes; by default the sorted names in ``label``, or as many numbers
            as the largest label asks for.
        mask_classes: Number of classes of the masks, background included.
        regression: Whether ``label`` holds measurements.
        canonical: Whether volumes are turned to RAS+.

    Returns:
        A source of ``image`` (*spatial, channels) float32, ``spacing``, ``label`` and ``mask``.

    Raises:
        DataError: Anything malformed in the table, all faults at once. The images are read one by
            one later (`in_memory` reads them all; `check` lists the faults of all).
    """
    source, faults = _open(Path(path), split, classes, mask_classes, regression, canonical)
    if faults:
        raise DataError.of(faults)
    assert source is not None
    return source


def check_manifest(path: Path) -> Iterator[Fault]:
    """List the faults of a table and of every file it names."""
    source, faults = _open(path, None, None, None, _numeric_fractions(path), False)
    yield from faults
    if source is None:
        return
    channels = 0
    for index in range(len(source)):
        scan = None
        try:
            scan = source.image(index)
            channels = channels or scan.array.shape[-1]
            if scan.array.shape[-1] != channels:
                detail = f"{scan.array.shape[-1]} channels, other images have {channels}"
                yield Fault(str(source.paths(index)[0]), "shape", detail)
        except DataError as error:
            yield from (f for f in error.faults if f.rule != "exists")
        if "mask" in source.rows[index]:
            try:
                source.mask(index, like=scan)
            except DataError as error:
                yield from (f for f in error.faults if f.rule != "exists")


def _open(
    path: Path,
    split: str | None,
    classes: Sequence[str] | None,
    mask_classes: int | None,
    regression: bool,
    canonical: bool,
) -> tuple[ManifestSource | None, list[Fault]]:
    file = str(path)
    rows = _read(path)
    faults = []
    names = [str(row.get("case") or Path(_parts(row["image"])[0]).name) for row in rows]
    if len(set(names)) < len(names) and not all(row.get("case") for row in rows):
        names = [";".join(_parts(row["image"])) for row in rows]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            faults.append(Fault(file, "unique", f"case {name} is listed twice"))
        seen.add(name)
    for row in rows:
        for field in ("image", "mask"):
            for part in _parts(row[field]) if row.get(field) else ():
                if not (path.parent / part).is_file():
                    faults.append(Fault(str(path.parent / part), "exists", f"listed in {file}"))
    faults += _leaks(file, rows)
    labels = None
    if "label" in rows[0]:
        labels, classes, wrong = _labels(file, rows, names, classes, regression)
        faults += wrong
    keep = [i for i, row in enumerate(rows) if split is None or str(row.get("split")) == split]
    if not keep:
        there = sorted({str(row.get("split")) for row in rows})
        faults.append(Fault(file, "non-empty", f"no row has split {split!r}; there are {there}"))
    if any(f.rule in ("non-empty", "label-range", "table", "finite") for f in faults):
        return None, faults
    patients = [str(rows[i]["patient"]) for i in keep] if "patient" in rows[0] else None
    source = ManifestSource(
        name=file,
        rows=tuple(rows[i] for i in keep),
        labels=None if labels is None else labels[keep],
        case_ids=tuple(names[i] for i in keep),
        groups=None if patients is None else tuple(patients),
        classes=tuple(classes or ()),
        mask_classes=mask_classes,
        canonical=canonical,
    )
    return source, faults


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        raise fault(path, "exists", "there is no such manifest")
    rows: list[Row] = []
    try:
        if path.suffix.lower() == ".csv":
            with open(path, newline="", encoding="utf-8-sig") as file:
                for line, row in enumerate(csv.DictReader(file), start=2):
                    if None in row or None in row.values():
                        raise fault(
                            path, "table", f"line {line} has not as many cells as the header"
                        )
                    rows.append({k.strip(): v.strip() for k, v in row.items()})
        else:
            for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if text.strip():
                    row = json.loads(text)
                    if not isinstance(row, dict):
                        raise fault(path, "table", f"line {line} is no JSON object")
                    rows.append(row)
    except (OSError, csv.Error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise fault(path, "readable", f"not a CSV or JSONL table: {error}") from error
    if not rows:
        raise fault(path, "non-empty", "the manifest has no rows")
    for number, row in enumerate(rows, start=1):
        if set(row) != set(rows[0]):
            raise fault(
                path, "table", f"row {number} has columns {sorted(row)}, row 1 {sorted(rows[0])}"
            )
        if not row.get("image"):
            raise fault(path, "table", f"row {number} names no image; columns are {sorted(row)}")
        for field in ("mask", "patient"):
            if field in row and row[field] in ("", None):
                detail = f"row {number} names no {field}, though there is that column"
                raise fault(path, "table", detail)
    return rows


def _parts(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else str(value).split(";")


def _leaks(file: str, rows: list[Row]) -> list[Fault]:
    if "split" not in rows[0] or "patient" not in rows[0]:
        return []
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(str(row["patient"]), set()).add(str(row["split"]))
    return [
        Fault(file, "split-disjoint", f"patient {patient} is in {' and '.join(sorted(where))}")
        for patient, where in splits.items()
        if len(where) > 1
    ]


def _labels(
    file: str,
    rows: list[Row],
    names: list[str],
    classes: Sequence[str] | None,
    regression: bool,
) -> tuple[np.ndarray | None, tuple[str, ...], list[Fault]]:
    cells = [_parts(row["label"]) for row in rows]
    if len({len(cell) for cell in cells}) > 1:
        sizes = sorted({len(cell) for cell in cells})
        return None, (), [Fault(file, "table", f"rows have {sizes} labels: give all the same")]
    numbers = [[_number(v) for v in cell] for cell in cells]
    several = len(cells[0]) > 1
    faults = []
    if any(v is None for row in numbers for v in row):
        if several or regression:
            bad = next(n for n, row in zip(names, numbers, strict=True) if None in row)
            return None, (), [Fault(file, "table", f"the label of {bad} is no number")]
        known = tuple(classes) if classes else tuple(sorted({cell[0] for cell in cells}))
        for name, cell in zip(names, cells, strict=True):
            if cell[0] not in known:
                faults.append(
                    Fault(file, "label-range", f"the label {cell[0]!r} of {name} is not in {known}")
                )
        if faults:
            return None, known, faults
        return np.array([known.index(cell[0]) for cell in cells], np.int32), known, []
    values = np.array(numbers, float)
    for name, row in zip(names, values, strict=True):
        if not np.all(np.isfinite(row)):
            faults.append(Fault(file, "finite", f"the label of {name} is {row.tolist()}"))
    if faults:
        return None, (), faults
    if regression:
        return (values if several else values[:, 0]).astype(np.float32), (), []
    top = 1 if several else (len(classes) - 1 if classes else int(values.max()))
    for name, row in zip(names, values, strict=True):
        if np.any((row < 0) | (row > top) | (row != np.round(row))):
            got = row.tolist() if several else row[0]
            faults.append(
                Fault(file, "label-range", f"the label {got} of {name} is not one of 0..{top}")
            )
    count = len(cells[0]) if several else top + 1
    known = tuple(classes) if classes else tuple(str(i) for i in range(count))
    if several and len(known) != count:
        faults.append(Fault(file, "label-range", f"{count} labels a row for classes {known}"))
    if faults:
        return None, known, faults
    return (values if several else values[:, 0]).astype(np.int32), known, []


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _numeric_fractions(path: Path) -> bool:
    """Whether the labels of a table can only be measurements (for `check`, which is not told)."""
    rows: Sequence[Mapping[str, Any]] = _read(path)
    if "label" not in rows[0]:
        return False
    values = [_number(v) for row in rows for v in _parts(row["label"])]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return len(finite) == len(values) and any(v != round(v) for v in finite)
