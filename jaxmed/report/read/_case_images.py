"""Images of the cases whose masks are measured, paired by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmed.data import DataError, Fault, read_image, read_space
from jaxmed.data.formats import images_in, is_picture, stem
from jaxmed.data.images._space import check_grid
from jaxmed.report.read._joined import some
from jaxmed.report.read._mask_folders import mask_files


def read_case_images(
    images: str | os.PathLike, reference: str | os.PathLike
) -> Callable[[str], np.ndarray]:
    """Find the images of some masks by name.

    An image has the name of its mask, or that name and an ending that begins with neither letter
    nor digit (``case_0000.nii.gz``), of which the first in the order of names counts.

    Args:
        images: folder of images, or one file.
        reference: folder of true masks, or one file.

    Returns:
        A function from the name of a case to its image, (*spatial, channels), on its mask's grid.

    Raises:
        DataError: there is no such folder, or a case has no image there; once called, if an
            image cannot be read or lies on another grid than its mask.
    """
    folder, truth = Path(images), mask_files(Path(reference))
    if not folder.exists():
        raise DataError.of([Fault(str(folder), "exists", "there is no such file or folder")])
    files = {stem(path): path for path in images_in(folder)} if folder.is_dir() else {}
    if folder.is_file():
        files = {min(truth) if len(truth) == 1 else stem(folder): folder}
    found: dict[str, Path] = {}
    for name in sorted(files):
        fits = [c for c in truth if name.startswith(c) and not name[len(c) : len(c) + 1].isalnum()]
        if fits:
            found.setdefault(max(fits, key=len), files[name])
    missing = sorted(set(truth) - set(found))
    if missing:
        detail = f"{some(missing)} of {reference} without an image: each has the name of its mask"
        raise DataError.of([Fault(str(folder), "same-cases", detail)])

    def image(case: str) -> np.ndarray:
        scan = read_image(found[case])
        space, _ = read_space(truth[case])
        if is_picture(truth[case]):
            space = space._replace(affine=scan.affine)  # Pixels have no place.
        check_grid(found[case], scan.space, space, what="image", reference="its mask")
        return scan.array

    return image
