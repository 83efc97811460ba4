"""Scans: an image with its place in the patient, read from and written to common formats."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from PIL import Image

from jaxmed.data._error import fault

VOLUMES = (".nii", ".nii.gz", ".mgz", ".hdr", ".img")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_UNREADABLE = (
    OSError, EOFError, ValueError, SyntaxError, KeyError, zlib.error, ImageFileError,
    Image.DecompressionBombError,
)  # fmt: skip


class Space(NamedTuple):
    """A voxel grid: its spatial shape, and the affine from voxel indices to millimetres."""

    shape: tuple[int, ...]
    affine: np.ndarray
    header: Any = None

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel edge lengths, in millimetres where the file knows."""
        return tuple(np.linalg.norm(self.affine[:-1, :-1], axis=0).tolist())


class Scan(NamedTuple):
    """An image or mask on a grid, and the grid of the file it came from.

    ``array`` is (*spatial, channels) float32 for an image and (*spatial,) int32 for a mask;
    ``affine`` (rank + 1, rank + 1) maps its voxel indices to millimetres; ``file`` is the grid of
    the file, which differs once the scan was turned, resampled or cropped.
    """

    array: np.ndarray
    affine: np.ndarray
    file: Space

    @property
    def space(self) -> Space:
        """The grid that ``array`` is on."""
        return Space(self.array.shape[: len(self.affine) - 1], self.affine)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel edge lengths, in millimetres where the file knows."""
        return self.space.spacing


def suffix(path: str | os.PathLike) -> str:
    """The lower-case file ending, ``.nii.gz`` in one piece."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_image(path: str | os.PathLike, *, canonical: bool = False) -> Scan:
    """Read an image: NIfTI, MGZ or Analyze; PNG, JPEG, BMP or TIFF.

    Args:
        path: The file. A fourth NIfTI axis is channels; the pages of a TIFF are a third spatial
            axis. Pictures of 8 or 16 bits are scaled to [0, 1]; volumes keep their intensities.
        canonical: Whether to turn a volume so that its axes run to the patient's right, front and
            top (RAS+); `write_mask` turns back.

    Returns:
        The scan, ``array`` (*spatial, channels) float32.

    Raises:
        DataError: The file is missing, unreadable, truncated, empty, or holds NaN or infinity.
    """
    path = Path(path)
    array, affine, file = _read(path, canonical=canonical, picture="scaled")
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
    """Read a mask of whole numbers and hold it against its image.

    A picture with the values 0 and 255 alone is read as 0 and 1, and the index of a palette
    picture is the class.

    Args:
        path: The file, in any format of `read_image`.
        like: The image the mask belongs to (read with the same ``canonical``).
        classes: Number of classes with background: labels are 0 to ``classes - 1``.
        canonical: As in `read_image`.

    Returns:
        The mask, ``array`` (*spatial,) int32.

    Raises:
        DataError: The file is unreadable, holds fractions or a class outside, or differs from
            ``like`` in size or, by more than a tenth of a voxel, in affine.
    """
    path = Path(path)
    array, affine, file = _read(path, canonical=canonical, picture="raw")
    rank = len(affine) - 1
    while array.ndim > rank and (array.shape[-1] == 1 or _grey(array, path)):
        array = array[..., 0]
    if array.ndim != rank:
        raise fault(path, "mask-shape", f"a mask has one channel, this has shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise fault(path, "finite", "the mask holds NaN or infinity")
    if np.any(array != np.round(array)):
        raise fault(path, "integer-mask", f"the mask holds fractions, such as {_fraction(array)}")
    array = array.astype(np.int32)
    values = np.unique(array)
    if suffix(path) in PICTURES and set(values.tolist()) <= {0, 255}:
        array, values = array // 255, values // 255
    if classes is not None and (values[0] < 0 or values[-1] >= classes):
        outside = [int(v) for v in values if v < 0 or v >= classes]
        raise fault(path, "label-range", f"classes {outside} are outside 0..{classes - 1}")
    if like is not None:
        check_grid(path, Space(array.shape, affine), like.space)
    return Scan(np.ascontiguousarray(array), affine, file)


def check_grid(path: str | os.PathLike, mask: Space, image: Space) -> None:
    """Refuse a mask on another grid than its image."""
    if mask.shape != image.shape:
        raise fault(path, "mask-shape", f"the mask is {mask.shape}, its image {image.shape}")
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape], indexing="ij"))
    corners = np.vstack([corners.reshape(len(image.shape), -1), np.ones(2 ** len(image.shape))])
    apart = np.linalg.norm(((mask.affine - image.affine) @ corners)[:-1], axis=0).max()
    if apart > 0.1 * min(image.spacing):
        raise fault(
            path,
            "mask-affine",
            f"the mask's affine puts a corner {apart:.3g} mm from where the image's puts it "
            f"(voxels are {tuple(round(s, 3) for s in image.spacing)} mm)",
        )


def read_space(path: str | os.PathLike) -> tuple[Space, int]:
    """Read the grid and the channels of a file from its header, without its voxels."""
    path = Path(path)
    if suffix(path) in VOLUMES:
        image = _open_volume(path)
        shape, affine = _grid(path, image)
        return Space(shape, affine, image.header), int(np.prod(image.shape[len(shape) :]))
    array, affine, file = _read(path, canonical=False, picture="scaled")
    return file, array.shape[-1] if array.ndim > len(affine) - 1 else 1


def _read(path: Path, *, canonical: bool, picture: str) -> tuple[np.ndarray, np.ndarray, Space]:
    ending = suffix(path)
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    if ending in VOLUMES:
        image = _open_volume(path)
        shape, affine = _grid(path, image)
        file = Space(shape, affine, image.header)
        if canonical and len(shape) == 3:
            image = nib.as_closest_canonical(image)
            shape, affine = _grid(path, image)
        try:
            array = image.get_fdata(dtype=np.float32, caching="unchanged")
        except _UNREADABLE as error:
            raise fault(path, "readable", f"the voxels cannot be read: {error}") from error
        array = array.reshape(*shape, -1) if array.ndim > len(shape) else array
    elif ending in PICTURES:
        try:
            array = _read_picture(path, scaled=picture == "scaled")
        except _UNREADABLE as error:
            raise fault(path, "readable", f"the picture cannot be read: {error}") from error
        rank = array.ndim - 1
        affine = np.eye(rank + 1)
        file = Space(array.shape[:rank], affine)
    else:
        known = ", ".join(VOLUMES + PICTURES)
        raise fault(path, "readable", f"the ending {ending!r} is none of {known}")
    if array.size == 0:
        raise fault(path, "non-empty", f"the image has shape {array.shape}")
    return array, affine, file


def _open_volume(path: Path) -> Any:
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    try:
        image = nib.load(path)
        image.get_data_dtype()
    except _UNREADABLE as error:
        raise fault(path, "readable", f"the header cannot be read: {error}") from error
    if image.get_data_dtype().fields:
        raise fault(path, "shape", "a colour (RGB) NIfTI; its channels must be a fourth axis")
    return image


def _grid(path: Path, image: Any) -> tuple[tuple[int, ...], np.ndarray]:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) == 5 and shape[3] == 1:  # NIfTI keeps vectors behind an empty time axis
        shape = (*shape[:3], shape[4])
    if not 2 <= len(shape) <= 4:
        raise fault(path, "shape", f"a volume has 2 to 4 axes, this has shape {shape}")
    if len(shape) == 2:
        affine = np.diag([*image.header.get_zooms()[:2], 1.0])
    else:
        affine = np.asarray(image.affine, float)
    if not np.all(np.isfinite(affine)):
        raise fault(path, "finite", "the affine holds NaN or infinity")
    if abs(np.linalg.det(affine)) < 1e-12:
        raise fault(path, "finite", "the affine has no inverse")
    return shape[:3], affine


def _read_picture(path: Path, *, scaled: bool) -> np.ndarray:
    pages = []
    with Image.open(path) as picture:
        for page in range(getattr(picture, "n_frames", 1)):
            picture.seek(page)
            frame = picture
            if scaled and frame.mode == "P":
                frame = frame.convert("RGB")
            elif frame.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV"):
                frame = frame.convert("L" if frame.mode == "1" else "RGB")
            pages.append(np.asarray(frame))
    if len({page.shape for page in pages}) > 1:
        raise ValueError(f"the pages have shapes {[page.shape for page in pages]}")
    array = np.stack(pages, axis=2) if len(pages) > 1 else pages[0]
    if array.ndim == (3 if len(pages) > 1 else 2):
        array = array[..., None]
    if scaled and array.dtype.kind in "ui":
        # 16-bit pictures may come as 32-bit integers ("I"): the values tell.
        top = 255 if array.dtype.itemsize == 1 else 65535
        return array.astype(np.float32) / np.float32(top)
    return array.astype(np.float32)


def _grey(array: np.ndarray, path: Path) -> bool:
    """Whether a mask saved as colour is grey all the same (any alpha channel aside)."""
    if suffix(path) not in PICTURES or array.shape[-1] not in (2, 3, 4):
        return False
    colours = array[..., : {2: 1, 3: 3, 4: 3}[array.shape[-1]]]
    return bool(np.all(colours == colours[..., :1]))


def _fraction(array: np.ndarray) -> float:
    return round(float(array[array != np.round(array)][0]), 6)
