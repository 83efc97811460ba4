"""Handwritten digits: MNIST's idx files and USPS's tables."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._source import ArraySource, Example, MappedSource, map_source
from jaxmed.data.public._download import data_root

_DIGITS = tuple("0123456789")
_IDX = {"train": "train", "test": "t10k"}
_BYTES = 0x08  # the type code of unsigned bytes


def mnist(split: str = "train", *, root: str | os.PathLike | None = None) -> MappedSource:
    """Read one part of MNIST, or of a set in its format.

    The four idx files, with or without ``.gz``, are looked for in ``mnist/MNIST/raw``,
    ``MNIST/raw``, ``mnist`` and the data folder itself.

    Args:
        split: ``"train"`` (60,000 digits) or ``"test"`` (10,000).
        root: data folder; by default the one ``JAXMED_DATA`` names.

    Returns:
        A source of ``image`` (28, 28, 1) float32 in [0, 1] and ``label`` int32.

    Raises:
        ValueError: no such split.
        DataError: a missing or malformed file, or labels that do not fit the images.

    References:
        LeCun et al. (1998), Gradient-based learning applied to document recognition, Proceedings
        of the IEEE 86.
    """
    folder = _folder(split, root, ("mnist/MNIST/raw", "MNIST/raw", "mnist", "."), "an idx file")
    images = _read_idx(_named(folder, f"{_IDX[split]}-images-idx3-ubyte"), 3)
    place = _named(folder, f"{_IDX[split]}-labels-idx1-ubyte")
    labels = _read_idx(place, 1)
    if len(images) != len(labels):
        raise fault(place, "length", f"there are {len(labels)} labels of {len(images)} images")
    _check_digits(place, labels)
    source = ArraySource(
        {"image": images[..., None], "label": labels.astype(np.int32)},
        case_ids=[f"mnist/{split}/{i}" for i in range(len(images))],
        classes=_DIGITS,
        name=str(folder),
    )
    return map_source(source, _to_unit, batched=True, changes=("image",))


def usps(split: str = "train", *, root: str | os.PathLike | None = None) -> ArraySource:
    """Read one part of the digits of the United States Postal Service.

    ``zip.train.gz`` and ``zip.test.gz`` are looked for in ``usps`` and the data folder itself: a
    line a digit, the label before 256 values in [-1, 1].

    Args:
        split: ``"train"`` (7,291 digits, sorted by class) or ``"test"`` (2,007).
        root: data folder; by default the one ``JAXMED_DATA`` names.

    Returns:
        A source of ``image`` (16, 16, 1) float32 in [0, 1] and ``label`` int32.

    Raises:
        ValueError: no such split.
        DataError: a missing or malformed file.

    References:
        LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition, Neural
        Computation 1.
    """
    folder = _folder(split, root, ("usps", "."), "zip.train.gz and zip.test.gz")
    path = _named(folder, f"zip.{split}")
    with reading(path, "the table of digits"), _opened(path) as file:
        table = np.loadtxt(file, dtype=np.float64, ndmin=2)
    if table.shape[1] != 257:
        raise fault(path, "table", f"a line has a label and 256 values, got {table.shape[1]}")
    if not np.isfinite(table).all() or np.abs(table[:, 1:]).max() > 1:
        raise fault(path, "finite", "values are not all in [-1, 1]")
    labels = table[:, 0].astype(np.int32)
    if not np.array_equal(labels, table[:, 0]):
        raise fault(path, "integer-mask", "labels are not whole numbers")
    _check_digits(path, labels)
    images = (0.5 + 0.5 * table[:, 1:].reshape(-1, 16, 16, 1)).astype(np.float32)
    return ArraySource(
        {"image": images, "label": labels},
        case_ids=[f"usps/{split}/{i}" for i in range(len(images))],
        classes=_DIGITS,
        name=str(path),
    )


def _to_unit(batch: Example) -> Example:
    image = batch["image"].astype(np.float32) / np.float32(255)
    return {"image": image, "label": np.asarray(batch["label"])}


def _folder(split: str, root: str | os.PathLike | None, places: Sequence[str], what: str) -> Path:
    """The first of the places in the data folder that is there."""
    if split not in _IDX:
        raise ValueError(f"split is 'train' or 'test', got {split!r}")
    base = Path(root) if root else data_root()
    for place in places:
        folder = base / place
        if any(folder.glob("*idx*-ubyte*")) or any(folder.glob("zip.t*")):
            return folder
    raise fault(base, "exists", f"there is no {what} in {', '.join(places)} of this folder")


def _named(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise fault(folder / name, "exists", f"there is neither {name} nor {name}.gz")


def _opened(path: Path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def _read_idx(path: Path, rank: int) -> np.ndarray:
    """An array of unsigned bytes of a known rank: a magic number, the sizes, the values."""
    with reading(path, "the idx file"), _opened(path) as file:
        content = file.read()
    header = 4 * (rank + 1)
    if len(content) < header or content[:4] != bytes((0, 0, _BYTES, rank)):
        raise fault(path, "readable", f"this is no idx file of unsigned bytes of rank {rank}")
    shape = struct.unpack(f">{rank}I", content[4:header])
    if len(content) != header + int(np.prod(shape, dtype=np.int64)):
        found = len(content) - header
        raise fault(path, "readable", f"its header says {shape}, behind it are {found} bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _check_digits(path: Path, labels: np.ndarray) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        raise fault(path, "label-range", f"{labels[wrong[0]]} at row {wrong[0]} is no digit")
