"""What `jaxmed predict` is given: files, folders of files, tables, arrays of an `.npz`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data import Fault, Scan, Space
from jaxmed.data._error import reading
from jaxmed.data._npz import array_of
from jaxmed.data.formats import ENDINGS, images_in, stem, suffix
from jaxmed.data.formats._read import read_channels
from jaxmed.data.formats._registry import spaced
from jaxmed.data.sources._find_files import Finder
from jaxmed.data.sources._manifest import case_names
from jaxmed.data.sources._pairs import masks_among
from jaxmed.data.tables._columns import find_columns
from jaxmed.data.tables._labels import parts
from jaxmed.data.tables._table import TABLES, is_missing, read_table

_CHANNEL = re.compile(r"_\d{4}$")


class Given(NamedTuple):
    """One image that is named, perhaps in several files, a file for each channel.

    Attributes:
        name: of the image, from which those of its results are made.
        paths: its files; the first is the one whose space results are in.
        error: why it cannot be read, where that is known already.
    """

    name: str
    paths: tuple[Path, ...]
    error: str = ""

    @property
    def path(self) -> Path:
        """The first file."""
        return self.paths[0]


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


def files(
    given: Sequence[Path], channels: Sequence[str], columns: Mapping[str, str] | None = None
) -> list[Given]:
    """The images that are named: folders replaced by theirs, tables by those that they list.

    Folders below a folder are searched if it has none itself; a DICOM series is one image. Masks of
    other images there are left out, which a line says. Files `CASE_0000`, `CASE_0001`, ..., or
    `CASE_t1`, `CASE_flair`, ... by the names of the channels, are those of one image, for a network
    of several channels.

    Args:
        given: files, folders, tables.
        channels: names of those that the network takes.
        columns: `{role: column}` where a table's columns have other names.

    Raises:
        ValueError: a folder without an image, or a table that cannot be read; names it. An image
            that a table names and that is not there is no such error: it is told with the others.
    """
    found: list[Given] = []
    alone: list[Path] = []
    for path in given:
        if path.suffix.lower() in TABLES and path.is_file():
            found += _listed(path, columns)
        elif not path.is_dir():
            alone.append(path)
            found.append(Given(name_of(path), (path,)))
        else:
            found += _joined(_inside(path), channels)
    if len(channels) > 1:
        whole = {path: one for one in _joined(alone, channels) for path in one.paths}
        found = [*dict.fromkeys(whole.get(one.path, one) for one in found)]
    return _told_apart(found)


def _inside(folder: Path) -> list[Path]:
    """The images of a folder, without the masks of others."""
    inside = images_in(folder, below=False) or images_in(folder)
    if not inside:
        raise ValueError(f"{folder} has no image: none of its files ends in {', '.join(ENDINGS)}")
    masks = masks_among(folder, inside)
    if masks:
        first = min(masks).relative_to(folder)
        print(f"note: {folder}: {len(masks)} masks of images, such as {first}, are left out")
    return [path for path in inside if path not in masks]


def _listed(path: Path, columns: Mapping[str, str] | None) -> list[Given]:
    """The images that a table lists, each once, whether they are there or not."""
    table = read_table(path)
    roles = find_columns(table, columns, leave=("label",)).of
    rows = [{**row, **{role: row[column] for role, column in roles.items()}} for row in table.rows]
    empty = [table.where(i) for i, row in enumerate(rows) if is_missing(row["image"])]
    rows = [row for row in rows if not is_missing(row["image"])]
    if empty:
        print(f"note: {path}: {empty[0]} and {len(empty) - 1} more name no image"
              if len(empty) > 1 else f"note: {path}: {empty[0]} names no image")  # fmt: skip
    finder = Finder(path.parent)
    found: dict[tuple[Path, ...], Given] = {}
    for name, row in zip(case_names(rows), rows, strict=True):
        faults: list[Fault] = []
        files = tuple(
            spaced(finder.find(part, faults, listed=str(path)), row.get("spacing"))
            for part in parts(row["image"])
        )
        why = "; ".join(f"{fault.file}: there is no such file, {fault.detail}" for fault in faults)
        found.setdefault(files, Given(name_of(Path(name)), files, why))
    return [*found.values()]


def _told_apart(given: Sequence[Given]) -> list[Given]:
    """Put the names of folders before names that several images have: `p1_ct` and `p2_ct`."""
    given = [*given]
    for depth in range(1, max((len(one.path.parts) for one in given), default=1)):
        counts = Counter(one.name for one in given)
        given = [
            one._replace(name=f"{one.path.parts[-1 - depth]}_{one.name}")
            if counts[one.name] > 1 and depth < len(one.path.parts)
            else one
            for one in given
        ]
    return given


def _joined(paths: Sequence[Path], channels: Sequence[str]) -> list[Given]:
    """Join the files of one case's channels, numbered as nnU-Net's or named."""
    alone = [Given(name_of(path), (path,)) for path in paths]
    if len(channels) == 1:
        # A single channel may carry its number all the same; the case's name is without it.
        return [g._replace(name=_CHANNEL.sub("", g.name)) for g in alone]
    return _numbered(alone, len(channels)) or _named(alone, channels) or alone


def _numbered(alone: Sequence[Given], channels: int) -> list[Given]:
    """Cases of `CASE_0000`, `CASE_0001`, ..., and what is beside them; nothing if one lacks any."""
    cases: dict[str, list[Path]] = {}
    for one in alone:
        if _CHANNEL.search(one.name):
            cases.setdefault(_CHANNEL.sub("", one.name), []).append(one.path)
    if not cases or any(len(paths) != channels for paths in cases.values()):
        return []
    rest = [one for one in alone if not _CHANNEL.search(one.name)]
    return [Given(name, tuple(sorted(paths))) for name, paths in cases.items()] + rest


def _named(alone: Sequence[Given], channels: Sequence[str]) -> list[Given]:
    """Cases of `CASE_t1`, `CASE_flair`, ... in the order of the channels, and what is beside."""
    place = {name.casefold(): k for k, name in enumerate(channels)}
    ending = re.compile(rf"[_\-. ]({'|'.join(map(re.escape, channels))})$", re.IGNORECASE)
    cases: dict[tuple[Path, str], dict[int, Path]] = {}
    rest = []
    for one in alone:
        if found := ending.search(one.name):
            files = cases.setdefault((one.path.parent, one.name[: found.start()]), {})
            files[place[found[1].casefold()]] = one.path
        else:
            rest.append(one)
    whole = [
        Given(name, tuple(files[k] for k in range(len(channels))))
        for (_, name), files in cases.items()
        if len(files) == len(channels)
    ]
    lacking = [
        Given(name, tuple(files.values()), f"{folder / name}: no {', no '.join(missing)}")
        for (folder, name), files in cases.items()
        if (missing := [c for k, c in enumerate(channels) if k not in files])
    ]
    # Where no case is whole the files are not named by channels.
    return [*whole, *lacking, *rest] if whole else []


def name_of(path: Path) -> str:
    """A file's name without its ending, nor the array of an `.npz`."""
    return stem(str(path).rpartition(":")[0] if ".npz:" in path.name else path)


def is_packed(path: Path) -> bool:
    """Whether a path is an `.npz`, or an array of one."""
    return suffix(path) == ".npz" or ".npz:" in path.name


def read(given: Given, spacing: Sequence[float], channels: int) -> Iterator[Input]:
    """The images of a file; one that cannot be read is told, not raised.

    Args:
        given: an image, or `FILE.npz` or `FILE.npz:ARRAY`.
        spacing: voxel edge lengths of arrays, which have none of their own.
        channels: that the network takes, by which an array's axes are told.
    """
    path, packed = given.path, is_packed(given.path)
    if given.error:
        yield Input(given.name, path, None, given.error)
        return
    try:
        if not packed:
            yield Input(given.name, path, read_channels(given.paths, canonical=True))
            return
        with reading(path, "the arrays"):
            images = _unpacked(path, len(spacing), channels)
    except (OSError, ValueError) as error:
        yield Input(given.name, path, None, str(error), packed)
        return
    affine = np.diag([*spacing, 1.0])
    width = len(str(len(images) - 1))
    for i, image in enumerate(images):
        scan = Scan(image, affine, Space(image.shape[:-1], affine))
        bad = "" if np.isfinite(image).all() else "it holds NaN or infinity"
        name = f"{given.name}_{i:0{width}}" if len(images) > 1 else given.name
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
        array = array_of(file, choice)
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
