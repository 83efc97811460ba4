"""Bags of nuclei: the colon-cancer images with marked nuclei (CRCHistoPhenotypes)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from jaxmed.data._error import fault
from jaxmed.data._source import Example, ListSource
from jaxmed.data.formats._read import read_image
from jaxmed.data.public._matlab import read_matlab

NUCLEI = ("epithelial", "fibroblast", "inflammatory", "others")
"""The kinds of nuclei, in the order of ``kind``."""

_ENDINGS = (".bmp", ".png", ".tif")


def colon_nuclei(path: str | os.PathLike, *, patch: int = 27) -> ListSource:
    """Read the H&E images of colon cancer as bags of patches around each marked nucleus.

    The folder is ``CRCHistoPhenotypes_2016_04_28`` as published: ``Detection/imgN/imgN.bmp`` (or
    ``.png``) and ``Classification/imgN/imgN_KIND.mat`` with the centres of each kind of nucleus. A
    bag is positive if it holds an epithelial nucleus, as in Ilse et al. (2018): 51 of the 100 are.

    Args:
        path: the folder.
        patch: side of a patch in pixels, odd. Beyond the image's edge it is mirrored.

    Returns:
        A source of bags: ``image`` (nuclei, patch, patch, 3) uint8, ``label`` int32, and of every
        instance ``kind`` (nuclei,) int32, a position in ``NUCLEI``, and ``centre`` (nuclei, 2)
        float32, row and column in pixels. ``case_ids`` are the images' names. Batches:
        ``bag_batches(..., bag=("image", "kind", "centre"))``.

    Raises:
        DataError: a missing or malformed file, a centre outside its image, an image without a
            nucleus.
        ValueError: an even or negative ``patch``.

    References:
        Sirinukunwattana et al. Locality sensitive deep learning for detection and classification
        of nuclei in routine colon cancer histology images. IEEE TMI 35, 2016. Ilse, Tomczak and
        Welling. Attention-based deep multiple instance learning. ICML 2018.
    """
    if patch < 1 or patch % 2 == 0:
        raise ValueError(f"patch is a positive odd number of pixels, got {patch}")
    root = Path(path)
    folder = root / "Classification"
    if not folder.is_dir():
        raise fault(folder, "exists", "a folder of CRCHistoPhenotypes has Classification/imgN")
    names = [p.name for p in folder.iterdir() if re.fullmatch(r"img\d+", p.name)]
    if not names:
        raise fault(folder, "non-empty", "there are no folders img1, img2, ...")
    names.sort(key=lambda name: int(name[3:]))
    bags = tuple(_bag(root, name, patch) for name in names)
    return ListSource(bags, tuple(names), None, ("no epithelial nucleus", "epithelial nuclei"), ())


def colon_centres(path: str | os.PathLike) -> ListSource:
    """Read the H&E images of colon cancer with the centres of all nuclei marked in them.

    Nuclei whose kind is not known are marked too, so there are more than in :func:`colon_nuclei`.

    Args:
        path: the folder ``CRCHistoPhenotypes_2016_04_28`` as published, of which
            ``Detection/imgN/imgN.bmp`` (or ``.png``) and ``imgN_detection.mat`` are read.

    Returns:
        A source of ``image`` (height, width, 3) uint8 and ``point`` (nuclei, 2) float32, row and
        column in pixels. ``case_ids`` are the images' names; no patients are named.

    Raises:
        DataError: a missing or malformed file, a centre outside its image.

    References:
        Sirinukunwattana et al. Locality sensitive deep learning for detection and classification
        of nuclei in routine colon cancer histology images. IEEE TMI 35, 2016.
    """
    root = Path(path)
    folder = root / "Detection"
    if not folder.is_dir():
        raise fault(folder, "exists", "a folder of CRCHistoPhenotypes has Detection/imgN")
    names = [p.name for p in folder.iterdir() if re.fullmatch(r"img\d+", p.name)]
    if not names:
        raise fault(folder, "non-empty", "there are no folders img1, img2, ...")
    names.sort(key=lambda name: int(name[3:]))
    held: list[Example] = []
    for name in names:
        pixels, file = _picture(root, name), folder / name / f"{name}_detection.mat"
        held.append({"image": pixels, "point": _inside(file, pixels).astype(np.float32)})
    return ListSource(tuple(held), tuple(names), None, (), ())


def _bag(root: Path, name: str, patch: int) -> Example:
    pixels = _picture(root, name)
    centres, kinds = [], []
    for kind, word in enumerate(NUCLEI):
        file = root / "Classification" / name / f"{name}_{word}.mat"
        found = _inside(file, pixels)
        centres.append(found)
        kinds.append(np.full(len(found), kind, np.int32))
    centre, kind = np.concatenate(centres), np.concatenate(kinds)
    if not len(centre):
        raise fault(root / "Classification" / name, "non-empty", "no nucleus is marked")
    half = patch // 2
    mirrored = np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="reflect")
    row, column = np.floor(centre).astype(int).T
    image = np.stack([mirrored[r : r + patch, c : c + patch] for r, c in zip(row, column)])
    label = np.int32((kind == NUCLEI.index("epithelial")).any())
    return {"image": image, "label": label, "kind": kind, "centre": centre.astype(np.float32)}


def _picture(root: Path, name: str) -> np.ndarray:
    """Read the image of a bag, in either of the two folders, as 8-bit RGB."""
    places = [
        root / part / name / f"{name}{ending}"
        for part in ("Detection", "Classification")
        for ending in _ENDINGS
    ]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise fault(places[0], "exists", f"no {name} with an ending of {', '.join(_ENDINGS)}")
    pixels = read_image(found).array
    if pixels.ndim != 3 or pixels.shape[-1] < 3:
        raise fault(found, "shape", f"a colour picture is needed, got the shape {pixels.shape}")
    return np.round(pixels[..., :3] * 255).astype(np.uint8)


def _inside(file: Path, pixels: np.ndarray) -> np.ndarray:
    """The marked centres (n, 2) of an image, in which they lie."""
    height, width = pixels.shape[:2]
    found = _centres(file)
    outside = (found < 0).any(1) | (found[:, 0] >= height) | (found[:, 1] >= width)
    if outside.any():
        raise fault(
            file, "shape",
            f"centre (row, column) {found[outside][0].round(1).tolist()} is outside the image of "
            f"{height} x {width}",
        )  # fmt: skip
    return found


def _centres(file: Path) -> np.ndarray:
    """The marked centres (n, 2), as (row, column) from 0; Matlab's are (x, y) from 1."""
    held = read_matlab(file)
    if "detection" not in held:
        raise fault(file, "table", f"no variable 'detection': there is {sorted(held)}")
    found = np.asarray(held["detection"], np.float64)
    if found.size == 0:
        return np.zeros((0, 2))
    if found.ndim != 2 or found.shape[1] != 2 or not np.isfinite(found).all():
        raise fault(file, "table", f"detection is (n, 2) and finite, got the shape {found.shape}")
    return np.maximum(found[:, ::-1] - 1, 0)
