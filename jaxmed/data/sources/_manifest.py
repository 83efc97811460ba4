"""Manifests: CSV or JSONL tables of images with labels, masks, patients and sites."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data._source import Example
from jaxmed.data.formats._read import read_image, read_mask
from jaxmed.data.images._space import Scan, check_grid

Row = dict[str, Any]

_KNOWN = ("image", "label", "mask", "patient", "case", "split", "site")
# What R and pandas write where a value is missing; "nan" among numbers is found as not finite.
_MISSING = ("", "na", "n/a", "<na>")


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
        return tuple(folder / part for part in parts(self.rows[index]["image"]))

    def image(self, index: int) -> Scan:
        """Read the image of a row; several files of one grid are joined as channels."""
        paths = self.paths(index)
        scans = [read_image(path, canonical=self.canonical) for path in paths]
        first = scans[0].space._replace(header=scans[0].file.header)
        for path, scan in zip(paths[1:], scans[1:], strict=True):
            grid = scan.space._replace(header=scan.file.header)
            check_grid(path, grid, first, what="image", reference=str(paths[0]))
        return scans[0]._replace(array=np.concatenate([s.array for s in scans], axis=-1))

    def mask(self, index: int, *, like: Scan | None = None) -> Scan:
        """Read the mask of a row, checked against its image if given."""
        path = Path(self.name).parent / self.rows[index]["mask"]
        return read_mask(path, like=like, classes=self.mask_classes, canonical=self.canonical)

    def __getitem__(self, index: int) -> Example:
        scan = self.image(index)
        example: Example = {"image": scan.array, "spacing": np.asarray(scan.spacing, np.float32)}
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
    """Open a manifest, a table of images.

    Columns: ``image`` (a file, relative to the table; several, joined as channels, are separated
    by ``;`` or are a JSON list) and optionally ``label`` (a class number or name; several 0/1
    by ``;`` or as a JSON list; any number if ``regression``), ``mask`` (a file), ``patient``,
    ``case`` (a name; the image's file name by default), ``split``, ``site`` and any others, which
    `column` returns.

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
    source, faults = open_manifest(Path(path), split, classes, mask_classes, regression, canonical)
    if faults:
        raise DataError.of(faults)
    assert source is not None
    return source


def open_manifest(
    path: Path,
    split: str | None,
    classes: Sequence[str] | None,
    mask_classes: int | None,
    regression: bool,
    canonical: bool,
) -> tuple[ManifestSource | None, list[Fault]]:
    """Read a table: its source, unless it is too broken to have one, and all of its faults."""
    file = str(path)
    rows = _read(path)
    faults = _gaps(file, rows)
    names = [str(row.get("case") or Path(parts(row["image"])[0]).name) for row in rows]
    if len(set(names)) < len(names) and not all(row.get("case") for row in rows):
        names = [";".join(parts(row["image"])) for row in rows]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            faults.append(Fault(file, "unique", f"case {name} is listed twice"))
        seen.add(name)
    for row in rows:
        for field in ("image", "mask"):
            for part in parts(row[field]) if row.get(field) else ():
                if not (path.parent / part).is_file():
                    faults.append(Fault(str(path.parent / part), "exists", f"listed in {file}"))
    faults += _leaks(file, rows)
    labels = None
    if "label" in rows[0] and not any(_is_missing(row["label"]) for row in rows):
        labels, classes, wrong = _labels(file, rows, names, classes, regression)
        faults += wrong
    keep = [i for i, row in enumerate(rows) if split is None or str(row.get("split")) == split]
    if not keep:
        there = sorted({str(row.get("split")) for row in rows})
        faults.append(Fault(file, "non-empty", f"no row has split {split!r}; there are {there}"))
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
                reader = csv.DictReader(file)
                _check_columns(path, reader.fieldnames or [])
                for line, row in enumerate(reader, start=2):
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
                    _check_columns(path, list(row))
                    rows.append({k: v.strip() if isinstance(v, str) else v for k, v in row.items()})
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
    return rows


def _gaps(file: str, rows: list[Row]) -> list[Fault]:
    return [
        Fault(
            file,
            "table",
            f"row {number} ({row['image']}) has no {field}, though there is that column; fill it, "
            "or list such rows in a table of their own",
        )
        for number, row in enumerate(rows, start=1)
        for field in ("mask", "patient", "label")
        if field in row and _is_missing(row[field])
    ]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().casefold() in _MISSING)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raise for a header that would be misread."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        names = [part.strip().casefold() for column in columns for part in column.split(separator)]
        if len(names) > len(columns) and "image" in names and "image" not in columns:
            raise fault(
                path,
                "table",
                f"the columns are separated by {name} ({separator.join(columns)[:60]!r}); save "
                "the table with commas",
            )
    for column in columns:
        name = column.strip()
        if name not in _KNOWN and name.casefold() in _KNOWN:
            raise fault(path, "table", f"a column is named {name!r}; write {name.casefold()!r}")


def parts(value: Any) -> list[str]:
    """The values of a cell, which hold several by ``;`` or as a list."""
    several = value if isinstance(value, list) else str(value).split(";")
    return [str(v).strip() for v in several]


def _leaks(file: str, rows: list[Row]) -> list[Fault]:
    if "split" not in rows[0] or "patient" not in rows[0]:
        return []
    splits: dict[str, set[str]] = {}
    for row in rows:
        if _is_missing(row["patient"]):
            continue
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
    cells = [parts(row["label"]) for row in rows]
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
            hint = "" if np.all(row == np.round(row)) else "; for measurements: regression=True"
            faults.append(
                Fault(file, "label-range", f"the label {got} of {name} is not in 0..{top}{hint}")
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
