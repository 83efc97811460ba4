"""PNG, JPEG, BMP, GIF, WebP and TIFF pictures at their full bit depth, by Pillow."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from jaxmed.data._error import fault, reading
from jaxmed.data.formats._format import Format, Place, Voxels, check_exists
from jaxmed.data.images._space import Space

# Axes to mirror and whether the first two are exchanged, by the orientation of EXIF.
_TURNS = {
    2: ((1,), False), 3: ((0, 1), False), 4: ((0,), False), 5: ((), True),
    6: ((1,), True), 7: ((0, 1), True), 8: ((0,), True),
}  # fmt: skip
_WIDTH, _LENGTH, _ORIENTATION, _SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = (
    256,
    257,
    0x0112,
    254,
    258,
    262,
    339,
)
_COLOUR_BYTES = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "LA", "La")
_TELLING = {
    ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.Base.ImageDescription,
    ExifTags.Base.XPAuthor, ExifTags.Base.XPComment, ExifTags.Base.XPTitle,
    ExifTags.Base.DateTime, ExifTags.Base.GPSInfo, ExifTags.Base.HostComputer,
}  # fmt: skip
_lock = threading.Lock()


class Labels(NamedTuple):
    """Samples of a picture as stored in the file.

    ``samples`` is (rows, columns, channels) or, for the pages of a TIFF, (rows, columns, pages,
    channels); ``whites`` are the values that mean white there, none for a palette.
    """

    samples: np.ndarray
    whites: tuple[int, ...]


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as float32, (*spatial, channels); what has 1 to 16 bits is scaled to [0, 1].

    A palette is looked up, the orientation that a camera noted is carried out, and white is high.
    """
    with reading(path, "the picture"):
        _check_sums(path)
        with _open(path) as picture:
            pages = [_shown(path, picture, page) for page in _pages(picture)]
        return _stack(pages).astype(np.float32)


def read_labels(path: Path) -> Labels:
    """Read the samples of a mask: palette indices, and numbers of any depth as they are."""
    with reading(path, "the picture"):
        _check_sums(path)
        with _open(path) as picture:
            if lossy := _lossy(path, picture):
                raise fault(
                    path,
                    "lossless-mask",
                    f"a mask in {lossy}, whose compression has changed labels along every edge; "
                    "write it anew as .png, .tif or .nii.gz from where it was drawn",
                )
            pages, whites = [], ()
            for page in _pages(picture):
                samples, whites = _stored(path, picture, page)
                pages.append(samples)
        return Labels(_stack(pages), whites)


def picture_shape(path: Path) -> tuple[tuple[int, ...], int]:
    """The spatial shape and the number of channels that `read_picture` gives, from the header."""
    check_exists(path)
    with reading(path, "the picture"), _open(path) as picture:
        pages = list(_pages(picture))
        picture.seek(pages[0])
        columns, rows = picture.size
        raw = _raw_mode(picture)
        orientation = picture.getexif().get(_ORIENTATION, 1)
        if picture.format == "TIFF":  # Pillow may have turned the size, or not yet
            columns, rows = picture.tag_v2[_WIDTH], picture.tag_v2[_LENGTH]
            orientation = picture.tag_v2.get(_ORIENTATION, 1)
        if _TURNS.get(orientation, ((), False))[1]:
            rows, columns = columns, rows
        mode = {"P": "RGB", "PA": "RGBA", "CMYK": "RGB"}.get(picture.mode, str(picture.mode))
        mode = "LA" if raw.startswith("LA") else mode
        deep = (len(pages),) if len(pages) > 1 else ()
        return (rows, columns, *deep), Image.getmodebands(mode)


def palette(path: Path) -> dict[int, tuple[int, ...]] | None:
    """The colours of the indices that a palette picture uses, or None for other pictures."""
    with reading(path, "the picture"), _open(path) as picture:
        if picture.mode != "P" or picture.palette is None:
            return None
        used = np.unique(np.asarray(picture))
        colours = np.asarray(picture.getpalette("RGB"), int).reshape(-1, 3)
        return {int(i): tuple(colours[i].tolist()) for i in used if i < len(colours)}


def _notes(place: Place) -> tuple[str, ...]:
    """The notes of a camera (EXIF) that tell of persons, times and places."""
    check_exists(place.path)
    with reading(place.path, "the picture"), _open(place.path) as picture:
        return tuple(sorted(ExifTags.TAGS[tag] for tag in picture.getexif() if tag in _TELLING))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a picture of any size: Pillow refuses those above 179 megapixels, as in histology."""
    with _lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with picture:
        yield picture


def _lossy(path: Path, picture: Any) -> str:
    """Name the compression that does not give back the samples, if the file has one."""
    if picture.format in ("JPEG", "MPO") or picture.info.get("compression") in (
        "jpeg",
        "tiff_jpeg",
    ):
        return "JPEG"
    if picture.format == "WEBP":
        with open(path, "rb") as file:
            return "lossy WebP" if b"VP8 " in _chunks(file) else ""
    return ""


def _chunks(file: BinaryIO) -> set[bytes]:
    """The names of the chunks of a RIFF file."""
    file.seek(12)
    names = set()
    while len(head := file.read(8)) == 8:
        names.add(head[:4])
        size = int.from_bytes(head[4:], "little")
        file.seek(size + size % 2, 1)
    return names


def _check_sums(path: Path) -> None:
    """Verify the checksums of a PNG, which Pillow ignores when it reads the samples."""
    check_exists(path)
    with _open(path) as picture:
        if picture.format == "PNG":
            picture.verify()


def _pages(picture: Any) -> list[int]:
    """The frames that make the picture: the pages of a TIFF, of a camera's file the first."""
    count = getattr(picture, "n_frames", 1)
    if picture.format == "TIFF":
        pages = []
        for page in range(count):
            picture.seek(page)
            if not picture.tag_v2.get(_SUBFILE, 0) & 1:  # a reduced copy of another page
                pages.append(page)
        return pages or [0]
    if count > 1 and picture.format != "MPO":  # MPO: previews and second views after the picture
        raise ValueError(f"an animation of {count} frames; save each frame as a picture")
    return [0]


def _stack(pages: list[np.ndarray]) -> np.ndarray:
    if len({page.shape for page in pages}) > 1:
        raise ValueError(f"the pages have shapes {[page.shape for page in pages]}")
    pages = [page if page.ndim == 3 else page[..., None] for page in pages]
    return np.stack(pages, axis=2) if len(pages) > 1 else pages[0]


def _shown(path: Path, picture: Any, page: int) -> np.ndarray:
    """One page as it is meant to be seen, 1 to 16 bits scaled to [0, 1]."""
    picture.seek(page)
    raw = _raw_mode(picture)
    if _deep_colour(picture, raw):
        return _upright(picture, _both_bytes(path, page, picture, raw)) / np.float32(65535)
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        frame = picture.convert("RGBA" if picture.mode == "PA" else "RGB")
    else:
        frame = picture
    samples = np.asarray(frame)
    dark = raw.startswith("I") and _tag(picture, _PHOTOMETRIC) == 0
    samples = _upright(picture, samples)
    if samples.dtype.kind == "b":
        return samples.astype(np.float32)
    if samples.dtype.kind not in "ui" or _tag(picture, _BITS, (16,))[0] > 16:
        return samples
    top = 255 if samples.dtype.itemsize == 1 else 4095 if raw.startswith("I;12") else 65535
    shown = samples.astype(np.float32) / np.float32(top)
    return 1 - shown if dark else shown  # Pillow turns what is white at 0 for up to 8 bits only


def _stored(path: Path, picture: Any, page: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """One page's samples as they lie in the file, and which of them mean white."""
    picture.seek(page)
    raw = _raw_mode(picture)
    if _deep_colour(picture, raw):
        return _upright(picture, _both_bytes(path, page, picture, raw)), (255, 65535)
    frame = picture
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        frame = picture.convert("RGB")
    samples = _upright(picture, np.asarray(frame))
    if samples.dtype.kind == "b":
        return samples.astype(np.uint8), ()
    if picture.mode in ("P", "PA"):
        return (samples, ()) if picture.format != "GIF" else _black_and_white(picture, samples)
    if low := re.match(r"L;([24]?)(I?)", raw):
        if low[2]:
            samples = 255 - samples
        if low[1]:  # Pillow spreads 2 and 4 bits over 0 to 255
            return samples // (255 // (2 ** int(low[1]) - 1)), ()
    if picture.mode == "I" and _tag(picture, _SAMPLE_FORMAT, (2,))[0] == 1:
        samples = samples.view(np.uint32)
    return samples, (255, 65535) if samples.dtype.itemsize == 2 else (255,)


def _black_and_white(picture: Any, samples: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """The indices of a GIF; 0 and 255 where they stand for nothing but black and white.

    Every GIF has a palette, whose order its writer chose: white alone is index 0.
    """
    colours = np.asarray(picture.getpalette("RGB"), int).reshape(-1, 3)
    used = np.unique(samples)
    if used.max(initial=0) >= len(colours):
        return samples, ()
    shades = colours[used]
    black, white = (shades < 16).all(axis=1), (shades > 239).all(axis=1)
    if not (black | white).all():
        return samples, ()
    return np.isin(samples, used[white]).astype(np.uint8) * 255, (255,)


def _upright(picture: Any, samples: np.ndarray) -> np.ndarray:
    """Turn as the camera noted; Pillow has done so for TIFF, and taken the note away."""
    mirror, exchange = _TURNS.get(picture.getexif().get(_ORIENTATION, 1), ((), False))
    samples = np.swapaxes(samples, 0, 1) if exchange else samples
    return np.ascontiguousarray(np.flip(samples, mirror))


def _tag(picture: Any, tag: int, default: Any = None) -> Any:
    return picture.tag_v2.get(tag, default) if picture.format == "TIFF" else default


def _raw_mode(picture: Any) -> str:
    """Return Pillow's name of the sample layout in the file, such as ``L;2`` or ``RGB;16B``."""
    if not picture.tile:
        return ""
    arguments = picture.tile[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _deep_colour(picture: Any, raw: str) -> bool:
    """Whether Pillow would truncate 16-bit colour to 8 bits."""
    if picture.mode not in _COLOUR_BYTES:
        return False
    deep = ";16" in raw
    if (not deep and max(_tag(picture, _BITS, (8,))) > 8) or raw.startswith(("RGBa;16", "CMYK;16")):
        raise ValueError(
            f"colour of 16 bits in a layout ({raw or picture.mode}) that is not read here; save it "
            "as interleaved RGB, or each channel as a grey picture"
        )
    return deep


def _both_bytes(path: Path, page: int, picture: Any, raw: str) -> np.ndarray:
    """Decode 16-bit colour, of which Pillow returns one byte, a second time for the other byte."""
    upper = np.asarray(picture).astype(np.uint16)
    order = raw[raw.index(";16") + 3]
    other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}[order]
    with _open(path) as again:
        again.seek(page)
        if raw.startswith("LA"):  # no unpacker of its own; its four bytes are those of RGBA
            again._mode = "RGBA"
            again.tile = [(*tile[:3], "RGBA") for tile in again.tile]
            lower = np.asarray(again)[..., 1::2]
            upper = upper[..., [0, -1]] if upper.shape[-1] == 4 else upper
        else:
            swap = raw.replace(f";16{order}", f";16{other}")
            again.tile = [
                (*t[:3], (swap, *t[3][1:]) if isinstance(t[3], tuple) else swap) for t in again.tile
            ]
            lower = np.asarray(again)
    return upper << 8 | lower


_LARGEST = {".png": 2**16 - 1, ".tif": 2**31 - 1, ".tiff": 2**31 - 1, ".bmp": 2**8 - 1}


def write_picture(path: Path, mask: np.ndarray, space: Space) -> None:
    """Write a mask of two axes, if `read_labels` will give back the same numbers."""
    if mask.ndim != 2:
        raise ValueError(f"a picture has two axes, this mask has shape {mask.shape}")
    largest = _LARGEST[path.suffix.lower()]
    bottom, top = int(mask.min(initial=0)), int(mask.max(initial=0))
    values = set(np.unique(mask).tolist())
    if bottom < 0 or top > largest:
        raise ValueError(
            f"labels from {bottom} to {top} do not survive in a {path.suffix.lower()} file, which "
            f"holds 0 to {largest}; write .nii.gz, or renumber them"
        )
    if top == 65535 and values <= {0, 65535}:
        raise ValueError(
            "labels of 0 and 65535 alone do not survive in a picture, where they are read as black "
            "and white, 0 and 1; write .nii.gz, or renumber them"
        )
    if top < 256:
        picture = Image.fromarray(mask.astype(np.uint8))
        if values <= {0, 255} and top == 255:
            # As grey they would be read as black and white; the index of a palette is the class.
            grey = [level for level in range(255) for _ in range(3)]
            picture.putpalette([*grey, 255, 255, 0])
    else:
        picture = Image.fromarray(mask.astype(np.uint16 if top < 2**16 else np.int32))
    picture.save(path)


def _space(place: Place) -> tuple[Space, int]:
    shape, channels = picture_shape(place.path)
    return _pixels(shape), channels


def _image(place: Place) -> Voxels:
    array = read_picture(place.path)
    return Voxels(array, _pixels(array.shape[:-1]))


def _mask(place: Place) -> Voxels:
    samples, whites = read_labels(place.path)
    array = _grey(place.path, samples)
    return Voxels(array, _pixels(array.shape[:-1]), whites)


def _pixels(shape: tuple[int, ...]) -> Space:
    return Space(shape, np.eye(len(shape) + 1))


def _grey(path: Path, array: np.ndarray) -> np.ndarray:
    """Reduce a mask saved as grey-valued colour to one channel, ignoring alpha."""
    channels = array.shape[-1]
    colours = array[..., : {2: 1, 4: 3}.get(channels, channels)]
    if np.all(colours == colours[..., :1]):
        return colours[..., :1]
    found = len(np.unique(colours.reshape(-1, colours.shape[-1]), axis=0))
    raise fault(
        path,
        "mask-shape",
        f"a mask in colour ({found} colours, shape {array.shape}); save the number of the class of "
        "each pixel as a grey or palette picture",
    )


PICTURE = Format(
    "picture",
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    _space,
    _image,
    _mask,
    write_picture,
    (".png", ".tif", ".tiff", ".bmp"),
    picture=True,
    notes=_notes,
)
