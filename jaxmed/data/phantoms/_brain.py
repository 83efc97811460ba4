"""Synthetic brain MR scans from the tissue maps of the MNI152 atlas included in nilearn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from jaxmed.data._source import ArraySource, Example
from jaxmed.data.images._geometry import crop_or_pad
from jaxmed.data.images._intensity import normalise
from jaxmed.data.phantoms._shapes import coarse_field

TISSUES = ("background", "grey matter", "white matter")


class Atlas(NamedTuple):
    """The MNI152 maps on one grid: shares of tissue in [0, 1], the T1 template, the affine."""

    grey: np.ndarray
    white: np.ndarray
    brain: np.ndarray
    t1: np.ndarray
    affine: np.ndarray


@functools.lru_cache(maxsize=4)
def atlas(resolution: int = 4, shape: tuple[int, ...] | None = None) -> Atlas:
    """Load the ICBM 152 maps from the nilearn wheel, cropped to the brain; no download.

    Args:
        resolution: voxel size in millimetres.
        shape: spatial shape about the brain's middle; by default the brain with a margin, rounded
            up to multiples of 8.

    Raises:
        ImportError: nilearn is not installed.

    References:
        Fonov et al. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage
        54:313, 2011.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise ImportError("the brain phantom needs nilearn: pip install 'jaxmed[demo]'") from error
    if resolution < 1:
        raise ValueError(f"the atlas has voxels of 1 mm, got resolution={resolution}")
    images = [
        load(resolution=1)
        for load in (
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
            datasets.load_mni152_template,
        )
    ]
    maps = [np.asarray(image.dataobj, np.float32) for image in images]
    found = np.argwhere(maps[2] > 0.5)
    low, high = found.min(axis=0), found.max(axis=0) + 1
    if shape is None:
        shape = tuple(int(8 * np.ceil(n / resolution / 8)) for n in high - low + 4 * resolution)
    centre = [int(c) for c in (low + high) // 2]
    wide = tuple(n * resolution for n in shape)
    step = np.diag([resolution] * 3 + [1.0])
    # Voxel 0 of the coarse grid lies in the middle of its block of fine voxels.
    step[:3, 3] = [c - n // 2 + (resolution - 1) / 2 for c, n in zip(centre, wide, strict=True)]
    maps = [_shrink(crop_or_pad(m, wide, centre=centre), resolution) for m in maps]
    for each in maps:
        each.flags.writeable = False
    return Atlas(*maps, images[0].affine @ step)


def _shrink(array: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of voxels, simulating a scanner of that resolution."""
    blocks = [side for n in array.shape for side in (n // factor, factor)]
    return array.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)


def brain(
    n: int,
    *,
    resolution: int = 4,
    shape: Sequence[int] | None = None,
    contrast: Literal["t1", "any"] = "t1",
    deform: float = 1.0,
    noise: float = 0.04,
    bias: float = 0.2,
    seed: int = 0,
) -> ArraySource:
    """Draw synthetic scans of the atlas brain with random anatomy, scanner and contrast.

    The tissue maps are deformed (rotation, scaling, shearing, a smooth displacement); each tissue
    gets a random intensity with texture; then come partial volume by blurring, a bias field and
    Rician noise, in the spirit of SynthSeg.

    Args:
        n: number of scans.
        resolution: voxel size in millimetres.
        shape: spatial shape; by default the brain with a margin.
        contrast: ``"t1"``: fluid < grey < white; ``"any"``: in any order.
        deform: strength of the deformation; 1 is about 4 mm, and 6 degrees.
        noise: standard deviation of the noise; white matter is about 1.
        bias: standard deviation of the logarithm of the bias field.
        seed: the same seed gives the same scans.

    Returns:
        ``image`` (*shape, 1) float32, mean 0 and standard deviation 1 over the head, and ``mask``
        (*shape,) int32: 0 background and fluid, 1 grey matter, 2 white matter.

    References:
        Billot et al. SynthSeg. Medical Image Analysis 86:102789, 2023.
    """
    maps = atlas(resolution, None if shape is None else tuple(shape))
    examples = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        grey, white, whole = _deformed(rng, maps, deform=deform, resolution=resolution)
        image = _scanned(rng, grey, white, whole, contrast=contrast, noise=noise, bias=bias)
        examples.append(_example(image, grey, white))
    return _source(examples, [f"synthetic-brain-{i}" for i in range(n)])


def brain_template(*, resolution: int = 4, shape: Sequence[int] | None = None) -> ArraySource:
    """Return the real MNI152 T1 average (152 people) with the atlas's tissues as ground truth.

    Args:
        resolution: as in `brain`.
        shape: as in `brain`.

    Returns:
        One example, like those of `brain`.
    """
    maps = atlas(resolution, None if shape is None else tuple(shape))
    # The template is the average inside a head mask that is wider than the brain's.
    example = _example(maps.t1 * (maps.brain > 0.5), maps.grey, maps.white)
    return _source([example], ["MNI152-T1"])


def _source(examples: list[Example], names: list[str]) -> ArraySource:
    arrays = {key: np.stack([e[key] for e in examples]) for key in examples[0]}
    return ArraySource(arrays, case_ids=names, classes=TISSUES, name="phantoms.brain")


def _example(image: np.ndarray, grey: np.ndarray, white: np.ndarray) -> Example:
    shares = np.stack([1 - grey - white, grey, white])
    head = image > 0.15 * np.percentile(image, 98)
    out = normalise(np.clip(image, 0, None)[..., None], "zscore", where=head)
    return {"image": out, "mask": shares.argmax(axis=0).astype(np.int32)}


def _deformed(
    rng: np.random.Generator, maps: Atlas, *, deform: float, resolution: int
) -> list[np.ndarray]:
    spatial = maps.grey.shape
    turn = _rotation(rng.normal(0, 0.1 * deform, 3))
    shear = np.eye(3) + np.triu(rng.normal(0, 0.03 * deform, (3, 3)), 1)
    matrix = turn @ shear @ np.diag(np.exp(rng.normal(0, 0.06 * deform, 3)))
    middle = (np.array(spatial) - 1) / 2
    offset = middle - matrix @ middle + rng.normal(0, 3 * deform / resolution, 3)
    index = np.stack(np.meshgrid(*map(np.arange, spatial), indexing="ij"))
    where = np.tensordot(matrix, index, 1) + offset[:, None, None, None]
    for axis in range(3):
        where[axis] += 4 * deform / resolution * coarse_field(rng, spatial, knots=6)
    return [ndimage.map_coordinates(m, where, order=1) for m in (maps.grey, maps.white, maps.brain)]


def _rotation(angles: np.ndarray) -> np.ndarray:
    out = np.eye(3)
    for (i, j), a in zip(((0, 1), (0, 2), (1, 2)), angles, strict=True):
        plane = np.eye(3)
        plane[[i, i, j, j], [i, j, i, j]] = [np.cos(a), -np.sin(a), np.sin(a), np.cos(a)]
        out = out @ plane
    return out


def _scanned(
    rng: np.random.Generator,
    grey: np.ndarray,
    white: np.ndarray,
    whole: np.ndarray,
    *,
    contrast: str,
    noise: float,
    bias: float,
) -> np.ndarray:
    if contrast == "t1":
        means = np.array([rng.uniform(0.15, 0.45), rng.uniform(0.6, 0.8), 1.0])
    elif contrast == "any":
        means = rng.permutation([0.2, 0.6, 1.0]) + rng.uniform(-0.12, 0.12, 3)
    else:
        raise ValueError(f"contrast is 't1' or 'any', got {contrast!r}")
    fluid = np.clip(whole - grey - white, 0, 1)
    grain = ndimage.gaussian_filter(rng.standard_normal(grey.shape, np.float32), 1)
    grain *= rng.uniform(0, 0.06) / grain.std()
    # The same grain at another strength, and sign, in each tissue.
    strengths = rng.uniform(-1, 1, 3)
    image = sum(
        share * (mean + strength * grain)
        for share, mean, strength in zip((fluid, grey, white), means, strengths, strict=True)
    )
    image = ndimage.gaussian_filter(image, rng.uniform(0, 0.6))
    image = image * np.exp(bias * coarse_field(rng, grey.shape, knots=4))
    sigma = noise * rng.uniform(0.25, 1)
    real, imaginary = sigma * rng.standard_normal((2, *grey.shape), np.float32)
    # A skull-stripped scan is 0 outside the head, as the template is.
    return np.hypot(image + real, imaginary).astype(np.float32) * (whole > 0.5)
