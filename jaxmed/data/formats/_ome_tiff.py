"""OME-TIFF (.ome.tif): microscopy in planes and channels, with the length of a pixel."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._optional import optional
from jaxmed.data.formats._format import Format, Place, Voxels, check_exists
from jaxmed.data.images._space import Space

# To micrometres, by the names that OME and ImageJ write.
UNITS = {
    "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "\\u00B5m": 1.0, "micron": 1.0, "microns": 1.0,
    "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0,
}  # fmt: skip
_WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_LOSSY = ("JPEG", "OJPEG", "JPEGXR_NDPI", "WEBP")
_MILLIMETRES = 1e-3  # of a micrometre


def physical_sizes(tiff: Any) -> dict[str, float]:
    """Micrometres between pixels along the axes X, Y and Z of a file's first image, if stated."""
    if not tiff.is_ome:
        return {}
    for element in ET.fromstring(tiff.ome_metadata).iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            sizes = {axis: _length(element, axis) for axis in "XYZ"}
            return {axis: size for axis, size in sizes.items() if size}
    return {}


def _length(pixels: Any, axis: str) -> float | None:
    size = pixels.get(f"PhysicalSize{axis}")
    unit = UNITS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return float(size) * unit if size and unit else None


def _space(place: Place) -> tuple[Space, int]:
    with _open(place) as tiff:
        space = _grid(place, tiff)
        channels = int(np.prod(tiff.series[0].shape)) // max(int(np.prod(space.shape)), 1)
        return space, channels


def _image(place: Place) -> Voxels:
    """Read an image; as of pictures, 8 and 16 bits are shares of the largest number."""
    with _open(place) as tiff:
        array = _voxels(tiff)
        share = np.float32(_WHITE.get(array.dtype, 1))
        return Voxels(array.astype(np.float32) / share, _grid(place, tiff))


def _labels(place: Place) -> Voxels:
    with _open(place) as tiff:
        compression = tiff.series[0].keyframe.compression.name
        if compression in _LOSSY:
            detail = f"a mask in {compression}, which has changed labels along every edge"
            raise fault(place.path, "lossless-mask", f"{detail}; write it anew without loss")
        array = _voxels(tiff)
        array = array.astype(np.uint8) if array.dtype.kind == "b" else array
        white = _WHITE.get(array.dtype)
        return Voxels(array, _grid(place, tiff), (white,) if white else ())


@contextlib.contextmanager
def _open(place: Place) -> Iterator[Any]:
    check_exists(place.path)
    with reading(place.path, "the image"):
        tifffile = optional("tifffile", "OME-TIFF")
        with tifffile.TiffFile(place.path) as tiff:
            yield tiff


def _grid(place: Place, tiff: Any) -> Space:
    """Rows, columns and planes with their lengths; pixels of 1 where the file states none."""
    series = tiff.series[0]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    many = [axis for axis, size in sizes.items() if axis not in "YXZCS" and size > 1]
    if many or not {"Y", "X"} <= sizes.keys():
        detail = f"its axes are {series.axes} of {tuple(series.shape)}"
        raise fault(place.path, "shape", f"{detail}; an image has rows, columns, planes, channels")
    axes = [axis for axis in "YXZ" if axis in "YX" or sizes.get(axis, 1) > 1]
    known = physical_sizes(tiff)
    lengths = [known[axis] * _MILLIMETRES for axis in axes if axis in known]
    lengths = lengths if len(lengths) == len(axes) else [1.0] * len(axes)
    if not np.all(np.isfinite(lengths)) or min(lengths) <= 0:
        raise fault(place.path, "finite", f"its pixels measure {lengths} mm")
    return Space(tuple(sizes[axis] for axis in axes), np.diag([*lengths, 1.0]))


def _voxels(tiff: Any) -> np.ndarray:
    """The samples as (rows, columns, [planes,] channels)."""
    series = tiff.series[0]
    array = series.levels[0].asarray()
    order = [series.axes.index(axis) for axis in "YXZCS" if axis in series.axes]
    others = [i for i in range(array.ndim) if i not in order]
    array = array.transpose(*order, *others)
    sizes = dict(zip(series.axes, series.shape, strict=True))
    deep = (sizes["Z"],) if sizes.get("Z", 1) > 1 else ()
    return np.ascontiguousarray(array.reshape(*array.shape[:2], *deep, -1))


def _write(path: Path, mask: np.ndarray, space: Space) -> None:
    """Write a mask of two or three axes with the lengths of its grid."""
    tifffile = optional("tifffile", "OME-TIFF")
    if not np.allclose(space.affine, np.diag([*space.spacing, 1]), atol=1e-6):
        raise ValueError(
            "OME-TIFF has lengths, but no place in the patient, and this grid is turned or moved; "
            "write .nii.gz"
        )
    if set(np.unique(mask).tolist()) <= {0, 255}:
        mask = mask.astype(np.int16)  # as 8 bits they would be read as black and white, 0 and 1
    planes = np.moveaxis(mask, 2, 0) if mask.ndim == 3 else mask
    metadata: dict[str, Any] = {"axes": "ZYX"[3 - mask.ndim :]}
    if not np.allclose(space.spacing, 1):
        for axis, length in zip("YXZ", space.spacing):
            metadata[f"PhysicalSize{axis}"] = length / _MILLIMETRES
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    tifffile.imwrite(
        path, planes, ome=True, photometric="minisblack", compression="zlib", metadata=metadata
    )


OME_TIFF = Format(
    "OME-TIFF",
    (".ome.tif", ".ome.tiff"),
    _space,
    _image,
    _labels,
    _write,
    (".ome.tif", ".ome.tiff"),
)
