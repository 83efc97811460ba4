"""NRRD (.nrrd, .nhdr), and the segmentations of 3D Slicer (.seg.nrrd), by pynrrd."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data._optional import optional
from jaxmed.data.formats._format import Format, Place, Voxels, check_exists, telling
from jaxmed.data.formats._patient_axes import affine_of, check_affine
from jaxmed.data.images._segments import Segment
from jaxmed.data.images._space import Space

_SIDES = {
    "right": (0, 1), "left": (0, -1), "anterior": (1, 1), "posterior": (1, -1),
    "superior": (2, 1), "inferior": (2, -1),
}  # fmt: skip
_SHORT = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "S": "superior",
          "I": "inferior"}  # fmt: skip
_LENGTHS = {
    "mm": 1.0,
    "cm": 10.0,
    "m": 1e3,
    "um": 1e-3,
    "µm": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
}
_DEFAULT = "left-posterior-superior"
# Kinds of axes along which voxels lie; all other kinds are of what a voxel holds.
_IN_SPACE = ("domain", "space")


class NrrdHeader(NamedTuple):
    """What a scan keeps of a header: the patient space, and the names of segments.

    Other fields may tell of the patient, and are left behind.
    """

    space: str
    segments: tuple[Segment, ...]
    layers: tuple[int, ...]


class _Layout(NamedTuple):
    """The axes of the file that are spatial and those that are channels, and the grid."""

    spatial: tuple[int, ...]
    others: tuple[int, ...]
    space: Space


def _space(place: Place) -> tuple[Space, int]:
    check_exists(place.path)
    with reading(place.path, "the header"):
        header = optional("nrrd", "NRRD").read_header(str(place.path))
        layout = _layout(place, header)
        sizes = [int(n) for n in header["sizes"]]
        return layout.space, int(np.prod([sizes[axis] for axis in layout.others]))


def _image(place: Place) -> Voxels:
    check_exists(place.path)
    with reading(place.path, "the NRRD file"):
        array, header = optional("nrrd", "NRRD").read(str(place.path))
        layout = _layout(place, header)
        array = np.transpose(array, (*layout.spatial, *layout.others))
        if layout.others:
            array = array.reshape(*layout.space.shape, -1)
        elif array.ndim < len(layout.space.shape):
            array = array[..., None]
        return Voxels(array.astype(array.dtype.newbyteorder("=")), layout.space)


def _labels(place: Place) -> Voxels:
    """Read a mask; the layers of a segmentation are joined under one number a segment."""
    voxels = _image(place)
    found = voxels.space.header
    rank = len(voxels.space.shape)
    if voxels.array.ndim == rank or voxels.array.shape[-1] == 1 or not found.segments:
        return voxels
    out = np.zeros(voxels.space.shape, np.int32)
    stored = [segment.number for segment in found.segments]
    unique = len(set(stored)) == len(stored)
    for k, (segment, layer) in enumerate(zip(found.segments, found.layers, strict=True)):
        here = voxels.array[..., layer] == segment.number
        if np.any(out[here]):
            raise fault(
                place.path,
                "mask-overlap",
                f"segment {segment.name!r} overlaps with another one; save each as a mask of its "
                "own, or without overlap",
            )
        out[here] = segment.number if unique else k + 1
    return Voxels(out, voxels.space)


def _layout(place: Place, header: Mapping[str, Any]) -> _Layout:
    sizes = tuple(int(n) for n in header["sizes"])
    kinds = [str(kind).lower() for kind in header.get("kinds", ["???"] * len(sizes))]
    if any("complex" in kind for kind in kinds):
        raise fault(place.path, "real", "complex voxels; save the magnitude")
    directions = header.get("space directions")
    units = [str(unit) for unit in header.get("space units", header.get("units", ()))]
    unit = _LENGTHS.get(units[0].strip('"').lower(), 1.0) if units else 1.0
    if directions is not None:
        rows: list[Any] = [
            None if row is None or np.any(np.isnan(row)) else row for row in directions
        ]
        spatial = tuple(axis for axis, row in enumerate(rows) if row is not None)
    else:
        spatial = tuple(a for a, kind in enumerate(kinds) if kind in (*_IN_SPACE, "???", "none"))
        rows = []
    others = tuple(axis for axis in range(len(sizes)) if axis not in spatial)
    if not 2 <= len(spatial) <= 3:
        raise fault(
            place.path,
            "shape",
            f"{len(spatial)} of its axes {sizes} lie in space; a channel's axis has the kind "
            "'list' and the direction none",
        )
    shape = tuple(sizes[axis] for axis in spatial)
    kept = NrrdHeader(str(header.get("space", "")), *_segments(header))
    if directions is None or len(rows[spatial[0]]) == 2:
        lengths = _lengths(header, rows, spatial) * unit
        if len(shape) == 2:  # rows and columns, as of every picture
            spatial, shape, lengths = spatial[::-1], shape[::-1], lengths[::-1]
        affine = np.diag([*lengths, 1.0])
        check_affine(place, affine)
        return _Layout(spatial, others, Space(shape, affine, kept))
    turn = _to_ras(place, kept.space) * unit
    columns = turn @ np.array([rows[axis] for axis in spatial], float).T
    origin = np.asarray(header.get("space origin", np.zeros(3)), float)
    origin = np.where(np.isnan(origin), 0, origin)
    shape = shape if len(shape) == 3 else (*shape, 1)
    affine = affine_of(place, columns, turn @ origin)
    return _Layout(spatial, others, Space(shape, affine, kept))


def _lengths(header: Mapping[str, Any], rows: list, spatial: tuple[int, ...]) -> np.ndarray:
    """Voxel edges of an image without a place; 1 where none is stated."""
    if rows:
        return np.array([np.linalg.norm(rows[axis]) for axis in spatial])
    stated = np.asarray(header.get("spacings", [np.nan] * len(header["sizes"])), float)
    return np.array([1.0 if np.isnan(stated[axis]) else stated[axis] for axis in spatial])


def _to_ras(place: Place, space: str) -> np.ndarray:
    """The matrix from a named patient space to right, anterior, superior."""
    words = space.lower().removesuffix("-time").split("-")
    if len(space.rstrip("T")) == 3 and set(space.rstrip("T").upper()) <= set(_SHORT):
        words = [_SHORT[letter] for letter in space.rstrip("T").upper()]
    if len(words) == 3 and all(word in _SIDES for word in words):
        matrix = np.zeros((3, 3))
        for column, word in enumerate(words):
            row, sign = _SIDES[word]
            matrix[row, column] = sign
        if abs(np.linalg.det(matrix)) == 1:
            return matrix
    if words[0] in ("", "scanner", "3d"):  # no patient is known: axes as in LPS, which ITK assumes
        return np.diag([-1.0, -1.0, 1.0])
    raise fault(place.path, "table", f"the space {space!r} is no patient space of NRRD")


def _segments(header: Mapping[str, Any]) -> tuple[tuple[Segment, ...], tuple[int, ...]]:
    """The segments that 3D Slicer lists, and the layer of each."""
    found, layers = [], []
    k = 0
    while f"Segment{k}_ID" in header or f"Segment{k}_Name" in header:
        name = str(header.get(f"Segment{k}_Name", header.get(f"Segment{k}_ID")))
        found.append(Segment(int(header.get(f"Segment{k}_LabelValue", 1)), name))
        layers.append(int(header.get(f"Segment{k}_Layer", k)))
        k += 1
    return tuple(found), tuple(layers)


def read_nrrd_segments(path: Path) -> tuple[Segment, ...]:
    """The segments of a ``.seg.nrrd``, numbered as `read_mask` numbers them."""
    found = _space(Place(path))[0].header.segments
    if len({segment.number for segment in found}) == len(found):
        return found
    return tuple(segment._replace(number=k + 1) for k, segment in enumerate(found))


def write_nrrd(path: Path, mask: np.ndarray, space: Space) -> None:
    """Write a mask in the patient space that the scan's file names, LPS if it names none."""
    kept = space.header
    if mask.ndim == 2:
        header: dict[str, Any] = {"spacings": space.spacing[::-1], "kinds": ["domain", "domain"]}
        mask = mask.T
    elif mask.ndim == 3:
        named = kept.space if isinstance(kept, NrrdHeader) and kept.space else _DEFAULT
        turn = np.linalg.inv(_to_ras(Place(path), named))
        header = {
            "space": named,
            "space directions": (turn @ space.affine[:3, :3]).T,
            "space origin": turn @ space.affine[:3, 3],
            "kinds": ["domain"] * 3,
        }
    else:
        raise ValueError(f".nrrd holds two or three axes here, this mask has shape {mask.shape}")
    optional("nrrd", "NRRD").write(str(path), np.asfortranarray(mask), header)


def _notes(place: Place) -> tuple[str, ...]:
    check_exists(place.path)
    with reading(place.path, "the header"):
        return telling(optional("nrrd", "NRRD").read_header(str(place.path)))


NRRD = Format(
    "NRRD",
    (".nrrd", ".nhdr", ".seg.nrrd"),
    _space,
    _image,
    _labels,
    write_nrrd,
    (".nrrd", ".seg.nrrd"),
    notes=_notes,
)
