"""One's own images, however they lie on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxmed.data._error import DataError, Fault, fault
from jaxmed.data.images._mask_labels import MaskLabels
from jaxmed.data.sources._find_files import Finder
from jaxmed.data.sources._folders import read_folder
from jaxmed.data.sources._manifest import ManifestSource, open_table
from jaxmed.data.sources._nnunet import read_raw_folder
from jaxmed.data.tables._columns import find_columns, names_images
from jaxmed.data.tables._labels import parts
from jaxmed.data.tables._table import TABLES, Table, read_table


def dataset(
    path: str | os.PathLike,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    patient: str | None = None,
    mask_labels: MaskLabels | None = None,
    regression: bool = False,
    canonical: bool = False,
    merge_rows: bool = False,
) -> ManifestSource:
    """Open a data set of one's own, whatever its layout.

    - A table of images (``.csv``, ``.tsv``, ``.jsonl``, ``.xlsx``), as `manifest` reads it, or a
      folder that holds one.
    - A folder of the Medical Segmentation Decathlon or of nnU-Net (``dataset.json``), version 1
      or 2, with its regions and its ignored label.
    - A folder for each class, with ``train``, ``val`` and ``test`` above if there are splits.
    - Images with masks: in two folders (``images``, ``masks``), or side by side (``a.png``,
      ``a_mask.png``), also in a folder for each patient.
    - Of magnetic resonance, as BraTS and BIDS name files: where every image ends in a sequence
      (``a_t1.nii.gz``, ``a_flair.nii.gz``) and every case has the same ones, they are its channels.

    Args:
        path: the table or folder.
        split: keep the images of this split.
        columns: ``{role: column}`` of a table, as in `manifest`; of a folder ``{"mask": name}``,
            the folder of the masks or the ending of their names, where several could be meant, and
            ``{"image": "t1,flair"}``, the endings of files that are the channels of a case.
        labels: the column of the labels, or several.
        classes: names of the labels' classes; of a folder for each class, those to keep.
        positive: as in `manifest`.
        patient: of a folder: ``"folder"``, if the folder an image lies in is its patient, or a
            regular expression with one group that finds the patient in the image's path.
        mask_labels: what the masks' numbers or colours mean, where ``dataset.json`` does not say.
        regression: whether labels are measurements.
        canonical: whether volumes are turned to RAS+.
        merge_rows: as in `manifest`.

    Returns:
        A source, as of `manifest`; ``notes`` say what was assumed.

    Raises:
        DataError: a layout that is not known, or anything malformed; all faults at once.

    Examples:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("benign/a", "benign/b", "malignant/c"):
        ...     (folder / name).parent.mkdir(exist_ok=True)
        ...     Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / f"{name}.png")
        >>> source = dataset(folder)
        >>> source.classes, source.labels.tolist(), source.case_ids
        (('benign', 'malignant'), [0, 0, 1], ('benign/a', 'benign/b', 'malignant/c'))
    """
    source, faults = open_dataset(
        Path(path),
        split=split,
        columns=columns,
        labels=labels,
        classes=classes,
        positive=positive,
        patient=patient,
        mask_labels=mask_labels,
        regression=regression,
        canonical=canonical,
        merge_rows=merge_rows,
    )
    if faults:
        raise DataError.of(faults)
    assert source is not None
    return source


def open_dataset(
    path: Path,
    *,
    patient: str | None = None,
    mask_labels: MaskLabels | None = None,
    **options: Any,
) -> tuple[ManifestSource | None, list[Fault]]:
    """Open a data set: its source, unless it is too broken to have one, and all of its faults.

    Args:
        path: the table or folder.
        patient: as in `dataset`.
        mask_labels: as in `dataset`.
        **options: its others, which go to the table that every layout becomes.
    """
    if not (path.is_file() or path.is_dir()):
        raise fault(path, "exists", "there is no such file or folder")
    if path.is_file():
        return _of_table(path, patient, options, mask_labels)
    if (path / "dataset.json").is_file():
        raw = read_raw_folder(path)
        named = mask_labels or raw.labels
        table = Table(path, raw.rows, decimal_comma=False, first=1)
        source, faults = open_table(table, root=path, mask_labels=named, **options)
        if source is not None:
            source = replace(source, channels=raw.channels)
        return source, raw.faults + faults
    listing = tables_of_images(path, options.get("columns"))
    if len(listing) > 1:
        shown = ", ".join(p.name for p in listing)
        raise fault(path, "table", f"several tables list images ({shown}): name the one meant")
    if listing:
        return _of_table(listing[0], patient, options, mask_labels)
    columns = dict(options.pop("columns", None) or {})
    endings = [word.strip(" _-.") for word in columns.pop("image", "").split(",") if word]
    layout = read_folder(path, patient=patient, masks=columns.pop("mask", None), channels=endings)
    rows = layout.rows
    if (classes := options.get("classes")) and "label" in rows[0]:
        rows = [row for row in rows if row["label"] in classes]
        if not rows:
            there = ", ".join(sorted({row["label"] for row in layout.rows}))
            raise fault(
                path, "label-range", f"no folder is called {classes[0]!r}; there are {there}"
            )
    table = Table(path, rows, decimal_comma=False, first=1)
    source, faults = open_table(
        table, root=path, columns=columns, mask_labels=mask_labels, notes=layout.notes,
        names_are_labels=True, **options,
    )  # fmt: skip
    if source is not None and layout.channels:
        source = replace(source, channels=layout.channels)
    return source, faults


def tables_of_images(folder: Path, columns: Mapping[str, str] | None = None) -> list[Path]:
    """The tables that lie in a folder and list images; others (of patients, of features) do not.

    Raises:
        DataError: a table that cannot be read, or of which several columns could name the images.
    """
    tables = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in TABLES and p.is_file()]
    return [p for p in tables if names_images(read_table(p), columns)]


def _of_table(
    path: Path, patient: str | None, options: dict[str, Any], mask_labels: MaskLabels | None
) -> tuple[ManifestSource | None, list[Fault]]:
    if patient is not None:
        options = {**options, "columns": {**(options.get("columns") or {}), "patient": patient}}
    table, root = read_table(path), path.parent
    roles = find_columns(table, options.get("columns"), leave=("label",)).of
    notes: tuple[str, ...] = ()
    if "mask" not in roles:
        finder = Finder(root)
        masks = [finder.mask_of(parts(row[roles["image"]])[0]) for row in table.rows]
        first = masks[0]
        if first is not None and all(masks):
            rows = [{**row, "mask": str(m)} for row, m in zip(table.rows, masks, strict=True)]
            table = table._replace(rows=rows)
            notes = (f"Masks are the files of the same names in {first.parent.name!r}.",)
    return open_table(table, root=root, mask_labels=mask_labels, notes=notes, **options)
