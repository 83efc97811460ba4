"""DRIVE: retinal photographs with vessels marked by one or two observers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from jaxmed.data._error import fault, reading
from jaxmed.data._source import ListSource
from jaxmed.data.formats._read import read_image


def drive(path: str | os.PathLike, split: Literal["training", "test"] = "training") -> ListSource:
    """Read one part of DRIVE.

    The folder holds ``training`` and ``test``, each with ``images/21_training.tif``,
    ``1st_manual/21_manual1.gif`` and ``mask/21_training_mask.gif``; ``test`` may have
    ``2nd_manual/01_manual2.gif`` as well.

    Args:
        path: the folder.
        split: ``"training"`` (20 images) or ``"test"`` (20).

    Returns:
        A source of ``image`` (584, 565, 3) float32 in [0, 1], ``mask`` (584, 565) int32, 1 on
        vessels, and ``field`` (584, 565) int32, 1 in the field of view, outside of which nothing
        counts; ``second`` likewise by the second observer, where all images have it. ``case_ids``
        are the images' numbers.

    Raises:
        DataError: a missing or unreadable file, or a mask of another size than its image.
        ValueError: no such split.

    References:
        Staal et al. Ridge-based vessel segmentation in color images of the retina. IEEE TMI 23,
        2004.
    """
    if split not in ("training", "test"):
        raise ValueError(f"split is 'training' or 'test', got {split!r}")
    root = Path(path) / split
    images = sorted((root / "images").glob("*.tif"))
    if not images:
        raise fault(root / "images", "non-empty", "there are no images NN_*.tif")
    numbers = []
    for image in images:
        found = re.match(r"\d+(?=_)", image.name)
        if not found:
            raise fault(
                image, "table", "an image's name begins with its number, as 21_training.tif"
            )
        numbers.append(found.group())
    seconds = [root / "2nd_manual" / f"{number}_manual2.gif" for number in numbers]
    twice = all(second.is_file() for second in seconds)
    cases = []
    for image, number, second in zip(images, numbers, seconds, strict=True):
        scan = read_image(image)
        if scan.array.ndim != 3 or scan.array.shape[-1] != 3:
            raise fault(image, "shape", f"a colour picture is needed, got {scan.array.shape}")
        names = {
            "mask": root / "1st_manual" / f"{number}_manual1.gif",
            "field": root / "mask" / f"{image.stem}_mask.gif",
            **({"second": second} if twice else {}),
        }
        masks = {key: _marked(p, scan.array.shape[:2]) for key, p in names.items()}
        cases.append({"image": scan.array, **masks})
    return ListSource(tuple(cases), tuple(numbers), None, ("background", "vessel"), ())


def _marked(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Where a picture is bright. A GIF has a palette, here not quite black and white."""
    if not path.is_file():
        raise fault(path, "exists", "there is no such file")
    with reading(path, "the picture"), Image.open(path) as picture:
        grey = np.asarray(picture.convert("L"))
    if grey.shape != shape:
        raise fault(path, "mask-shape", f"the mask is {grey.shape}, its image {shape}")
    return (grey > 127).astype(np.int32)
