"""One predicted mask, as programs write them, on the grid of its reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxmed.data import DataError, Fault, Scan, read_image, read_mask, to_space
from jaxmed.data._error import reading
from jaxmed.data._npz import array_of
from jaxmed.data.formats import suffix
from jaxmed.data.images._space import check_grid

_EXACT = 1e-3  # by which a matrix between two grids may miss a turn by whole voxels


def read_prediction(
    path: Path, true: Scan, reference: Path, *, objects: bool = False
) -> np.ndarray:
    """Read a predicted mask, turned to its reference's axes if only these differ.

    Args:
        path: a mask; or probabilities, ``.npz``; or a 0/1 channel for each class.
        true: the true mask.
        reference: its file, for messages.
        objects: whether numbers name objects; then a file is a label map, and kept as it is.

    Returns:
        (*spatial,) int32 on the grid of ``true``.

    Raises:
        DataError: the mask cannot be read, or is on another grid.
    """
    if suffix(path) == ".npz":
        if objects:
            detail = "probabilities of classes name no objects: write a label map"
            raise DataError.of([Fault(str(path), "mask-values", detail)])
        return _most_probable(path, true.array.shape)
    try:
        mask = read_mask(path)
    except DataError as error:
        found = _of_channels(path, true) if not objects and _is_of_channels(error) else None
        if found is None:
            raise
        return found
    if mask.array.shape != true.array.shape or not _same_place(mask, true):
        turned = _turned(mask, true)
        if turned is None:
            check_grid(path, mask.space, true.space, reference="its reference")
        else:
            mask = mask._replace(array=turned)
    return mask.array if objects else _numbers(path, mask.array, reference, true.array)


def _same_place(mask: Scan, true: Scan) -> bool:
    return np.allclose(mask.affine, true.affine, atol=1e-4)


def _turned(mask: Scan, true: Scan) -> np.ndarray | None:
    """The mask on the true grid, if the two differ by the order and direction of axes alone."""
    if len(mask.affine) != 4 or len(true.affine) != 4:
        return None
    matrix = np.linalg.solve(mask.affine, true.affine)
    turn = matrix[:3, :3]
    signed = np.round(turn)
    if np.abs(turn - signed).max() > _EXACT or not np.array_equal(np.abs(signed).sum(0), [1, 1, 1]):
        return None
    corners = matrix @ np.array([[0, 0, 0, 1], [*(n - 1 for n in true.array.shape), 1]]).T
    reached = np.sort(np.round(corners[:3], 2), axis=1)
    whole = np.array([[0, n - 1] for n in mask.array.shape])
    if np.abs(reached - whole).max() > 0.1:
        return None  # another place, not another orientation
    return to_space(mask.array, mask.affine, true.space)


def _is_of_channels(error: DataError) -> bool:
    return any(fault.rule == "mask-shape" for fault in error.faults)


def _of_channels(path: Path, true: Scan) -> np.ndarray | None:
    """Classes of a mask with a 0/1 channel each, the background's first."""
    scan = read_image(path)
    array = scan.array
    one = np.isin(array, (0, 1)).all() and np.array_equal(array.sum(-1), np.ones(array.shape[:-1]))
    if not one or array.shape[:-1] != true.array.shape:
        return None
    check_grid(path, scan.space, true.space, reference="its reference")
    return array.argmax(-1).astype(np.int32)


def _most_probable(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Classes of probabilities: (*spatial, classes), or (classes, z, y, x) as nnU-Net has them."""
    with reading(path, "the probabilities"), np.load(path) as file:
        name = next((n for n in ("probabilities", "softmax", "mask") if n in file), None)
        if name is None:
            detail = f"it has the arrays {', '.join(file)}, none of probabilities"
            raise DataError.of([Fault(str(path), "readable", detail)])
        array, ours = array_of(file, name), "classes" in file
    if array.shape == shape and array.dtype.kind in "iub":
        return array.astype(np.int32)
    if array.ndim == len(shape) + 1:
        if ours and array.shape[:-1] == shape:
            return array.argmax(-1).astype(np.int32)
        if not ours and array.shape[1:] == shape[::-1]:
            return array.argmax(0).transpose().astype(np.int32)
    detail = (
        f"the array {name!r} has the shape {array.shape}, its reference {shape}: probabilities are "
        f"(*spatial, classes) beside an array `classes`, or (classes, z, y, x) as nnU-Net has them"
    )
    raise DataError.of([Fault(str(path), "mask-shape", detail)])


def _numbers(path: Path, found: np.ndarray, reference: Path, truth: np.ndarray) -> np.ndarray:
    """Read 255 as 1 where the reference has 0 and 1 alone, and refuse the opposite."""
    if set(np.unique(found).tolist()) <= {0, 255} and truth.max() == 1:
        return found // 255
    if set(np.unique(truth).tolist()) <= {0, 255} and truth.max() == 255 and found.max() == 1:
        detail = f"marks with 255 what {path} marks with 1: write the number of the class"
        raise DataError.of([Fault(str(reference), "mask-values", detail)])
    return found
