"""NIfTI, MGZ and Analyze volumes, by nibabel."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data.formats._format import Format, Place, Voxels, check_exists
from jaxmed.data.formats._patient_axes import check_affine
from jaxmed.data.images._space import Space, file_affine, millimetres

# A label stored through a scale is off by half a step of it; a coarser one could be another label.
_STEP = 0.01
# Entries of a header that hold a patient's name or number, and extensions that hold more.
_NAMES = ("db_name",)
_EXTENSIONS = {2: "a DICOM extension", 6: "a comment extension"}
_COLOUR = ("R", "G", "B", "A")


def _space(place: Place) -> tuple[Space, int]:
    """Read the grid and the number of channels from the header."""
    path = place.path
    check_exists(path)
    with reading(path, "the header"):
        image = cast("Any", nib.load(path))  # nibabel's base class declares no shape
        _check_kind(path, image)
        shape, affine = _grid(path, image)
        channels = int(np.prod(image.shape[len(shape) :]))
        return Space(shape, affine, image.header), channels * _colours(image)


def _image(place: Place) -> Voxels:
    """Read a whole volume, its checksum included, as float32."""
    path = place.path
    image, space = _open(path)
    with reading(path, "the voxels"):
        if _colours(image) > 1:
            stored = np.asanyarray(image.dataobj)
            array = np.stack([stored[name] for name in stored.dtype.names], axis=-1)
        else:
            array = image.get_fdata(dtype=np.float32, caching="unchanged")
        return Voxels(_with_channels(array, len(space.shape)), space)


def _labels(place: Place) -> Voxels:
    """Read a whole volume of labels, which stay whole numbers of any size."""
    path = place.path
    image, space = _open(path)
    if _colours(image) > 1:
        detail = "a mask in colour (RGB); save the number of the class of each voxel"
        raise fault(path, "mask-shape", detail)
    with reading(path, "the voxels"):
        array = _whole(np.asanyarray(image.dataobj), _step(image))
        return Voxels(_with_channels(array, len(space.shape)), space)


def _open(path: Path) -> tuple[Any, Space]:
    check_exists(path)
    with reading(path, "the header"):
        image = _load(path)
        _check_kind(path, image)
        shape, affine = _grid(path, image)
        return image, Space(shape, affine, image.header)


def _with_channels(array: np.ndarray, rank: int) -> np.ndarray:
    return array.reshape(*array.shape[:rank], -1) if array.ndim > rank else array


def _colours(image: Any) -> int:
    """The number of channels of one voxel: 3 or 4 of a colour volume."""
    return len(image.get_data_dtype().names or (None,))


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
    if dtype.names and (dtype.names not in (_COLOUR[:3], _COLOUR) or len(image.shape) > 3):
        detail = f"voxels of {dtype} on {len(image.shape)} axes; channels must be a fourth axis"
        raise fault(path, "shape", detail)
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
    check_affine(Place(path), affine)
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


def write_nifti(path: Path, mask: np.ndarray, space: Space) -> None:
    """Write a mask with the header of the file that its scan came from, if that was a NIfTI."""
    affine, header = _place(space), None
    if isinstance(space.header, nib.Nifti1Header):
        # nibabel says that this is a header of any kind.
        header = cast("nib.Nifti1Header", nib.Nifti1Header.from_header(space.header))
        header.set_data_dtype(mask.dtype)
        header.set_data_shape(mask.shape)
        header.set_slope_inter(1, 0)
        # What people and programs wrote of the image may name the patient.
        header.extensions.clear()
        for name in (*_NAMES, "descrip", "aux_file", "intent_name"):
            header[name] = b""
        header["cal_min"], header["cal_max"] = 0, 0
        if header.get_xyzt_units()[0] not in ("mm", "unknown"):
            header.set_xyzt_units("mm")
    nib.Nifti1Image(mask, affine, header).to_filename(path)


def _place(space: Space) -> np.ndarray:
    """The (4, 4) affine of a file's grid; a header knows more of two axes than their affine."""
    rank = len(space.affine) - 1
    header = space.header
    if rank == 2 and hasattr(header, "get_best_affine") and len(header.get_data_shape()) == 2:
        return file_affine(header)
    affine = np.eye(4)
    kept = [*range(rank), 3]
    affine[np.ix_(kept, kept)] = space.affine
    return affine


def write_mgz(path: Path, mask: np.ndarray, space: Space) -> None:
    """Write a mask of three axes for FreeSurfer."""
    if mask.ndim != 3:
        raise ValueError(f".mgz holds three axes, this mask has shape {mask.shape}")
    voxels = cast("Any", mask)  # the stub of nibabel has no ndarray
    nib.MGHImage(voxels, space.affine).to_filename(path)


def _notes(place: Place) -> tuple[str, ...]:
    check_exists(place.path)
    with reading(place.path, "the header"):
        header = cast("Any", nib.load(place.path)).header
        found = [name for name in _NAMES if str(header[name].astype(str)).strip()]
        codes = {extension.get_code() for extension in getattr(header, "extensions", ())}
        return (*found, *(name for code, name in _EXTENSIONS.items() if code in codes))


NIFTI = Format(
    "NIfTI",
    (".nii", ".nii.gz"),
    _space,
    _image,
    _labels,
    write_nifti,
    (".nii.gz", ".nii"),
    notes=_notes,
)
MGZ = Format("MGZ", (".mgz",), _space, _image, _labels, write_mgz, (".mgz",))
ANALYZE = Format("Analyze", (".hdr", ".img"), _space, _image, _labels)
