"""Whole slides, read lazily: any box, at any number of micrometres a pixel."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._optional import optional
from jaxmed.data.formats._format import check_exists
from jaxmed.data.images._geometry import rounded_to
from jaxmed.data.slides._area import along, rows
from jaxmed.data.slides._pixel_size import pixel_size

_BAND = 2**26  # Bytes that are decoded at once.
_ROUNDING = 1e-3
_KINDS = ("uint8", "uint16", "float32")


class Level(NamedTuple):
    """A level of a pyramid.

    Attributes:
        shape: (rows, columns) in pixels.
        mpp: micrometres a pixel along (rows, columns).
    """

    shape: tuple[int, int]
    mpp: tuple[float, float]


class Slide:
    """A whole slide whose pixels stay on disk; made by `slide`. Threads may share it.

    Attributes:
        path: its file.
        levels: the pyramid, the finest level first.
        channels: number of channels.
        dtype: type of the samples.
    """

    def __init__(self, path: Path, mpp: float | Sequence[float] | None):
        self.path, self._said = path, mpp
        self._lock = threading.Lock()
        with reading(path, "the slide"):
            tifffile, zarr = (optional(name, "a slide") for name in ("tifffile", "zarr"))
            tiff = tifffile.TiffFile(path)
            weakref.finalize(self, tiff.close)
            series = tiff.series[0]
            self._axes = _axes(path, series)
            self.dtype = np.dtype(series.dtype)
            if self.dtype.name not in _KINDS:
                detail = f"its samples are {self.dtype}; a slide has {', '.join(_KINDS)}"
                raise fault(path, "real", detail)
            self._arrays = [
                zarr.open_array(series.aszarr(level=level), mode="r")
                for level in range(len(series.levels))
            ]
            colours = series.keyframe.photometric.name in ("RGB", "YCBCR")
            sizes = dict(zip(series.axes, series.shape, strict=True))
            self.channels = sizes.get("C", 1) * (3 if colours else sizes.get("S", 1))
            self._colours = colours
            given = _pair(mpp) if mpp is not None else pixel_size(tiff)
        if given is None:
            detail = "the file does not say how large its pixels are; give mpp, in micrometres"
            detail += ": slide(path, mpp=0.25), or --pixel-size 0.25"
            raise fault(path, "pixel-size", detail)
        self.levels = tuple(
            Level(shape, _pixels_of(given, self._shape(0), shape))
            for shape in map(self._shape, range(len(self._arrays)))
        )

    def _shape(self, level: int) -> tuple[int, int]:
        sizes = dict(zip(self._axes, self._arrays[level].shape, strict=True))
        return sizes["Y"], sizes["X"]

    @property
    def mpp(self) -> float:
        """Micrometres a pixel of the finest level: the mean of both axes, if they differ."""
        return float(np.mean(self.levels[0].mpp))

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width in micrometres."""
        level = self.levels[0]
        return level.shape[0] * level.mpp[0], level.shape[1] * level.mpp[1]

    def __repr__(self) -> str:
        (height, width), levels = self.levels[0].shape, len(self.levels)
        return (
            f"Slide({self.path.name}: {height} x {width} pixels of {self.mpp:.4g} um, "
            f"{levels} level{'s' * (levels > 1)})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Slide, (self.path, self._said)

    def read(
        self, box: Sequence[float] | None = None, mpp: float | Sequence[float] | None = None
    ) -> np.ndarray:
        """Read a box of the slide at a resolution.

        The coarsest level is read that is at least as fine as what is asked for, and each pixel of
        the result is the mean over its area there; finer than the slide itself is interpolated.
        A box that is made of the finest level's whole pixels, at its resolution, gives those.

        Args:
            box: (top, left, bottom, right) in micrometres from the slide's upper left corner; all
                of it by default. It may reach beyond the slide, which is white there (of other
                than three channels 0).
            mpp: micrometres a pixel of the result, one number or (rows, columns); those of the
                finest level by default.

        Returns:
            (rows, columns, channels) of the file's type, the box's edges divided by ``mpp`` and
            rounded, at least 1.

        Raises:
            DataError: the file is broken there.
            ValueError: a box without area, or an mpp that is not positive.
        """
        wanted = _pair(self.levels[0].mpp if mpp is None else mpp)
        top, left, bottom, right = (0.0, 0.0, *self.extent) if box is None else map(float, box)
        if not (bottom > top and right > left):
            raise ValueError(f"box is (top, left, bottom, right) in micrometres, got {box}")
        shape = [
            max(round(n / m), 1) for n, m in zip((bottom - top, right - left), wanted, strict=True)
        ]
        number = self._best(wanted)
        level = self.levels[number]
        down, across = (
            (begin / own, step / own)
            for begin, step, own in zip((top, left), wanted, level.mpp, strict=True)
        )
        columns = rows(*across, shape[1])
        out = np.empty((*shape, self.channels), self.dtype)
        width = (columns.last - columns.first) * self.channels * self.dtype.itemsize
        band = max(int(_BAND / (width * max(down[1], 1))), 1)
        for first in range(0, shape[0], band):
            count = min(band, shape[0] - first)
            lines = rows(down[0] + first * down[1], down[1], count)
            part = self._pixels(number, lines.first, lines.last, columns.first, columns.last)
            part = along(columns.weights, along(lines.weights, part, 0), 1)
            out[first : first + count] = rounded_to(part, self.dtype)
        return out

    def _best(self, wanted: tuple[float, float]) -> int:
        fine = [
            number
            for number, level in enumerate(self.levels)
            if all(own <= m * (1 + _ROUNDING) for own, m in zip(level.mpp, wanted, strict=True))
        ]
        return max(fine, key=lambda number: self.levels[number].mpp[0], default=0)

    def _pixels(self, level: int, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Pixels of a level, (rows, columns, channels), beyond its border what is outside."""
        height, width = self.levels[level].shape
        inside = [
            slice(min(max(a, 0), n), min(max(b, 0), n))
            for a, b, n in ((top, bottom, height), (left, right, width))
        ]
        index = tuple(inside["YX".index(a)] if a in "YX" else slice(None) for a in self._axes)
        with self._lock, reading(self.path, "the slide"):
            found = np.asarray(self._arrays[level][index])
        order = [self._axes.index(a) for a in "YX"]
        order += [i for i, a in enumerate(self._axes) if a == "C"]
        order += [i for i, a in enumerate(self._axes) if a == "S"]
        others = tuple(i for i in range(found.ndim) if i not in order)
        found = found.transpose(*order, *others).reshape(*(found.shape[i] for i in order))
        if self._colours:
            found = found[..., :3]  # without what lies over the colours
        found = found.reshape(*found.shape[:2], self.channels)
        if found.shape[:2] == (bottom - top, right - left):
            return found
        white = np.iinfo(self.dtype).max if self.dtype.kind == "u" else 1
        out = np.full(
            (bottom - top, right - left, self.channels),
            white if self._colours else 0,
            self.dtype,
        )
        rows_, columns = inside[0].start - top, inside[1].start - left
        out[rows_ : rows_ + found.shape[0], columns : columns + found.shape[1]] = found
        return out


def slide(path: str | os.PathLike, *, mpp: float | Sequence[float] | None = None) -> Slide:
    """Open a whole slide: OME-TIFF, Aperio's SVS, or any TIFF, tiled, with or without a pyramid.

    Nothing is read but the headers. Lengths are micrometres, not magnifications, which differ
    between scanners. They come from OME's or ImageJ's header, Aperio's MPP, or the resolution of
    the TIFF, if it is finer than 20 micrometres: coarser ones are those of screens and printers.

    Args:
        path: the file.
        mpp: micrometres a pixel, one number or (rows, columns), if the file states none or wrong
            ones.

    Returns:
        The slide.

    Raises:
        DataError: the file is missing or broken, has several planes in depth or time, or states no
            size of its pixels and ``mpp`` is not given.

    Examples:
        >>> import numpy as np, tempfile
        >>> from jaxmed.data import write_pyramid
        >>> path = tempfile.mkdtemp() + "/a.ome.tif"
        >>> _ = write_pyramid(path, np.full((600, 400, 3), 200, np.uint8), mpp=0.5)
        >>> found = slide(path)
        >>> found
        Slide(a.ome.tif: 600 x 400 pixels of 0.5 um, 3 levels)
        >>> found.read((0, 0, 100, 50), mpp=1).shape
        (100, 50, 3)
    """
    path = Path(path)
    check_exists(path)
    return Slide(path, mpp)


def _axes(path: Path, series: Any) -> str:
    """The axes of an image, of which those beside rows, columns and channels have one plane."""
    axes = series.axes
    many = {a: n for a, n in zip(axes, series.shape, strict=True) if a not in "YXCS" and n > 1}
    if "Y" not in axes or "X" not in axes or many:
        detail = f"its axes are {axes} of {tuple(series.shape)}"
        raise fault(path, "shape", f"{detail}; a slide has rows, columns and channels alone")
    return axes


def _pair(mpp: float | Sequence[float]) -> tuple[float, float]:
    found = np.broadcast_to(np.asarray(mpp, float), (2,))
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"mpp is a positive number of micrometres, or two, got {mpp}")
    return float(found[0]), float(found[1])


def _pixels_of(
    mpp: tuple[float, float], finest: tuple[int, int], shape: tuple[int, int]
) -> tuple[float, float]:
    """Micrometres a pixel of a level, from its size and those of the finest one."""
    return mpp[0] * _factor(finest[0], shape[0]), mpp[1] * _factor(finest[1], shape[1])


def _factor(finest: int, pixels: int) -> float:
    """How many of the finest pixels a pixel measures: a whole number if rounding allows it."""
    ratio = finest / pixels
    whole = round(ratio)
    return float(whole) if abs(finest - whole * pixels) < whole else ratio
