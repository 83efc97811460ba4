"""Check a whole data set: every fault of every file, at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jaxmed.data._error import DataError, Fault
from jaxmed.data.formats._read import read_image
from jaxmed.data.formats._registry import is_image
from jaxmed.data.sources._decathlon import check_decathlon
from jaxmed.data.sources._manifest_check import check_manifest
from jaxmed.data.sources._medmnist import check_medmnist


def check(path: str | os.PathLike, *, regression: bool = False) -> list[Fault]:
    """List all faults of a data set.

    Besides errors of the readers, it finds faults across files: images that differ in rank,
    channels or (where there are no masks, so that batches are made of whole images) size, an image
    of one value, one content in two splits or under two names, masks that are all empty or that
    write one class in two ways, names that differ by case or space.

    Args:
        path: A MedMNIST ``.npz`` file or a folder of them; a Medical Segmentation Decathlon
            folder; a manifest (``.csv``, ``.jsonl``); a single image; or a folder that holds any
            of the first three (each is checked).
        regression: Whether the labels of manifests are measurements.

    Returns:
        The faults, each with its file, its rule (a key of ``RULES``) and what was found; empty if
        every rule holds.

    Example:
        >>> from jaxmed import data
        >>> [fault.rule for fault in data.check("no/such/folder")]
        ['exists']
    """
    return list(_check(Path(path), regression))


def _check(path: Path, regression: bool) -> Iterator[Fault]:
    try:
        if not path.exists():
            yield Fault(str(path), "exists", "there is no such file or folder")
        elif path.is_dir():
            yield from _check_folder(path, regression)
        elif path.suffix == ".npz":
            yield from check_medmnist(path)
        elif path.suffix.lower() in (".csv", ".jsonl"):
            yield from check_manifest(path, regression=regression)
        elif is_image(path):
            read_image(path)
        else:
            yield Fault(str(path), "readable", "not a file of a kind that is known here")
    except DataError as error:
        yield from error.faults


def _check_folder(path: Path, regression: bool) -> Iterator[Fault]:
    if (path / "dataset.json").is_file():
        yield from check_decathlon(path)
        return
    found = False
    for child in sorted(path.iterdir()):
        if child.name.startswith("."):
            continue
        if child.suffix in (".npz", ".jsonl", ".csv") or (child / "dataset.json").is_file():
            found = True
            yield from _check(child, regression)
    if not found:
        yield Fault(
            str(path),
            "table",
            "neither a dataset.json, nor a manifest (.csv, .jsonl), nor MedMNIST files (.npz); of a"
            " folder of images alone name the images, or list them in a manifest",
        )
