"""Grids of formats that state a direction and a length for each axis, in any patient space."""

from __future__ import annotations

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data.formats._format import Place

# Two axes of a voxel this close to parallel leave the place of a voxel undetermined.
FLATTEST = 1e6
LPS = np.array([-1.0, -1.0, 1.0])
"""From left, posterior, superior to right, anterior, superior."""


def affine_of(place: Place, columns: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The (4, 4) affine of axes whose voxel edges are the columns, in right, anterior, superior.

    Args:
        place: the file, for messages.
        columns: (3, axes) edges of a voxel; of two axes the third is their normal, of length 1.
        origin: (3,) centre of the first voxel.

    Raises:
        DataError: the numbers are not finite, or the axes have no inverse.
    """
    if columns.shape[1] == 2:
        normal = np.cross(columns[:, 0], columns[:, 1])
        size = float(np.linalg.norm(normal))
        columns = np.column_stack([columns, normal / size if size else normal])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    check_affine(place, affine)
    return affine


def check_affine(place: Place, affine: np.ndarray) -> None:
    """Raise if an affine is not finite or has no inverse."""
    if not np.all(np.isfinite(affine)):
        raise fault(place.path, "finite", "the affine holds NaN or infinity")
    edges = np.linalg.norm(affine[:-1, :-1], axis=0)
    # By direction alone: a voxel of nanometres has as good an inverse as one of metres.
    if not edges.all() or np.linalg.cond(affine[:-1, :-1] / edges) > FLATTEST:
        raise fault(place.path, "finite", "the affine has no inverse")
