"""Examples prepared once, and read from disk only where they are looked at."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from jaxmed._files import owning, write_whole
from jaxmed.data._error import fault, reading
from jaxmed.data._source import Example, Source, about, as_source, fingerprint, shown
from jaxmed.data.images._foreground import MappedMask, labelled_classes, labelled_voxels
from jaxmed.data.sources._told import told

_VERSION = 1
_ABOUT, _RECORD = "example.json", "prepared.json"


@dataclass(frozen=True, repr=False)
class MemoryMappedSource:
    """Examples whose arrays stay on disk; made by `memory_mapped`."""

    folder: Path
    case_ids: Sequence[str]
    groups: Sequence[Any] | None
    classes: Sequence[str]
    notes: Sequence[str]

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.case_ids)

    def __getitem__(self, index: int) -> Example:
        place = _place(self.folder, range(len(self))[index])
        with reading(place, "the prepared example"):
            known = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
            example = {name: _load(place, name) for name in known["fields"]}
            for name, counts in known["foreground"].items():
                example[name] = _with_foreground(example[name], place, name, counts)
        return example

    def column(self, name: str) -> np.ndarray:
        """Read one field of all examples."""
        return np.stack([_load(_place(self.folder, i), name) for i in range(len(self))])


def memory_mapped(
    source: Any,
    folder: str | os.PathLike,
    *,
    function: Callable[[Example], Example] | None = None,
    settings: Mapping[str, Any] | None = None,
    masks: Sequence[str] = ("mask",),
) -> MemoryMappedSource:
    """Prepare every example once, and give a source that reads of them only what is looked at.

    Each array becomes a ``.npy`` file, an item of the source a dict of memory maps: a patch that
    `random_patch` cuts reads the pages under it, so that volumes may be larger than memory, and
    their number too. The places of labelled voxels are stored, so that patches around them are
    drawn without reading the mask; the draws are those of the same examples in memory.

    The folder is filled example by example, each at once: an interrupted call is repeated and goes
    on. It knows the names of the cases, the arrays of a source in memory, the function and the
    settings, and refuses others. Of the function it knows the code, what it closes
    over, and the constants and functions of its module. It does not see that a file of the source
    has changed, or another module: say in ``settings`` what may change (a spacing, a version).

    Args:
        source: any source.
        folder: where the examples are stored, made if it is not there.
        function: applied to each example before it is stored, such as resampling and normalising.
        settings: what else determines the examples, as JSON knows it.
        masks: the fields whose labelled voxels are stored.

    Returns:
        The source: names, patients, classes and notes are kept. Fields of at most one axis are
        read whole.

    Raises:
        DataError: the folder was made from other cases, by another function or settings, or an
            example in it is broken.
        BusyError: another process is filling the folder.
        TypeError: a field is no array of numbers, truth values or text.

    Examples:
        >>> import numpy as np, tempfile
        >>> scans = [{"image": np.ones((9, 7, 1)), "mask": np.eye(9, 7, dtype=int)}]
        >>> double = lambda e: e | {"image": 2 * e["image"]}
        >>> source = memory_mapped(scans, tempfile.mkdtemp() + "/prepared", function=double)
        >>> type(source[0]["image"]).__name__, source[0]["image"][3, 2]
        ('memmap', memmap([2.]))
    """
    source, folder = as_source(source), Path(folder)
    made = _identity(source, function, settings or {}, masks)
    record = folder / _RECORD
    with owning(folder):
        if record.exists():
            _check(folder, record, made)
        elif folder.is_dir() and any(p.name != ".lock" for p in folder.iterdir()):
            detail = f"the folder holds files, and no {_RECORD}; name one that is empty or new"
            raise fault(folder, "prepared", detail)
        else:
            write_whole(record, json.dumps(made, indent=1))
        for left in folder.glob(".part-*"):
            shutil.rmtree(left)
        names = about(source)["case_ids"]
        for index in range(len(source)):
            place = _place(folder, index)
            if place.exists():
                continue
            try:
                example = dict(source[index])
                _store(place, function(example) if function else example, masks)
            except Exception as error:
                error.add_note(f"while preparing {names[index]} for {folder}")
                raise
    return MemoryMappedSource(folder, **about(source))


def _identity(
    source: Source,
    function: Callable[[Example], Example] | None,
    settings: Mapping[str, Any],
    masks: Sequence[str],
) -> dict[str, Any]:
    """What the examples of a folder are made of, as JSON gives it back."""
    known = {
        "version": _VERSION,
        "examples": len(source),
        "data": fingerprint(source),
        "function": "none"
        if function is None
        else f"{getattr(function, '__qualname__', type(function).__qualname__)} "
        + hashlib.blake2b(told(function).encode(), digest_size=8).hexdigest(),
        "masks": sorted(masks),
        "settings": dict(settings),
    }
    return json.loads(json.dumps(known))


def _check(folder: Path, record: Path, made: Mapping[str, Any]) -> None:
    with reading(record, "the record of what was prepared"):
        known = dict(json.loads(record.read_text(encoding="utf-8")))
    for key, now in made.items():
        if known.get(key) != now:
            what = {"data": "cases or arrays"}.get(key, key)
            values = "" if key == "data" else f": {known.get(key)} there, {now} now"
            raise fault(
                folder,
                "prepared",
                f"it was made otherwise, by other {what}{values}; delete it or name another",
            )


def _place(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}"


def _file(place: Path, name: str) -> Path:
    return place / f"{quote(name, safe='')}.npy"


def _foreground_file(place: Path, name: str) -> Path:
    return place / f"{quote(name, safe='')}#foreground.npy"


def _store(place: Path, example: Example, masks: Sequence[str]) -> None:
    """Write an example's folder, complete or not at all."""
    part = place.with_name(f".part-{place.name}")
    part.mkdir()
    try:
        found: dict[str, list[list[int]]] = {}
        for name, value in example.items():
            array = np.asarray(value)
            if array.dtype.kind not in "biufcSU":
                raise TypeError(f"the field {name!r} is no array of numbers, but {array.dtype}")
            np.save(_file(part, name), array)
            if name in masks and array.dtype.kind in "iu" and array.ndim > 1:
                found[name] = _store_foreground(part, name, array)
        known = {"fields": list(example), "foreground": found}
        (part / _ABOUT).write_text(json.dumps(known), encoding="utf-8")
        part.replace(place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _store_foreground(place: Path, name: str, mask: np.ndarray) -> list[list[int]]:
    """Write the flat indices of each class's voxels; return the classes and their counts."""
    narrow = np.uint32 if mask.size <= 2**32 else np.int64
    classes = labelled_classes(mask)
    voxels = [labelled_voxels(mask, label).astype(narrow) for label in classes]
    np.save(_foreground_file(place, name), np.concatenate([np.zeros(0, narrow), *voxels]))
    return [[int(label), len(at)] for label, at in zip(classes, voxels, strict=True)]


def _load(place: Path, name: str) -> np.ndarray:
    path = _file(place, name)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an array without elements cannot be mapped
        array = np.load(path, allow_pickle=False)
    return array if array.ndim > 1 else np.array(array)


def _with_foreground(
    mask: np.ndarray, place: Path, name: str, counts: Sequence[Sequence[int]]
) -> np.ndarray:
    known = mask.view(MappedMask)
    voxels: Any = np.zeros(0, np.uint32)
    if counts:
        voxels = np.load(_foreground_file(place, name), mmap_mode="r", allow_pickle=False)
    ends = np.cumsum([0, *(count for _, count in counts)])
    known.foreground = {
        label: voxels[a:b] for (label, _), a, b in zip(counts, ends, ends[1:], strict=False)
    }
    return known
