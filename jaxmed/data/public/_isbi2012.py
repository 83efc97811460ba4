"""ISBI 2012: membranes of neurons in electron microscopy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from jaxmed.data._error import fault, reading
from jaxmed.data._source import ArraySource

_STACKS = ("train-volume.tif", "train-labels.tif")


def isbi2012(path: str | os.PathLike) -> ArraySource:
    """Read the training stack of the ISBI 2012 challenge: 30 consecutive slices with membranes.

    The folder holds the challenge's stacks, ``train-volume.tif`` and ``train-labels.tif``, or a
    picture a slice, ``image/0.png`` and ``label/0.png``, as the set is handed around; also in
    ``membrane/train`` below it. Pixels are 4 nm wide, slices 50 nm thick.

    Args:
        path: the folder.

    Returns:
        A source of ``image`` (rows, columns, 1) float32 in [0, 1] and ``mask`` (rows, columns)
        int32, 1 on membranes, in the order of the slices, whose numbers are the ``case_ids``.
        Neighbours are much alike: hold out blocks of slices.

    Raises:
        DataError: a missing or unreadable file, or labels of other sizes than their images.

    References:
        Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for
        connectomics, Frontiers in Neuroanatomy 9, 2015.
    """
    root = Path(path)
    folders = (root, root / "membrane" / "train")
    for folder in folders:
        if (folder / _STACKS[0]).is_file():
            images, labels = (_pages(folder / name) for name in _STACKS)
            names = [str(i) for i in range(len(images))]
            break
        if (folder / "image").is_dir():
            files = sorted((folder / "image").glob("*.png"), key=_number)
            names = [file.stem for file in files]
            images = [_grey(file) for file in files]
            labels = [_grey(folder / "label" / file.name) for file in files]
            break
    else:
        raise fault(root, "exists", f"there is neither {_STACKS[0]} nor a folder image")
    if not images:
        raise fault(folder / "image", "non-empty", "there are no slices 0.png, 1.png, ...")
    sizes = {image.shape for image in images} | {label.shape for label in labels}
    if len(sizes) != 1 or len(images) != len(labels):
        raise fault(
            folder, "mask-shape",
            f"{len(images)} slices and {len(labels)} labels of the sizes {sorted(sizes)}: one a "
            "slice, all of one size",
        )  # fmt: skip
    return ArraySource(
        {
            "image": np.stack(images).astype(np.float32)[..., None] / 255,
            "mask": (np.stack(labels) < 128).astype(np.int32),
        },
        case_ids=names,
        classes=("cell", "membrane"),
        name=str(root),
    )


def _number(file: Path) -> int:
    if not file.stem.isdigit():
        raise fault(file, "table", "a slice's name is its number, as 0.png")
    return int(file.stem)


def _grey(file: Path) -> np.ndarray:
    if not file.is_file():
        raise fault(file, "exists", "there is no such file")
    with reading(file, "the picture"), Image.open(file) as picture:
        return np.asarray(picture.convert("L"))


def _pages(file: Path) -> list[np.ndarray]:
    if not file.is_file():
        raise fault(file, "exists", "there is no such file")
    with reading(file, "the stack"), Image.open(file) as stack:
        return [np.asarray(page.convert("L")) for page in ImageSequence.Iterator(stack)]
