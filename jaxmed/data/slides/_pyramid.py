"""Pyramids written as tiled OME-TIFF."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxmed._files import replacing
from jaxmed.data._optional import optional
from jaxmed.data.images._geometry import rounded_to

_ENDINGS = (".ome.tif", ".ome.tiff")
_KINDS = ("uint8", "uint16", "float32")


def write_pyramid(
    path: str | os.PathLike, array: np.ndarray, mpp: float | Sequence[float], *, tile: int = 256
) -> Path:
    """Write an image as a tiled OME-TIFF with a pyramid, without loss.

    Each level has half the edges of the one before, rounded down, and the mean of its 2 x 2 pixels,
    until it fits into a tile.

    Args:
        path: the file, which ends in ``.ome.tif`` or ``.ome.tiff``.
        array: (rows, columns) or (rows, columns, channels), uint8, uint16 or float32. Three
            channels are red, green and blue.
        mpp: micrometres a pixel, one number or (rows, columns).
        tile: edge of a tile, a multiple of 16.

    Returns:
        The path.

    Raises:
        ValueError: another ending, shape, type or tile.
    """
    path, array = Path(path), np.asarray(array)
    if not path.name.lower().endswith(_ENDINGS):
        raise ValueError(f"a pyramid is written as {' or '.join(_ENDINGS)}, got {path.name}")
    if array.ndim not in (2, 3) or not array.size or array.dtype.name not in _KINDS:
        raise ValueError(
            f"a pyramid is of (rows, columns[, channels]) {', '.join(_KINDS)}, got the shape "
            f"{array.shape}, {array.dtype}"
        )
    if tile < 16 or tile % 16:
        raise ValueError(f"tile is a multiple of 16 pixels, got {tile}")
    lengths = np.broadcast_to(np.asarray(mpp, float), (2,))
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"mpp is a positive number of micrometres, or two, got {mpp}")
    height, width = lengths.tolist()
    array = array[..., 0] if array.shape[2:] == (1,) else array
    colours = array.shape[2:] == (3,) and array.dtype.kind == "u"
    channels_first = array.ndim == 3 and not colours
    tifffile = optional("tifffile", "a pyramid")
    below = sum(1 for _ in _halves(array.shape[:2], tile))
    with (
        replacing(path) as partial,
        tifffile.TiffWriter(partial, ome=True, bigtiff=array.nbytes > 2**31) as file,
    ):
        options = {
            "tile": (tile, tile),
            "compression": "zlib",
            "photometric": "rgb" if colours else "minisblack",
        }
        metadata = {
            "axes": "YXS" if colours else "CYX" if channels_first else "YX",
            "PhysicalSizeY": height,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeX": width,
            "PhysicalSizeXUnit": "µm",
        }
        level = np.moveaxis(array, -1, 0) if channels_first else array
        file.write(level, subifds=below, metadata=metadata, **options)
        for rows, columns in _halves(array.shape[:2], tile):
            array = _halved(array, rows, columns)
            level = np.moveaxis(array, -1, 0) if channels_first else array
            file.write(level, subfiletype=1, metadata=None, **options)
    return path


def _halves(shape: tuple[int, ...], tile: int) -> Iterator[tuple[int, int]]:
    rows, columns = shape
    while max(rows, columns) > tile and min(rows, columns) > 1:
        rows, columns = rows // 2, columns // 2
        yield rows, columns


def _halved(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Average pixels in fours, some rows at a time."""
    out = np.empty((rows, columns, *array.shape[2:]), array.dtype)
    for first in range(0, rows, 512):
        some = array[2 * first : 2 * min(first + 512, rows), : 2 * columns].astype(np.float32)
        fours = some.reshape(len(some) // 2, 2, columns, 2, *array.shape[2:])
        out[first : first + 512] = rounded_to(fours.mean((1, 3)), array.dtype)
    return out
