"""Arrays of NumPy (.npy, .npz), which know no place: their size is told behind a ``#``."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._npz import array_of
from jaxmed.data.formats._format import Format, Place, Voxels, check_exists
from jaxmed.data.images._space import Space

_USUAL = ("image", "images", "mask", "data", "arr_0")
_COLOURS = 4
_WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def _space(place: Place) -> tuple[Space, int]:
    array = _read(place)
    space = _grid(place, array)
    return space, array.size // max(int(np.prod(space.shape)), 1)


def _image(place: Place) -> Voxels:
    """Read an array as an image; as of pictures, whole numbers are shares of the largest."""
    array = _read(place)
    largest = _WHITE.get(array.dtype, 1)
    return Voxels(array.astype(np.float32) / np.float32(largest), _grid(place, array))


def _labels(place: Place) -> Voxels:
    array = _read(place)
    return Voxels(array, _grid(place, array))


def _read(place: Place) -> np.ndarray:
    """The array that is meant, of real numbers."""
    path, wanted = place.path, place.options.get("array", "")
    check_exists(path)
    with reading(path, "the array"):
        found: Any = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            array = found
        else:
            with found:
                array = _chosen(place, found, wanted)
    if array.dtype.kind not in "fiub":
        raise fault(path, "real", f"an image holds real numbers, this {array.dtype}")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _chosen(place: Place, found: Any, wanted: str) -> np.ndarray:
    names = [*found]
    usual = [name for name in _USUAL if name in names]
    choice = wanted or (names[0] if len(names) == 1 else usual[0] if usual else "")
    if choice not in names:
        missing = f"no array {choice!r} among" if choice else "several arrays:"
        detail = f"{missing} {', '.join(names)}; name one as {place.path.name}#array=NAME"
        raise fault(place.path, "table", detail)
    try:
        return array_of(found, choice)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


def _grid(place: Place, array: np.ndarray) -> Space:
    """The grid of an array: the last of three axes is colours if there are at most four."""
    said = place.options.get("spacing", "")
    lengths = _lengths(place, said) if said else None
    rank = array.ndim
    if lengths is not None:
        rank = len(lengths)
    elif array.ndim == 4 or (array.ndim == 3 and array.shape[-1] <= _COLOURS):
        rank = array.ndim - 1
    if rank not in (2, 3) or array.ndim not in (rank, rank + 1):
        detail = f"an array of shape {array.shape} is no image of {rank} axes and channels"
        raise fault(place.path, "shape", detail)
    return Space(array.shape[:rank], np.diag([*(lengths or [1.0] * rank), 1.0]))


def _lengths(place: Place, said: str) -> list[float]:
    try:
        lengths = [float(part) for part in said.split("x")]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) <= 0 or not np.all(np.isfinite(lengths)):
        detail = f"spacing={said} behind the #; it is lengths in mm, such as 0.7x0.7x5"
        raise fault(place.path, "table", detail)
    return lengths


ARRAY = Format(
    "array", (".npy", ".npz"), _space, _image, _labels, options=("array", "spacing"), picture=False
)
