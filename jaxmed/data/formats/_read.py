"""Reading of images and masks in patient space, from every format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.formats._format import Voxels
from jaxmed.data.formats._registry import format_of
from jaxmed.data.images._space import Scan, Space, check_grid

_LARGEST = 2**31 - 1


def read_image(path: str | os.PathLike, *, canonical: bool = False) -> Scan:
    """Read an image: NIfTI, DICOM, NRRD, MetaImage, MGZ or Analyze; a picture; a NumPy array.

    Volumes keep their intensities, as `read_dicom` tells for DICOM. Pictures (PNG, JPEG, BMP, WebP,
    TIFF) of up to 16 bits are scaled to [0, 1] and turned as their EXIF entry says, and arrays of 8
    and 16 bits without sign are scaled likewise. Lengths are in millimetres, whatever unit the
    header has.

    A fourth axis and colours are channels. The pages of a TIFF are a third spatial axis, and of a
    camera's JPEG with several pictures the first counts. Of an array with three axes the last is
    channels if it has at most four.

    Args:
        path: the file, or the folder of a DICOM series. Options follow behind a ``#``, joined by
            ``&``: of DICOM those of `read_dicom`, ``scans/p7#series=2&allow=slice-missing``
            (several rules joined by ``+``); of arrays ``a.npz#array=ct&spacing=0.7x0.7x5``.
        canonical: whether to turn a volume so that its axes run to the patient's right, front and
            top (RAS+); `write_mask` turns back.

    Returns:
        The scan, ``array`` (*spatial, channels) float32.

    Raises:
        DataError: the file is missing, unreadable, truncated, damaged (a checksum does not hold),
            empty, of complex numbers, or holds NaN or infinity; a package that its format needs is
            not installed (``codec-missing``); or a rule of `read_dicom`.
    """
    found, place = format_of(path)
    array, affine, file = _turned(found.image(place), canonical)
    path = place.path
    _check_size(path, array)
    rank = len(affine) - 1
    array = array if array.ndim > rank else array[..., None]
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise fault(path, "finite", f"{bad} of {array.size} values are NaN or infinite")
    return Scan(np.ascontiguousarray(array, dtype=np.float32), affine, file)


def read_channels(paths: Sequence[Path], *, canonical: bool) -> Scan:
    """Read an image; several files, which lie on one grid, are its channels.

    Raises:
        DataError: as of `read_image`, or a file on another grid than the first.
    """
    scans = [read_image(path, canonical=canonical) for path in paths]
    first = scans[0].space._replace(header=scans[0].file.header)
    for path, scan in zip(paths[1:], scans[1:], strict=True):
        grid = scan.space._replace(header=scan.file.header)
        check_grid(path, grid, first, what="image", reference=str(paths[0]))
    if len(scans) == 1:
        return scans[0]
    return scans[0]._replace(array=np.concatenate([s.array for s in scans], axis=-1))


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
    The layers of a segmentation of 3D Slicer are joined, and the frames of a DICOM segmentation are
    placed on the grid of the image, where they do not overlap. A picture as the mask of a DICOM
    radiograph takes its millimetres.

    Args:
        path: the file, in any format of `read_image` but those with loss, with options as there.
        like: the image the mask belongs to (read with the same ``canonical``).
        classes: number of classes with background: labels are 0 to ``classes - 1``.
        canonical: as in `read_image`.

    Returns:
        The mask, ``array`` (*spatial,) int32.

    Raises:
        DataError: the file is unreadable, compressed with loss, in colour, holds fractions, a
            number beyond 32 bits or a class outside, has segments that overlap, or differs from
            ``like`` in size or, by more than a tenth of a voxel, in affine.
    """
    found, place = format_of(path)
    on = found.labels_on if like is not None else None
    voxels = on(place, like) if on and like is not None else found.labels(place)
    told = "spacing" in place.options
    if like is not None and (found.picture or ("spacing" in found.options and not told)):
        voxels = _placed(voxels, like.file)
    array, affine, file = _turned(voxels, canonical)
    path = place.path
    _check_size(path, array)
    rank = len(affine) - 1
    while array.ndim > rank and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != rank:
        detail = f"a mask has one channel, this has shape {array.shape}; for one 0/1 channel each"
        raise fault(path, "mask-shape", f"{detail} class, save which of them is 1 instead")
    array = _integers(path, array)
    values = np.unique(array)
    for white in voxels.whites:
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
    found, place = format_of(path)
    return found.space(place)


def _placed(voxels: Voxels, image: Space) -> Voxels:
    """Give a picture of a mask, which knows no millimetres, those of the picture it belongs to.

    Of a NIfTI of two axes the first is not that of a picture's rows.
    """
    shape = voxels.space.shape
    if len(shape) != 2 or shape != image.shape or hasattr(image.header, "get_best_affine"):
        return voxels
    return voxels._replace(space=Space(shape, image.affine, image.header))


def _turned(voxels: Voxels, canonical: bool) -> tuple[np.ndarray, np.ndarray, Space]:
    """The array and its affine, three axes turned to RAS+ if wanted, and the file's grid."""
    array, space = voxels.array, voxels.space
    if not canonical or len(space.shape) != 3:
        return array, space.affine, space
    turn = nib.io_orientation(space.affine)
    affine = space.affine @ nib.orientations.inv_ornt_aff(turn, space.shape)
    return nib.apply_orientation(array, turn), affine, space


def _check_size(path: Path, array: np.ndarray) -> None:
    if array.size == 0:
        raise fault(path, "non-empty", f"the image has shape {array.shape}")


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
