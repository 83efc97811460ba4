"""Warps on disk: NIfTI fields and ITK's text transforms, as other programs read them."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from jaxmed._files import replacing, write_whole
from jaxmed.registration.warps import _itk
from jaxmed.registration.warps._warp import Warp, displacement_warp, exponentiate

_NIFTI = (".nii", ".nii.gz")
_TEXT = (".tfm", ".txt")
_VECTOR = (1006, 1007)  # NIfTI's codes of a displacement and of a vector


def write_warp(path: str | os.PathLike, warp: Warp) -> Path:
    """Write a warp so that ITK, SimpleITK and ANTs read it.

    Args:
        path: ``.nii`` or ``.nii.gz`` for a field of displacements, ``.tfm`` or ``.txt`` for ITK's
            text of an affine transform or of a field.
        warp: a velocity is exponentiated first. Files hold LPS millimetres, as ITK does.

    Returns:
        The path.

    Raises:
        ValueError: if the format cannot hold the warp, or the grid is sheared, which ITK's
            geometry of an image cannot say.
    """
    path = Path(path)
    ending = _ending(path)
    warp = exponentiate(warp)
    if ending in _TEXT:
        text = _itk.as_text(warp)
        write_whole(path, text)
        return path
    if warp.kind == "affine":
        raise ValueError(f"{path}: NIfTI holds fields; write an affine warp as .tfm")
    rank = warp.rank
    affine = np.eye(4)
    affine[:rank, :rank] = np.asarray(warp.affine)[:rank, :rank]
    affine[:rank, 3] = np.asarray(warp.affine)[:rank, rank]
    _itk.geometry(np.asarray(warp.affine, float))
    vectors = np.asarray(warp.values, np.float32) * _itk.flips(rank)
    shape = (*vectors.shape[:-1], *(1,) * (4 - rank), rank)
    image = nib.Nifti1Image(vectors.reshape(shape), affine)
    image.header.set_intent(1007)
    image.header.set_xyzt_units("mm")
    with replacing(path) as partial:
        nib.save(image, partial)
    return path


def read_warp(path: str | os.PathLike) -> Warp:
    """Read a warp that ITK, SimpleITK, ANTs or :func:`write_warp` wrote.

    Args:
        path: a NIfTI field of displacements in LPS millimetres, or an ITK text transform: affine
            and rigid ones, a field, or several, of which ITK applies the last first.

    Returns:
        The warp, in RAS millimetres.

    Raises:
        ValueError: if the file is of another format, holds no field of vectors or a transform that
            is not known here.
    """
    path = Path(path)
    if _ending(path) in _TEXT:
        try:
            return _itk.from_text(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        image = nib.load(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # what is no NIfTI may raise anything
        raise ValueError(f"{path} cannot be read as NIfTI: {error}") from error
    shape = image.shape  # pyright: ignore
    rank = shape[-1]
    code = int(image.header["intent_code"])  # pyright: ignore
    if len(shape) != 5 or rank not in (2, 3) or shape[3] != 1 or code not in _VECTOR:
        raise ValueError(
            f"{path} is no field of displacements: it has shape {shape} and intent {code}; "
            "a field is (x, y, z, 1, 3) of vectors (intent 1006 or 1007)"
        )
    if rank == 2 and shape[2] != 1:
        raise ValueError(f"{path} has vectors of two axes on a grid of three, {shape[:3]}")
    whole = np.asarray(image.affine, float)  # pyright: ignore
    affine = np.eye(rank + 1)
    affine[:rank, :rank], affine[:rank, rank] = whole[:rank, :rank], whole[:rank, 3]
    vectors = np.asarray(image.dataobj, np.float32).reshape(*shape[:rank], rank)  # pyright: ignore
    return displacement_warp(vectors * _itk.flips(rank), affine)


def _ending(path: Path) -> str:
    name = path.name.lower()
    for ending in (*_NIFTI, *_TEXT):
        if name.endswith(ending):
            return ending
    known = ", ".join((*_NIFTI, *_TEXT))
    also = (
        "; ITK's .h5 and .mat can be written as .tfm by SimpleITK"
        if name.endswith((".h5", ".hdf5", ".mat"))
        else ""
    )
    raise ValueError(f"{path}: a warp's file ends in {known}{also}")
