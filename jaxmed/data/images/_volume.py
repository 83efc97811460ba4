"""Reading of NIfTI, MGZ and Analyze volumes with nibabel."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple, cast

import nibabel as nib
import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data.images._space import Space, millimetres

# Two axes of a voxel this close to parallel leave the place of a voxel undetermined.
_FLATTEST = 1e6
# A label stored through a scale is off by half a step of it; a coarser one could be another label.
_STEP = 0.01


class Volume(NamedTuple):
    """The voxels of a file, (*spatial) or (*spatial, channels), and their place.

    ``affine`` belongs to ``array``; ``file`` is the grid as it lies in the file.
    """

    array: np.ndarray
    affine: np.ndarray
    file: Space


def open_volume(path: Path) -> tuple[Space, int]:
    """Read the grid and the number of channels from the header."""
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    with reading(path, "the header"):
        image = cast("Any", nib.load(path))  # nibabel's base class declares no shape
        _check_kind(path, image)
        shape, affine = _grid(path, image)
        return Space(shape, affine, image.header), int(np.prod(image.shape[len(shape) :]))


def read_volume(path: Path, *, canonical: bool, labels: bool) -> Volume:
    """Read a whole volume, its checksum included.

    Args:
        path: The file.
        canonical: Whether to turn three axes to RAS+.
        labels: Whether the voxels are labels, which stay whole numbers of any size; else float32.
    """
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    with reading(path, "the header"):
        image = _load(path)
        _check_kind(path, image)
        shape, affine = _grid(path, image)
        file = Space(shape, affine, image.header)
        step = _step(image)
    with reading(path, "the voxels"):
        if canonical and len(shape) == 3:
            image = nib.as_closest_canonical(image)
            shape, affine = _grid(path, image)
        if labels:
            array = _whole(np.asanyarray(image.dataobj), step)
        else:
            array = image.get_fdata(dtype=np.float32, caching="unchanged")
        array = array.reshape(*shape, -1) if array.ndim > len(shape) else array
    return Volume(array, affine, file)


def _load(path: Path) -> Any:
    """Open a file, decompressing it to its end.

    nibabel stops where the voxels end, before the checksum that detects a damaged file.
    """
    name = path.name.lower()
    if not name.endswith((".gz", ".mgz")):
        return nib.load(path)
    packed = path.read_bytes()
    if packed[:2] != b"\x1f\x8b":
        raise ValueError("the file is not gzip-compressed, though its name says so")
    content = gzip.decompress(packed)
    del packed
    if name.endswith(".mgz"):
        return nib.MGHImage.from_bytes(content)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        if kind.header_class.may_contain_header(content[:1024]):
            return kind.from_bytes(content)
    raise ValueError("neither a NIfTI-1 nor a NIfTI-2 header")


def _check_kind(path: Path, image: Any) -> None:
    dtype = image.get_data_dtype()
    if dtype.fields:
        raise fault(path, "shape", "a colour (RGB) NIfTI; its channels must be a fourth axis")
    if dtype.kind == "c":
        detail = "complex voxels; save the magnitude, or both parts as channels of a fourth axis"
        raise fault(path, "real", detail)


def _grid(path: Path, image: Any) -> tuple[tuple[int, ...], np.ndarray]:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) == 5 and shape[3] == 1:  # NIfTI keeps vectors behind an empty time axis
        shape = (*shape[:3], shape[4])
    if not 2 <= len(shape) <= 4:
        raise fault(path, "shape", f"a volume has 2 to 4 axes, this has shape {shape}")
    if len(shape) == 2:
        affine = np.diag([*np.asarray(image.header.get_zooms()[:2], float), 1.0])
    else:
        affine = np.array(image.affine, float)
    affine[:-1] *= millimetres(image.header)
    if not np.all(np.isfinite(affine)):
        raise fault(path, "finite", "the affine holds NaN or infinity")
    edges = np.linalg.norm(affine[:-1, :-1], axis=0)
    # By direction alone: a voxel of nanometres has as good an inverse as one of metres.
    if not edges.all() or np.linalg.cond(affine[:-1, :-1] / edges) > _FLATTEST:
        raise fault(path, "finite", "the affine has no inverse")
    return shape[:3], affine


def _step(image: Any) -> float:
    """Return the step between neighbouring stored values, if they are scaled integers."""
    slope = abs(float(getattr(image.dataobj, "slope", 1.0)))
    inter = float(getattr(image.dataobj, "inter", 0.0))
    scaled = (slope, inter) != (1.0, 0.0)
    return slope if scaled and image.get_data_dtype().kind in "iu" else 0.0


def _whole(values: np.ndarray, step: float) -> np.ndarray:
    """Round labels that differ from integers only by the rounding of a scale."""
    if values.dtype.kind != "f" or step == 0:
        return values
    rounded = np.rint(values)
    near = min(step / 2, _STEP) + 1e-6 * np.abs(rounded)
    return np.where(np.abs(values - rounded) <= near, rounded, values)
