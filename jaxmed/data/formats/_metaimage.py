"""MetaImage (.mha, .mhd): a header of text, then the voxels, in the file or beside it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmed.data._error import fault, reading
from jaxmed.data.formats._format import Format, Place, Voxels, check_exists, telling
from jaxmed.data.formats._patient_axes import LPS, affine_of, check_affine
from jaxmed.data.images._space import Space

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
    "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_NAMES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "i4": "MET_INT"}
_LONGEST = 1 << 20  # a header of text is not longer; what is has no end


class _Header(NamedTuple):
    """The fields of a header, and the bytes that follow it."""

    fields: dict[str, str]
    end: int

    def numbers(self, *names: str) -> list[float] | None:
        """The numbers of the first field there is under one of several names."""
        for name in names:
            if name in self.fields:
                return [float(part) for part in self.fields[name].split()]
        return None

    def true(self, *names: str) -> bool:
        """Whether one of several fields says yes."""
        return any(self.fields.get(name, "").lower() in ("true", "1") for name in names)


class _Layout(NamedTuple):
    """How the voxels lie: sizes with the fastest axis first, channels, type, and their grid."""

    sizes: tuple[int, ...]
    channels: int
    dtype: np.dtype
    space: Space


def _space(place: Place) -> tuple[Space, int]:
    layout = _open(place)[1]
    return layout.space, layout.channels * int(np.prod(layout.sizes[3:]))


def _image(place: Place) -> Voxels:
    header, layout = _open(place)
    with reading(place.path, "the voxels"):
        raw = _bytes(place.path, header, layout)
        array = np.frombuffer(raw, layout.dtype).astype(layout.dtype.newbyteorder("="))
        array = array.reshape(*layout.sizes[::-1], layout.channels)
        rank = len(layout.sizes)
        array = np.transpose(array, (*range(rank - 1, -1, -1), rank))
        if rank == 2:
            array = np.swapaxes(array, 0, 1)  # rows and columns, as of every picture
        shape = layout.space.shape
        return Voxels(array.reshape(*shape, -1), layout.space)


def _open(place: Place) -> tuple[_Header, _Layout]:
    check_exists(place.path)
    with reading(place.path, "the header"):
        header = _parse(place.path)
        return header, _layout(place, header)


def _parse(path: Path) -> _Header:
    """Read the lines ``name = value`` up to ``ElementDataFile``."""
    with open(path, "rb") as file:
        head = file.read(_LONGEST)
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        stop = head.find(b"\n", start)
        line = head[start : len(head) if stop < 0 else stop].decode("latin-1").strip()
        name, equals, value = line.partition("=")
        if line and not equals:
            raise ValueError(f"{line[:40]!r} is no line of the kind name = value")
        fields[name.strip()] = value.strip()
        if stop < 0 and "ElementDataFile" not in fields:
            raise ValueError("the header ends without ElementDataFile")
        start = len(head) if stop < 0 else stop + 1
    return _Header(fields, start)


def _layout(place: Place, header: _Header) -> _Layout:
    sizes = tuple(int(v) for v in header.numbers("DimSize") or ())
    rank = int(header.fields.get("NDims", len(sizes)))
    if rank not in (2, 3, 4) or len(sizes) != rank or min(sizes) < 0:
        detail = f"an image has 2 to 4 axes, this has NDims {rank} and DimSize {sizes}"
        raise fault(place.path, "shape", detail)
    kind = header.fields.get("ElementType", "")
    if kind not in _TYPES:
        raise fault(place.path, "real", f"ElementType {kind!r} is none of {', '.join(_TYPES)}")
    big = header.true("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    spacing = np.array(header.numbers("ElementSpacing", "ElementSize") or [1.0] * rank)[:rank]
    origin = np.array(header.numbers("Offset", "Position", "Origin") or [0.0] * rank)[:rank]
    matrix = header.numbers("TransformMatrix", "Rotation", "Orientation") or np.eye(rank)
    edges = np.reshape(matrix, (rank, rank)).T * spacing  # a row of the file is an axis
    if rank == 2:
        space = Space(sizes[::-1], np.diag([spacing[1], spacing[0], 1.0]))
        check_affine(place, space.affine)
    else:
        columns = LPS[:, None] * edges[:3, :3]
        space = Space(sizes[:3], affine_of(place, columns, LPS * origin[:3]))
    channels = int(header.fields.get("ElementNumberOfChannels", 1))
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if big else "<")
    return _Layout(sizes, channels, dtype, space)


def _bytes(path: Path, header: _Header, layout: _Layout) -> bytes:
    where = header.fields["ElementDataFile"]
    if where.upper().startswith("LIST") or "%" in where:
        detail = f"its voxels are spread over a file a slice ({where}); write it as one .mha"
        raise fault(path, "readable", detail)
    if header.fields.get("BinaryData", "True").lower() in ("false", "0"):
        raise fault(path, "readable", "its voxels are written as text; write it as binary .mha")
    if where.upper() == "LOCAL":
        content = path.read_bytes()[header.end :]
    else:
        beside = path.parent / where
        if not beside.is_file():
            raise fault(beside, "exists", f"the voxels of {path.name} are not there")
        content = beside.read_bytes()
    wanted = int(np.prod(layout.sizes)) * layout.channels * layout.dtype.itemsize
    skipped = int(header.fields.get("HeaderSize", 0))
    if header.true("CompressedData"):
        unpacker = zlib.decompressobj(47)  # zlib or gzip
        content = unpacker.decompress(content)
        if not unpacker.eof:
            raise ValueError("the compressed voxels end before their end")
    elif skipped:
        content = content[len(content) - wanted :] if skipped < 0 else content[skipped:]
    if len(content) < wanted:
        raise ValueError(f"{len(content)} bytes of voxels, where {wanted} are needed")
    return content[:wanted]


def write_metaimage(path: Path, mask: np.ndarray, space: Space) -> None:
    """Write a mask of two or three axes as one compressed file."""
    if mask.ndim not in (2, 3):
        raise ValueError(f".mha holds two or three axes here, this mask has shape {mask.shape}")
    if mask.ndim == 2:
        sizes, origin, matrix = mask.shape[::-1], np.zeros(2), np.eye(2)
        spacing = np.array(space.spacing)[::-1]
        voxels = mask
    else:
        sizes, spacing = mask.shape, np.array(space.spacing)
        columns = LPS[:, None] * space.affine[:3, :3]
        origin, matrix = LPS * space.affine[:3, 3], (columns / spacing).T
        voxels = mask.T
    packed = zlib.compress(np.ascontiguousarray(voxels).astype(f"<{mask.dtype.str[1:]}").tobytes())
    fields = {
        "ObjectType": "Image",
        "NDims": mask.ndim,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": len(packed),
        "TransformMatrix": _joined(matrix.ravel()),
        "Offset": _joined(origin),
        "CenterOfRotation": _joined(np.zeros(mask.ndim)),
        "ElementSpacing": _joined(spacing),
        "DimSize": " ".join(map(str, sizes)),
        "ElementType": _NAMES[mask.dtype.str[1:]],
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(text.encode() + packed)


def _joined(numbers: np.ndarray) -> str:
    return " ".join(f"{float(v):.17g}" for v in numbers)


def _notes(place: Place) -> tuple[str, ...]:
    with reading(place.path, "the header"):
        return telling(_parse(place.path).fields)


METAIMAGE = Format(
    "MetaImage",
    (".mha", ".mhd"),
    _space,
    _image,
    _image,
    write_metaimage,
    (".mha",),
    notes=_notes,
)
