"""MedMNIST: 18 sets of small medical images with official splits, read from one npz file each."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxmed.data._error import DataError, Fault, fault, reading
from jaxmed.data._npz import array_of
from jaxmed.data._source import ArraySource, Example, MappedSource, map_source
from jaxmed.data.public._catalogue import MEDMNIST, SPLITS, MedMNIST
from jaxmed.data.public._download import cache_root, data_root, fetch, md5sum


class ChecksumWarning(UserWarning):
    """Issued when a local file with a checksum other than the catalogue's is used."""


def medmnist(
    name: str,
    split: str = "train",
    *,
    size: int = 28,
    root: str | os.PathLike | None = None,
    download: bool = True,
) -> MappedSource:
    """Read one split of a MedMNIST set.

    The file ``medmnist/NAME.npz`` (``NAME_64.npz`` and so on) is looked for in ``root``, then in
    the user's cache folder, and is downloaded to the latter if it is in neither. A local file
    with another checksum than the catalogue's is used, with a warning and a line in ``notes``.

    Args:
        name: one of the names in ``MEDMNIST``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        size: 28, 64, or for the 2D sets 128 or 224.
        root: data folder; by default the one ``JAXMED_DATA`` names.
        download: whether to download a missing file.

    Returns:
        A source of ``image`` (28, 28[, 28], channels) float32 in [0, 1] and ``label``: int32 class,
        or (14,) int32 of 0 and 1 for chestmnist. Its ``notes`` belong in a report.

    Raises:
        ValueError: no such set, split or size.
        DataError: a missing file that cannot be downloaded, or a malformed one.

    References:
        Yang et al. MedMNIST v2. Scientific Data 10:41, 2023.
    """
    entry = _entry(name, size)
    if split not in SPLITS:
        raise ValueError(f"split is one of {SPLITS}, got {split!r}")
    path, notes = _find(entry, size, root, download)
    arrays = _load(path)
    faults = [f for part in SPLITS for f in _faults(path, entry, size, arrays, part)]
    if faults:
        raise DataError.of(faults)
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int32)
    if images.ndim == entry.rank + 1:
        images = images[..., None]
    if entry.task != "multilabel":
        labels = labels[:, 0]
    source = ArraySource(
        {"image": images, "label": labels},
        case_ids=[f"{name}/{split}/{i}" for i in range(len(images))],
        classes=entry.classes,
        notes=notes,
        name=str(path),
    )
    return map_source(source, _to_unit, batched=True, changes=("image",))


def _to_unit(batch: Example) -> Example:
    return {
        "image": batch["image"].astype(np.float32) / np.float32(255),
        "label": np.asarray(batch["label"]),
    }


def _entry(name: str, size: int) -> MedMNIST:
    entry = MEDMNIST.get(name.lower())
    if entry is None:
        raise ValueError(f"no MedMNIST set is named {name!r}; there are {', '.join(MEDMNIST)}")
    if size not in entry.md5:
        raise ValueError(f"{name} comes in sizes {tuple(entry.md5)}, got {size}")
    return entry


def _find(
    entry: MedMNIST, size: int, root: str | os.PathLike | None, download: bool
) -> tuple[Path, list[str]]:
    folders = [Path(root) if root else data_root(), cache_root()]
    paths = [folder / "medmnist" / entry.file(size) for folder in folders]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        reason = "download=False was asked for"
        if download:
            try:
                return fetch(entry.url(size), paths[-1], md5=entry.md5[size]), []
            except OSError as error:
                reason = f"the download failed: {error}"
        places = " nor ".join(dict.fromkeys(map(str, paths)))
        raise fault(
            paths[0],
            "exists",
            f"{entry.file(size)} is at neither {places}, and {reason}. Put the file from "
            f"{entry.url(size)} (MD5 {entry.md5[size]}) there",
        )
    got = md5sum(path)
    if got == entry.md5[size]:
        return path, []
    note = f"{path} has MD5 {got}, the catalogue's is {entry.md5[size]}: used as it is"
    warnings.warn(note, ChecksumWarning, stacklevel=3)
    return path, [note]


def _load(path: Path) -> dict[str, np.ndarray]:
    status = path.stat()
    return _load_npz(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _load_npz(path: Path, size: int, changed: int) -> dict[str, np.ndarray]:
    with (
        reading(path, "the npz file"),
        open(path, "rb") as handle,
        np.load(handle, allow_pickle=False) as file,
    ):
        return {key: array_of(file, key) for key in file}


def _faults(
    path: Path, entry: MedMNIST, size: int, arrays: dict[str, np.ndarray], split: str
) -> Iterator[Fault]:
    file = str(path)
    images, labels = arrays.get(f"{split}_images"), arrays.get(f"{split}_labels")
    if images is None or labels is None:
        missing = f"{split}_images" if images is None else f"{split}_labels"
        yield Fault(file, "table", f"array {missing!r} is missing, there are {sorted(arrays)}")
        return
    if len(images) == 0:
        yield Fault(file, "non-empty", f"split {split!r} has no images")
        return
    shape = (size,) * entry.rank + ((entry.channels,) if entry.channels > 1 else ())
    if images.shape[1:] not in (shape, (*shape, 1)):
        yield Fault(
            file, "shape", f"{split}_images has shape {images.shape}, expected (n, *{shape})"
        )
    if images.dtype != np.uint8:
        yield Fault(file, "catalogue", f"{split}_images is {images.dtype}, expected uint8")
    width = len(entry.classes) if entry.task == "multilabel" else 1
    if labels.shape != (len(images), width):
        yield Fault(
            file,
            "length",
            f"{split}_labels has shape {labels.shape}, expected {(len(images), width)}",
        )
        return
    if not np.all(np.isfinite(labels)):
        yield Fault(file, "finite", f"{split}_labels holds values that are not finite")
        return
    top = 1 if entry.task == "multilabel" else len(entry.classes) - 1
    outside = np.flatnonzero(((labels < 0) | (labels > top)).any(axis=1))
    if len(outside):
        yield Fault(
            file,
            "label-range",
            f"{len(outside)} labels of {split} are outside 0..{top}, the first is "
            f"{labels[outside[0]].tolist()} at row {outside[0]}",
        )


def is_medmnist(path: Path) -> bool:
    """Whether a file is one of MedMNIST's, by its name or by the names of its arrays."""
    if path.suffix != ".npz":
        return False
    if path.stem.partition("_")[0] in MEDMNIST:
        return True
    with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as file:
        return any(name == f"{split}_images" for split in SPLITS for name in file.files)
    return False


def check_medmnist(path: Path) -> list[Fault]:
    """List the faults of one npz file of MedMNIST; its name says which set and size."""
    stem, _, suffix = path.stem.partition("_")
    entry = MEDMNIST.get(stem)
    size = int(suffix) if suffix.isdigit() else 28
    if entry is None or size not in entry.md5:
        return [Fault(str(path), "catalogue", "the name is not one of MedMNIST's files")]
    try:
        arrays = _load(path)
    except DataError as error:
        return list(error.faults)
    found = [f for split in SPLITS for f in _faults(path, entry, size, arrays, split)]
    if not found:
        for split in SPLITS:
            n, expected = len(arrays[f"{split}_images"]), getattr(entry, split)
            if n != expected:
                found.append(
                    Fault(str(path), "catalogue", f"{split} has {n} images, published {expected}")
                )
    if md5sum(path) != entry.md5[size]:
        found.append(
            Fault(
                str(path),
                "checksum",
                f"MD5 {md5sum(path)}, published {entry.md5[size]}: not the published file",
            )
        )
    return found
