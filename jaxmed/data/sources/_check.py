"""Check a whole data set: every fault of every file, at once."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import DataError, Fault
from jaxmed.data.formats._read import read_image
from jaxmed.data.formats._registry import exists, is_image, locate
from jaxmed.data.public._medmnist import check_medmnist, is_medmnist
from jaxmed.data.sources._boxes import holds_boxes, open_boxes
from jaxmed.data.sources._dataset import open_dataset, tables_of_images
from jaxmed.data.sources._decathlon import check_decathlon
from jaxmed.data.sources._identity import identity as find_identity
from jaxmed.data.sources._manifest import ManifestSource
from jaxmed.data.sources._manifest_check import check_images
from jaxmed.data.sources._observed import Observed
from jaxmed.data.tables._table import TABLES


def check(
    path: str | os.PathLike, *, regression: bool = False, identity: bool = False, **options: Any
) -> list[Fault]:
    """List all faults of a data set.

    Besides errors of the readers, it finds faults across files: images that differ in rank,
    channels or (where there are no masks, so that batches are made of whole images) size, an image
    of one value, one content in two splits or under two names, masks that are all empty or that
    write one class in two ways, names that differ by case or space.

    Args:
        path: a MedMNIST ``.npz`` file or a folder of them; whatever `dataset` opens: a table, a
            folder of the Medical Segmentation Decathlon or of nnU-Net, a folder for each class,
            images with masks; boxes as `box_dataset` opens them; a folder of any of these (each is
            checked); or a single image.
        regression: whether labels are measurements.
        identity: whether headers that tell who was imaged, and pixels that may show it, are faults,
            as for data that are passed on (see `identity`).
        **options: of `dataset`, such as ``labels`` and ``columns``.

    Returns:
        The faults, each with its file, its rule (a key of ``RULES``) and what was found; empty if
        every rule holds.

    Examples:
        >>> from jaxmed import data
        >>> [fault.rule for fault in data.check("no/such/folder")]
        ['exists']
    """
    found, _ = checked(path, regression=regression, **options)
    return found + (find_identity(path) if identity and exists(path) else [])


def checked(path: str | os.PathLike, **options: Any) -> tuple[list[Fault], list[str]]:
    """The faults of a data set, and what there is: lines on each source and what was assumed.

    Args:
        path: as in `check`.
        **options: of `dataset`.
    """
    told: list[str] = []
    return list(_check(Path(path), options, told)), told


def _check(path: Path, options: dict[str, Any], told: list[str]) -> Iterator[Fault]:
    try:
        if not exists(path):
            yield Fault(str(path), "exists", "there is no such file or folder")
        elif holds_boxes(path):
            yield from _check_boxes(path, told)
        elif path.is_dir():
            yield from _check_folder(path, options, told)
        elif is_medmnist(path):
            yield from check_medmnist(path)
        elif path.suffix.lower() in TABLES:
            yield from _check_dataset(path, options, told)
        elif is_image(locate(path).path):
            read_image(path)
        else:
            yield Fault(str(path), "readable", "not a file of a kind that is known here")
    except DataError as error:
        yield from error.faults


def _check_dataset(path: Path, options: dict[str, Any], told: list[str]) -> Iterator[Fault]:
    source, faults = open_dataset(path, **options)
    yield from faults
    if source is not None:
        told += [summary(source), *(f"note: {note}" for note in source.notes)]
        yield from check_images(source, told)


def _check_boxes(path: Path, told: list[str]) -> Iterator[Fault]:
    source, faults = open_boxes(path)
    yield from faults
    if source is None:
        return
    told += [source.told(), *(f"note: {note}" for note in source.notes)]
    seen = Observed(str(path), one_size=False)
    for image, split in zip(source.images, source.splits, strict=True):
        try:
            yield from seen.image((image,), read_image(image), split)
        except DataError as error:
            yield from error.faults
    yield from seen.faults()


def _check_folder(path: Path, options: dict[str, Any], told: list[str]) -> Iterator[Fault]:
    if (path / "dataset.json").is_file():
        if not _lists_cases(path):
            yield from _check_dataset(path, options, told)
            return
        with contextlib.suppress(DataError):  # which the check of its files names
            source, _ = open_dataset(path, **options)
            told += [] if source is None else [summary(source)]
        yield from check_decathlon(path)
        return
    children = [child for child in sorted(path.iterdir()) if not child.name.startswith(".")]
    arrays = [child for child in children if child.suffix == ".npz"]
    arrays = arrays if any(is_medmnist(child) for child in arrays) else []
    sets = [child for child in children if (child / "dataset.json").is_file()]
    sets += tables_of_images(path, options.get("columns"))
    for child in arrays:
        yield from check_medmnist(child)
    for child in sets:
        yield from _check(child, options, told)
    if not sets and not arrays:
        yield from _check_dataset(path, options, told)


def summary(source: ManifestSource) -> str:
    """A source in a line: how many images, of which classes, patients and splits."""
    what = ["1 image" if len(source) == 1 else f"{len(source)} images"]
    if source.labels is not None:
        if source.labels.dtype.kind == "f":
            what.append("measurements")
        else:
            several = source.labels.ndim == 2
            counts = source.labels.sum(0) if several else (
                np.bincount(source.labels, minlength=len(source.classes))
            )  # fmt: skip
            named = [f"{name} {n}" for name, n in zip(source.classes, counts, strict=True)]
            few = ", ".join(named[:12]) + (", ..." if len(named) > 12 else "")
            what.append(f"{len(source.classes)} {'labels' if several else 'classes'} "
                        f"({few})")  # fmt: skip
    if source.masks is not None:
        names = source.mask_labels.classes
        what.append(f"masks ({', '.join(names)})" if names else "masks")
    if "split" in source.rows[0]:
        splits = Counter(str(row["split"]) for row in source.rows)
        what.append(", ".join(f"{n} {name}" for name, n in splits.items()))
    what.append(
        "no patients named" if source.groups is None else f"{len(set(source.groups))} patients"
    )
    return f"{source.name}: {'; '.join(what)}"


def _lists_cases(path: Path) -> bool:
    """Whether a dataset.json lists its cases, as the Decathlon's does."""
    file = path / "dataset.json"
    try:
        return not file.is_file() or "training" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True  # whose fault the Decathlon's reader names
