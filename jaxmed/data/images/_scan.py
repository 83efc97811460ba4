"""Reading of images and masks in patient space, from common formats."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.images._picture import picture_shape, read_labels, read_picture
from jaxmed.data.images._space import Scan, Space, check_grid
from jaxmed.data.images._volume import open_volume, read_volume

VOLUMES = (".nii", ".nii.gz", ".mgz", ".hdr", ".img")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LARGEST = 2**31 - 1


def suffix(path: str | os.PathLike) -> str:
    """Return the lower-case file suffix, with ``.nii.gz`` as one suffix."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_image(path: str | os.PathLike, *, canonical: bool = False) -> Scan:
    """Read an image: NIfTI, MGZ or Analyze; PNG, JPEG, BMP or TIFF.

    Args:
        path: The file. A fourth NIfTI axis is channels; the pages of a TIFF are a third spatial
            axis, and of a camera's JPEG with several pictures the first counts. Pictures of up to
            16 bits are scaled to [0, 1] and turned as their EXIF entry says; volumes keep their
            intensities. Lengths are in millimetres, whatever unit the header has.
        canonical: Whether to turn a volume so that its axes run to the patient's right, front and
            top (RAS+); `write_mask` turns back.

    Returns:
        The scan, ``array`` (*spatial, channels) float32.

    Raises:
        DataError: The file is missing, unreadable, truncated, damaged (a checksum does not hold),
            empty, of complex numbers, or holds NaN or infinity.
    """
    path = Path(path)
    if _ending(path) in VOLUMES:
        array, affine, file = read_volume(path, canonical=canonical, labels=False)
    else:
        array = read_picture(path)
        affine = np.eye(array.ndim)
        file = Space(array.shape[:-1], affine)
    _check_size(path, array)
    rank = len(affine) - 1
    array = array if array.ndim > rank else array[..., None]
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise fault(path, "finite", f"{bad} of {array.size} values are NaN or infinite")
    return Scan(np.ascontiguousarray(array, dtype=np.float32), affine, file)


def read_mask(
    path: str | os.PathLike,
    *,
    like: Scan | None = None,
    classes: int | None = None,
    canonical: bool = False,
) -> Scan:
    """Read a mask of integers and check it against its image.

    Labels are the numbers that the file holds, exactly: those of an atlas above 2^24, and the
    samples of 1, 2 and 4 bits, included. The index of a palette picture is the class. A picture
    with the values 0 and 255 alone (0 and 65535, of 16 bits) that has no palette is read as 0 and
    1, and a volume that stores labels through a scale is rounded by no more than the scale's step.

    Args:
        path: The file, in any format of `read_image` but JPEG.
        like: The image the mask belongs to (read with the same ``canonical``).
        classes: Number of classes with background: labels are 0 to ``classes - 1``.
        canonical: As in `read_image`.

    Returns:
        The mask, ``array`` (*spatial,) int32.

    Raises:
        DataError: The file is unreadable, compressed with loss, in colour, holds fractions, a
            number beyond 32 bits or a class outside, or differs from ``like`` in size or, by more
            than a tenth of a voxel, in affine.
    """
    path = Path(path)
    whites: tuple[int, ...] = ()
    if _ending(path) in VOLUMES:
        array, affine, file = read_volume(path, canonical=canonical, labels=True)
    else:
        array, whites = read_labels(path)
        affine = np.eye(array.ndim)
        file = Space(array.shape[:-1], affine)
        array = _grey(path, array)
    _check_size(path, array)
    rank = len(affine) - 1
    while array.ndim > rank and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != rank:
        detail = f"a mask has one channel, this has shape {array.shape}; for one 0/1 channel each"
        raise fault(path, "mask-shape", f"{detail} class, save which of them is 1 instead")
    array = _integers(path, array)
    values = np.unique(array)
    for white in whites:
        if set(values.tolist()) <= {0, white}:
            array, values = array // white, values // white
            break
    if classes is not None and (values[0] < 0 or values[-1] >= classes):
        outside = [int(v) for v in values if v < 0 or v >= classes]
        shown = ", ".join(map(str, outside[:10])) + (", ..." if len(outside) > 10 else "")
        raise fault(path, "label-range", f"classes [{shown}] are outside 0..{classes - 1}")
    if like is not None:
        grid, image = Space(array.shape, affine, file.header), like.space
        check_grid(path, grid, image._replace(header=like.file.header))
    return Scan(np.ascontiguousarray(array), affine, file)


def read_space(path: str | os.PathLike) -> tuple[Space, int]:
    """Read the grid and the channels of a file from its header, without its voxels."""
    path = Path(path)
    if _ending(path) in VOLUMES:
        return open_volume(path)
    shape, channels = picture_shape(path)
    return Space(shape, np.eye(len(shape) + 1)), channels


def _ending(path: Path) -> str:
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    ending = suffix(path)
    if ending not in VOLUMES + PICTURES:
        known = ", ".join(VOLUMES + PICTURES)
        raise fault(path, "readable", f"the ending {ending!r} is none of {known}")
    return ending


def _check_size(path: Path, array: np.ndarray) -> None:
    if array.size == 0:
        raise fault(path, "non-empty", f"the image has shape {array.shape}")


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


def _integers(path: Path, array: np.ndarray) -> np.ndarray:
    """Convert labels to int32, or return the fault that prevents it."""
    if array.dtype.kind == "f":
        if not np.all(np.isfinite(array)):
            raise fault(path, "finite", "the mask holds NaN or infinity")
        fractions = array[array != np.round(array)]
        if len(fractions):
            detail = f"the mask holds fractions, such as {float(fractions[0]):.6g}"
            raise fault(path, "integer-mask", f"{detail}; threshold probabilities first")
    low, high = array.min(), array.max()
    if high > _LARGEST or low < -_LARGEST - 1:
        beyond = int(high if high > _LARGEST else low)
        detail = f"the mask holds {beyond}, which 32 bits do not; renumber its labels"
        raise fault(path, "integer-mask", detail)
    return array.astype(np.int32)
