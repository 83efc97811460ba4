"""Manifests: tables of images with labels, masks, patients and sites."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data._source import Example
from jaxmed.data.formats._picture import read_labels
from jaxmed.data.formats._read import read_channels, read_mask
from jaxmed.data.formats._registry import spaced
from jaxmed.data.images._mask_labels import MaskLabels
from jaxmed.data.images._space import Scan, Space, check_grid
from jaxmed.data.sources._find_files import Finder
from jaxmed.data.sources._segment_names import segment_classes
from jaxmed.data.tables._columns import find_columns, label_columns
from jaxmed.data.tables._labels import find_labels, parts, spellings
from jaxmed.data.tables._merge import merge
from jaxmed.data.tables._table import Table, is_missing, read_table

Row = dict[str, Any]

_SPLITS = (
    "train", "training", "val", "valid", "validation", "dev", "test", "testing", "tuning",
    "tune", "holdout", "calibration", "internal", "external",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class ManifestSource:
    """Images listed in a table or found in a folder; made by `manifest` and `dataset`.

    Attributes:
        name: the table or folder.
        rows: all cells of each image's row, as text.
        images: the files of each image, one per modality.
        masks: the file of each image's mask, if there are masks.
        labels: as `manifest` returns them, if there are labels.
        known: which of several labels are known, if not all are.
        case_ids: a name per image.
        groups: a patient per image, if the table names patients.
        classes: names of the labels' classes.
        mask_labels: what the masks' numbers mean.
        channels: names of the image's channels, where something names them.
        canonical: whether volumes are turned to RAS+.
        notes: what was assumed, for a report.
    """

    name: str
    rows: tuple[Row, ...]
    images: tuple[tuple[Path, ...], ...]
    masks: tuple[Path, ...] | None
    labels: np.ndarray | None
    known: np.ndarray | None
    case_ids: tuple[str, ...]
    groups: tuple[str, ...] | None
    classes: tuple[str, ...]
    mask_labels: MaskLabels = field(default_factory=MaskLabels)
    channels: tuple[str, ...] = ()
    canonical: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        what = [f"{len(self)} images"]
        if self.labels is not None:
            what.append(f"labels {_few(self.classes)}" if self.classes else "measurements")
        if self.masks is not None:
            names = self.mask_labels.classes
            what.append(f"masks of {_few(names)}" if names else "masks")
        if self.groups is not None:
            what.append(f"{len(set(self.groups))} patients")
        return f"{type(self).__name__}({self.name}: {', '.join(what)})"

    def __len__(self) -> int:
        return len(self.rows)

    def paths(self, index: int) -> tuple[Path, ...]:
        """Files of the images of a row, one per modality."""
        return self.images[index]

    def image(self, index: int, *, canonical: bool | None = None) -> Scan:
        """Read the image of a row; several files of one grid are joined as channels."""
        turned = self.canonical if canonical is None else canonical
        return read_channels(self.paths(index), canonical=turned)

    def mask(self, index: int, *, like: Scan | None = None, canonical: bool | None = None) -> Scan:
        """Read the mask of a row, checked against its image if given."""
        return self.mask_and_known(index, like=like, canonical=canonical)[0]

    def mask_and_known(
        self, index: int, *, like: Scan | None = None, canonical: bool | None = None
    ) -> tuple[Scan, np.ndarray | None]:
        """Read the mask of a row, and which voxels are labelled, None where all are."""
        if self.masks is None:
            raise fault(self.name, "table", "there are no masks")
        path = self.masks[index]
        turned = self.canonical if canonical is None else canonical
        if self.mask_labels.colours:
            samples = read_labels(path).samples
            array, known = self.mask_labels.read(path, samples)
            space = Space(array.shape, np.eye(array.ndim + 1))
            if like is not None:
                check_grid(path, space, like.space._replace(header=like.file.header))
            return Scan(array, space.affine, space), known
        scan = read_mask(path, like=like, canonical=turned)
        array, known = self.mask_labels.read(path, scan.array)
        return scan._replace(array=array), known

    def __getitem__(self, index: int) -> Example:
        scan = self.image(index)
        example: Example = {
            "image": scan.array,
            "spacing": np.asarray(scan.spacing, np.float32),
            "affine": np.float32(scan.affine),
        }
        if self.labels is not None:
            example["label"] = self.labels[index]
        if self.known is not None:
            example["label_known"] = self.known[index]
        if self.masks is not None:
            mask, known = self.mask_and_known(index, like=scan)
            example["mask"] = mask.array
            if self.mask_labels.ignore is not None:
                example["mask_known"] = np.ones(mask.array.shape, bool) if known is None else known
        return example

    def column(self, name: str) -> np.ndarray:
        """Read one column of the table, such as ``site``; ``label`` as numbers."""
        if name == "label" and self.labels is not None:
            return self.labels
        if name == "label_known" and self.known is not None:
            return self.known
        if name not in self.rows[0]:
            raise KeyError(f"{self.name} has columns {sorted(self.rows[0])}, not {name!r}")
        return np.asarray([row[name] for row in self.rows])

    def where(self, keep: Sequence[int]) -> ManifestSource:
        """Keep some images, in the order given."""

        def some(values: Any) -> Any:
            return None if values is None else tuple(values[i] for i in keep)

        kept = np.asarray(keep, int)
        return replace(
            self,
            rows=some(self.rows),
            images=some(self.images),
            masks=some(self.masks),
            labels=None if self.labels is None else self.labels[kept],
            known=None if self.known is None else self.known[kept],
            case_ids=some(self.case_ids),
            groups=some(self.groups),
        )


def _few(names: tuple[str, ...]) -> str:
    return str(names) if len(names) <= 6 else f"({', '.join(map(repr, names[:4]))}, ...)"


def manifest(
    path: str | os.PathLike,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    mask_classes: int | None = None,
    mask_labels: MaskLabels | None = None,
    regression: bool = False,
    canonical: bool = False,
    merge_rows: bool = False,
) -> ManifestSource:
    """Open a manifest, a table of images.

    Columns: ``image`` (a file, relative to the table; several, joined as channels, are separated
    by ``;`` or are a JSON list; a name without ending is looked for beside the table and in the
    folders there) and optionally ``label`` (a class number or name; several 0/1 by ``;`` or as a
    JSON list, several names by ``|``; any number if ``regression``), ``mask`` (a file),
    ``patient``, ``case`` (a name; the image's file name by default), ``split``, ``site`` and any
    others, which `column` returns. Usual other names (``image_path``, ``subject_id``) are found.

    Args:
        path: a ``.csv`` or ``.tsv`` file with a header, ``.jsonl``, ``.json`` or ``.xlsx``.
        split: keep the rows with this value in the column ``split``. Wherever that column exists,
            a patient in two splits is refused.
        columns: ``{role: column}`` where columns have other names: ``{"image": "file"}``.
        labels: the column of labels, if not ``label``; several columns of 0 and 1, empty where
            a label is not known. By default several ``label_NAME`` are found too.
        classes: names of the classes; by default the sorted names in ``label``, or as many numbers
            as the largest label asks for.
        positive: the class that a two-class label tells from the other, or from all others.
        mask_classes: number of classes of the masks, background included.
        mask_labels: what the masks' numbers or colours mean, in place of their number.
        regression: whether ``label`` holds measurements.
        canonical: whether volumes are turned to RAS+.
        merge_rows: whether rows of one image, such as of its findings, are one; those that differ
            in what is read are refused. Without it a case that is listed twice is.

    Returns:
        A source of ``image`` (*spatial, channels) float32, ``spacing``, ``affine``, ``label``,
        ``mask`` and, where some are not known, ``label_known`` and ``mask_known``.

    Raises:
        DataError: anything malformed in the table, all faults at once. The images are read one by
            one later (`in_memory` reads them all; `check` lists the faults of all). Names that
            differ by case or blanks alone are a warning here, and an error of `dataset`.
    """
    path = Path(path)
    source, faults = open_table(
        read_table(path),
        root=path.parent,
        split=split,
        columns=columns,
        labels=labels,
        classes=classes,
        positive=positive,
        mask_labels=numbered(mask_classes, mask_labels),
        regression=regression,
        canonical=canonical,
        merge_rows=merge_rows,
    )
    doubts = [f for f in faults if f.rule == "spelling"]
    if len(faults) > len(doubts):
        raise DataError.of(faults)
    for doubt in doubts:  # two names may be meant, so this is no error here
        warnings.warn(str(doubt), stacklevel=2)
    assert source is not None
    return source


def numbered(count: int | None, labels: MaskLabels | None) -> MaskLabels:
    """The masks' labels: those given, or as many numbers as there are classes."""
    if labels is not None:
        return labels
    return MaskLabels(classes=tuple(str(i) for i in range(count)) if count else ())


def open_table(
    table: Table,
    *,
    root: Path,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    mask_labels: MaskLabels | None = None,
    regression: bool = False,
    canonical: bool = False,
    merge_rows: bool = False,
    names_are_labels: bool = False,
    notes: tuple[str, ...] = (),
) -> tuple[ManifestSource | None, list[Fault]]:
    """Make the source of a table, and list the table's faults.

    ``root`` is where its files lie, ``names_are_labels`` whether labels are names though they may
    look like numbers, as those of folders do, ``notes`` what was assumed already; the others are
    as in `manifest`.
    """
    file = str(table.path)
    asked = labels if labels is None or isinstance(labels, str) else tuple(labels)
    roles = find_columns(table, columns, leave=() if asked is None else ("label",))
    label = label_columns(table, asked, roles)
    rows = [{**row, **{role: row[c] for role, c in roles.of.items()}} for row in table.rows]
    for i, row in enumerate(rows):
        if is_missing(row["image"]) or not row["image"]:
            detail = f"{table.where(i)} names no image; columns are {sorted(table.columns)}"
            raise fault(file, "table", detail)
    faults: list[Fault] = []
    if merge_rows:
        found = merge(table, rows, label)
        rows = [rows[i] for i in found.keep]
        table = table.kept(found.keep)
        notes, faults = (*notes, *found.notes), found.faults
    names = case_names(rows)
    faults += [] if names_are_labels else _gaps(table, rows)
    faults += _twice(table, rows, names)
    finder = Finder(root)
    images, masks = [], []
    for row in rows:
        paths = [finder.find(part, faults, listed=file) for part in parts(row["image"])]
        images.append(tuple(spaced(path, row.get("spacing")) for path in paths))
        if "mask" in row:
            missing = is_missing(row["mask"])
            mask = (
                root if missing else finder.find(str(row["mask"]), faults, listed=file, mask=True)
            )
            masks.append(spaced(mask, row.get("spacing")))
    named, wrong = segment_classes(masks)
    faults += wrong
    if named and mask_labels in (None, MaskLabels()):
        mask_labels = MaskLabels(classes=named)
    faults += _leaks(file, rows)
    if "split" in rows[0]:
        faults += spellings(file, "split", [str(row["split"]) for row in rows])
        faults += _typos(file, [str(row["split"]) for row in rows])
    found = None
    if label:
        found, wrong = find_labels(
            table, label, names, classes=classes, positive=positive, regression=regression,
            named=names_are_labels,
        )  # fmt: skip
        faults += wrong
        if len(label) == 1 and not regression:
            values = [v for row in table.rows for v in parts(row[label[0]]) if not is_missing(v)]
            faults += spellings(file, "label", values)
    keep = [i for i, row in enumerate(rows) if split is None or str(row.get("split")) == split]
    if not keep:
        there = sorted({str(row.get("split")) for row in rows})
        faults.append(Fault(file, "non-empty", f"no row has split {split!r}; there are {there}"))
        return None, faults
    patients = [str(row["patient"]) for row in rows] if "patient" in rows[0] else None
    source = ManifestSource(
        name=file,
        rows=tuple(rows),
        images=tuple(images),
        masks=tuple(masks) if masks else None,
        labels=None if found is None else found.values,
        known=None if found is None else found.known,
        case_ids=tuple(names),
        groups=None if patients is None else tuple(patients),
        classes=() if found is None else found.classes,
        mask_labels=mask_labels or MaskLabels(),
        canonical=canonical,
        notes=(*notes, *roles.notes),
    )
    return source.where(keep), faults


def case_names(rows: list[Row]) -> list[str]:
    """A name for each row: the column's, else the file's; its path where two are alike."""
    if all(not is_missing(row.get("case")) for row in rows):
        return [str(row["case"]) for row in rows]
    files = [parts(row["image"])[0] for row in rows]
    names = [Path(file).name for file in files]
    if len(set(names)) < len(names):
        names = [";".join(parts(row["image"])) for row in rows]
    return [
        name if is_missing(row.get("case")) else str(row["case"])
        for name, row in zip(names, rows, strict=True)
    ]


def _gaps(table: Table, rows: list[Row]) -> list[Fault]:
    return [
        Fault(
            str(table.path),
            "table",
            f"{table.where(i)} ({row['image']}) has no {role}, though there is that column; fill "
            "it, or list such rows in a table of their own",
        )
        for i, row in enumerate(rows)
        for role in ("mask", "patient")
        if role in row and is_missing(row[role])
    ]


def _twice(table: Table, rows: list[Row], names: list[str]) -> list[Fault]:
    seen: dict[str, int] = {}
    faults = []
    for i, name in enumerate(names):
        first = seen.setdefault(name, i)
        if first == i:
            continue
        detail = f"case {name} is listed twice, in {table.where(first)} and {table.where(i)}"
        if parts(rows[first]["image"]) == parts(rows[i]["image"]):
            detail += "; merge_rows=True (--merge-rows) if its rows are findings of one image"
        faults.append(Fault(str(table.path), "unique", detail))
    return faults


def _leaks(file: str, rows: list[Row]) -> list[Fault]:
    if "split" not in rows[0] or "patient" not in rows[0]:
        return []
    splits: dict[str, set[str]] = {}
    for row in rows:
        if not is_missing(row["patient"]):
            splits.setdefault(str(row["patient"]), set()).add(str(row["split"]))
    return [
        Fault(file, "split-disjoint", f"patient {patient} is in {' and '.join(sorted(where))}")
        for patient, where in splits.items()
        if len(where) > 1
    ]


def _typos(file: str, values: Sequence[str]) -> list[Fault]:
    """Find splits whose name is one typing error away from a usual one."""
    faults = []
    for value in dict.fromkeys(values):
        name = value.casefold().strip()
        near = next((known for known in _SPLITS if _one_slip(name, known)), None)
        if name.isalpha() and name not in _SPLITS and near:
            faults.append(Fault(file, "spelling", f"the split {value!r}: is {near!r} meant?"))
    return faults


def _one_slip(a: str, b: str) -> bool:
    """Whether two words differ by one letter too much, too little or wrong, or two exchanged."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1 or a == b:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), len(a))
    if len(a) < len(b):
        return a[start:] == b[start + 1 :]
    rest = a[start + 1 :] == b[start + 1 :]
    exchanged = a[start : start + 2] == b[start : start + 2][::-1]
    return rest or (exchanged and a[start + 2 :] == b[start + 2 :])
