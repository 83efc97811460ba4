"""Voxel grids: the location of an array in the patient, and comparison of grids."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from jaxmed.data._error import fault

_TO_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}
# Share of a voxel by which two headers may disagree about the place of one corner.
_APART = 0.1
# A grid reaches half a voxel beyond the centres of its outermost voxels, and a quarter more:
# `resample_spacing` rounds the number of voxels, so that a coarse grid may end up to a quarter of
# its own voxel before the grid it came from.
_REACH = 0.75 + 1e-4


class Space(NamedTuple):
    """A voxel grid: its spatial shape, and the affine from voxel indices to millimetres.

    ``header`` is what the format keeps of the file that the grid was read from: nibabel's header,
    which knows what an affine of two axes cannot (where a two-dimensional image lies in the
    patient), or the files of a DICOM series.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    header: Any = None

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel edge lengths, in millimetres where the file knows."""
        return tuple(np.linalg.norm(self.affine[:-1, :-1], axis=0).tolist())

    def reaches(self, other: Space) -> np.ndarray:
        """Mark the voxels of another grid inside this one, border included: (*other.shape,)."""
        matrix = np.linalg.solve(self.affine, other.affine)
        index = np.ogrid[tuple(slice(n) for n in other.shape)]
        inside = np.ones(other.shape, bool)
        for row, size in zip(matrix, self.shape):
            at = sum(a * i for a, i in zip(row, index)) + row[-1]
            inside &= (at >= -_REACH) & (at <= size - 1 + _REACH)
        return inside


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


def millimetres(header: Any) -> float:
    """Return the length unit of a header in millimetres; 1 if it names none.

    Raises:
        ValueError: the header names a unit that NIfTI does not have.
    """
    if not hasattr(header, "get_xyzt_units"):
        return 1.0
    try:
        return _TO_MILLIMETRES[header.get_xyzt_units()[0]]
    except KeyError:
        code = int(header["xyzt_units"]) % 8
        raise ValueError(f"xyzt_units has the length unit {code}; NIfTI has 0 to 3") from None


def file_affine(header: Any) -> np.ndarray:
    """Return the (4, 4) affine of a header, in millimetres."""
    affine = np.array(header.get_best_affine(), float)
    affine[:3] *= millimetres(header)
    return affine


def _in_patient(grid: Space) -> np.ndarray | None:
    """The (4, 4) affine of a grid; None for two axes of which no header knows the place."""
    if len(grid.affine) == 4:
        return grid.affine
    if not hasattr(grid.header, "get_best_affine") or len(grid.header.get_data_shape()) != 2:
        return None
    affine = file_affine(grid.header)
    # As the file has it: a grid that was cropped or resampled has moved away from its header.
    plane = np.diag([*np.linalg.norm(affine[:3, :2], axis=0), 1.0])
    return affine if np.allclose(plane, grid.affine, rtol=1e-4, atol=0) else None


def grid_difference(grid: Space, other: Space) -> str | None:
    """Describe how two grids of one shape differ; None if all corners agree to a tenth of a voxel.

    A grid of two axes is compared in the patient where both headers know the place.
    """
    rank = len(grid.shape)
    here, there = _in_patient(grid), _in_patient(other)
    if here is None or there is None:
        here, there = grid.affine, other.affine
    size = len(here) - 1
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(rank, -1)
    corners = np.zeros((size + 1, ends.shape[1]))
    corners[:rank], corners[-1] = ends, 1
    apart = float(np.linalg.norm(((here - there) @ corners)[:-1], axis=0).max())
    if not apart > _APART * min(other.spacing):
        return None
    found = []
    if not np.allclose(grid.spacing, other.spacing, rtol=0.01):
        found.append(f"voxels of {_lengths(grid)} instead of {_lengths(other)} mm")
    if size == 3:
        axes, wanted = ("".join(nib.aff2axcodes(a)) for a in (here, there))
        if axes != wanted:
            found.append(f"axes that run to {axes} instead of {wanted}")
    found.append(f"a corner {apart:.3g} mm away (voxels are {_lengths(other)} mm)")
    return ", ".join(found)


def check_grid(
    path: str | os.PathLike,
    mask: Space,
    image: Space,
    *,
    what: str = "mask",
    reference: str = "its image",
) -> None:
    """Raise if a mask's grid differs from its image's, or a modality's from the first one's.

    Args:
        path: the file of the mask, for the message.
        mask: its grid.
        image: the grid it has to have.
        what: ``"mask"`` or ``"image"``: what the file holds.
        reference: what has the other grid, for the message.
    """
    shape_rule, place_rule = {
        "mask": ("mask-shape", "mask-affine"),
        "image": ("shape", "same-grid"),
    }[what]
    if mask.shape != image.shape:
        detail = f"the {what} is {mask.shape}, {reference} {image.shape}"
        raise fault(path, shape_rule, detail)
    if difference := grid_difference(mask, image):
        raise fault(
            path,
            place_rule,
            f"the {what}'s affine differs from that of {reference}: {difference}; resample it to "
            "that grid (data.to_space), or correct the header that is wrong",
        )


def _lengths(grid: Space) -> str:
    return "(" + ", ".join(f"{s:.4g}" for s in grid.spacing) + ")"
