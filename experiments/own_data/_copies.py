"""Files of the same bytes under several names: they must not lie on both sides of a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data import DataError, Fault, ManifestSource
from jaxmed.data.formats._registry import locate

Files = Sequence[tuple[Path, ...]]
"""The files of each image."""


def files_of(source: ManifestSource) -> Files:
    """The files of each of its images."""
    return [source.paths(i) for i in range(len(source))]


def copies(files: Files) -> list[list[int]]:
    """Positions of the images whose files are the same byte for byte, a list for each that repeats.

    Of a folder, such as of a DICOM series, nothing is told: its files name themselves. Nor is
    anything of a case without an image, which has no file.
    """
    alike = [[*range(len(files))]]
    for key in (_sizes, _digest):
        found: list[list[int]] = []
        for group in alike:
            by_key: dict[Hashable, list[int]] = defaultdict(list)
            for i in group:
                if (value := key(files[i])) is not None:
                    by_key[value].append(i)
            found += [several for several in by_key.values() if len(several) > 1]
        alike = found
    return alike


def check_splits(files: Files, splits: np.ndarray, alike: Iterable[list[int]]) -> None:
    """Refuse copies that the data's own splits part.

    Raises:
        DataError: names each file with the one that it is a copy of.
    """
    faults = []
    for several in alike:
        first = several[0]
        for i in several[1:]:
            if splits[i] != splits[first]:
                detail = (
                    f"a copy of {files[first][0]}, which is in split "
                    f"{str(splits[first])!r}; this in {str(splits[i])!r}"
                )
                faults.append(Fault(str(files[i][0]), "split-disjoint", detail))
    if faults:
        raise DataError.of(faults)


def units(count: int, groups: Sequence[Any] | None, alike: Iterable[list[int]]) -> list[Any] | None:
    """What is dealt into folds as a whole: patients, with copies under the name of one of them.

    None where each image is a unit of its own.
    """
    alike = [*alike]
    if groups is None and not alike:
        return None
    names: list[Any] = [*(range(count) if groups is None else groups)]
    into: dict[Any, Any] = {}

    def root(name: Any) -> Any:
        while name in into:
            name = into[name]
        return name

    for several in alike:
        first = root(names[several[0]])
        for i in several[1:]:
            if (other := root(names[i])) != first:
                into[other] = first
    return [root(name) for name in names]


def _sizes(paths: tuple[Path, ...]) -> Hashable | None:
    files = [locate(path).path for path in paths]
    if not files or not all(file.is_file() for file in files):
        return None
    # What stands behind a `#` makes two images of one file.
    return tuple((file.stat().st_size, str(path)[len(str(file)) :])
                 for file, path in zip(files, paths, strict=True))  # fmt: skip


def _digest(paths: tuple[Path, ...]) -> Hashable:
    found = []
    for path in paths:
        with locate(path).path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha1").digest())
    return tuple(found)
