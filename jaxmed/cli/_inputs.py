"""What `jaxmed predict` is given: files, folders of files, arrays of an `.npz`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data import Scan, Space, read_image
from jaxmed.data.formats import ENDINGS, images_in, stem, suffix

_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Input(NamedTuple):
    """One image, or why there is none.

    Attributes:
        name: of the image: its file's, without the ending, and its number in an `.npz`.
        path: of the file.
        scan: the image.
        error: what is wrong with it, or nothing.
        packed: whether the file is an `.npz`.
    """

    name: str
    path: Path
    scan: Scan | None
    error: str = ""
    packed: bool = False


def files(given: Sequence[Path]) -> list[Path]:
    """The files that are named, each folder replaced by its images in the order of their names.

    Folders below it are searched if it has none itself; a DICOM series is one image.

    Raises:
        ValueError: a folder without an image; names it.
    """
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = images_in(path, below=False) or images_in(path)
        if not inside:
            raise ValueError(f"{path} has no image: none of its files ends in {', '.join(ENDINGS)}")
        found += inside
    return found


def name_of(path: Path) -> str:
    """A file's name without its ending, nor the array of an `.npz`."""
    return stem(str(path).rpartition(":")[0] if ".npz:" in path.name else path)


def read(path: Path, spacing: Sequence[float], channels: int) -> Iterator[Input]:
    """The images of a file; one that cannot be read is told, not raised.

    Args:
        path: an image, or `FILE.npz` or `FILE.npz:ARRAY`.
        spacing: voxel edge lengths of arrays, which have none of their own.
        channels: that the network takes, by which an array's axes are told.
    """
    packed = suffix(path) == ".npz" or ".npz:" in path.name
    try:
        if not packed:
            yield Input(name_of(path), path, read_image(path, canonical=True))
            return
        images = _unpacked(path, len(spacing), channels)
    except _BROKEN as error:
        yield Input(name_of(path), path, None, str(error), packed)
        return
    affine = np.diag([*spacing, 1.0])
    width = len(str(len(images) - 1))
    for i, image in enumerate(images):
        scan = Scan(image, affine, Space(image.shape[:-1], affine))
        bad = "" if np.isfinite(image).all() else "it holds NaN or infinity"
        name = f"{name_of(path)}_{i:0{width}}" if len(images) > 1 else name_of(path)
        yield Input(name, path, None if bad else scan, bad, packed)


def _unpacked(path: Path, rank: int, channels: int) -> np.ndarray:
    """Images (n, *spatial, channels) float32 of an `.npz`."""
    text, _, wanted = str(path).rpartition(":") if ".npz:" in path.name else (str(path), "", "")
    if not Path(text).is_file():
        raise ValueError(f"{text}: there is no such file")
    with np.load(text) as file:
        names = [*file]
        usual = [name for name in ("image", "images") if name in names]
        choice = wanted or (usual[0] if usual else names[0] if len(names) == 1 else "")
        if choice not in names:
            raise ValueError(
                f"{text} has {f'no array {choice!r}; it has' if choice else 'the arrays'} "
                f"{', '.join(names)}: name one as {text}:{names[0] if names else 'ARRAY'}"
            )
        array = file[choice]
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: an image holds numbers, {choice!r} holds {array.dtype}")
    # As pictures: whole numbers of 8 or 16 bits are shares of the largest.
    largest = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(array.dtype, 1)
    array = array.astype(np.float32) / np.float32(largest)
    whole = array.ndim == rank + 2 and array.shape[-1] == channels
    one = array.ndim == rank + 1 and array.shape[-1] == channels
    if not whole and channels == 1 and array.ndim in (rank, rank + 1) and not one:
        array = array[..., None]
        whole, one = array.ndim == rank + 2, array.ndim == rank + 1
    if not (whole or one) or array.size == 0:
        axes = "rows, columns" if rank == 2 else f"{rank} spatial axes"
        raise ValueError(
            f"{path}: {choice!r} has the shape {array.shape}; the network takes ([images,] {axes}, "
            f"{channels} channel(s))"
        )
    return array if whole else array[None]
