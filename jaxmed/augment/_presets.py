"""Preset chains: FixMatch's weak and strong views, and nnU-Net's training augmentation."""

from __future__ import annotations

from collections.abc import Sequence

from jaxmed.augment._chain import Augmentation, chain
from jaxmed.augment._intensity import (
    bias_field,
    blur,
    brightness,
    contrast,
    cutout,
    gamma,
    low_resolution,
    noise,
)
from jaxmed.augment._spatial import elastic, flip, random_affine
from jaxmed.ops._boundary import Mode


def weak(
    *,
    flips: int | Sequence[int] | None = None,
    translation: float = 0.125,
    outside: Mode = "mirror",
    images: Sequence[str] = ("image",),
    masks: Sequence[str] = ("mask",),
) -> Augmentation:
    """Flip and shift: FixMatch's weak view.

    Args:
        flips: spatial axes mirrored with probability 0.5; all by default, ``()`` for none.
        translation: largest shift as a fraction of each side.
        outside: as in `chain`.
        images: as in `chain`.
        masks: as in `chain`.

    Returns:
        An augmentation.

    References:
        Sohn et al. FixMatch. NeurIPS 2020.

    Examples:
        >>> [step.name for step in weak().steps][:2]
        ['flip', 'random_affine']
    """
    shift = random_affine(rotation=0, scale=(1, 1), translation=translation)
    return chain(flip(flips), shift, images=images, masks=masks, outside=outside)


def strong(
    *,
    flips: int | Sequence[int] | None = None,
    geometry: bool = True,
    outside: Mode = "mirror",
    images: Sequence[str] = ("image",),
    masks: Sequence[str] = ("mask",),
) -> Augmentation:
    """Rotate, scale, shift, shade, blur, add noise and cut out: a strong view for FixMatch.

    Uses the operations of RandAugment that are meaningful for both grey and colour medical images;
    every intensity step is applied with probability 0.5.

    Args:
        flips: as in `weak`.
        geometry: whether to apply spatial steps; False suits voxelwise losses.
        outside: as in `chain`.
        images: as in `chain`.
        masks: as in `chain`.

    Returns:
        An augmentation.

    References:
        Sohn et al. FixMatch. NeurIPS 2020. Cubuk et al. RandAugment. NeurIPS 2020.

    Examples:
        >>> [step.name for step in strong().steps][:2]
        ['flip', 'random_affine']
    """
    moves = (
        flip(flips),
        random_affine(rotation=30, scale=(0.8, 1.25), shear=0.15, translation=0.125),
    )
    return chain(
        *(moves if geometry else ()),
        gamma((0.5, 2.0), p=0.5),
        contrast((0.5, 1.5), p=0.5),
        brightness(0.5, p=0.5),
        blur((0.3, 1.2), p=0.5),
        noise((0.0, 0.3), p=0.5),
        cutout((0.2, 0.5)),
        images=images,
        masks=masks,
        outside=outside,
    )


def segmentation(
    *,
    rotation: float = 30.0,
    scale: tuple[float, float] = (0.7, 1.4),
    flips: int | Sequence[int] | None = None,
    deform: float = 0.0,
    bias: float = 0.0,
    spacing: Sequence[float] | None = None,
    images: Sequence[str] = ("image",),
    masks: Sequence[str] = ("mask",),
) -> Augmentation:
    """Augment as nnU-Net does for training, with its ranges and probabilities.

    Args:
        rotation: largest angle in degrees, with probability 0.2.
        scale: minimum and maximum magnification, with probability 0.2.
        flips: as in `weak`.
        deform: `elastic` amount, with probability 0.2; nnU-Net has none.
        bias: `bias_field` amount, with probability 0.2; nnU-Net has none.
        spacing: voxel edge lengths, for rotation in millimetres.
        images: as in `chain`.
        masks: as in `chain`.

    Returns:
        An augmentation.

    References:
        Isensee et al. nnU-Net. Nature Methods 18:203, 2021, supplement 4.

    Examples:
        >>> [step.name for step in segmentation().steps][:2]
        ['random_affine', 'flip']
    """
    steps = [
        random_affine(rotation=rotation, scale=scale, spacing=spacing, p_rotation=0.2, p_scale=0.2),
        *([elastic(deform, p=0.2)] if deform else []),
        flip(flips),
        noise((0.0, 0.3), p=0.1),
        blur((0.5, 1.0), p=0.2),
        brightness(0.25, p=0.15),
        contrast((0.75, 1.25), p=0.15),
        low_resolution((1.0, 2.0), p=0.25),
        *([bias_field(bias, p=0.2)] if bias else []),
        gamma((0.7, 1.5), invert=True, retain=True, p=0.1),
        gamma((0.7, 1.5), retain=True, p=0.3),
    ]
    return chain(*steps, images=images, masks=masks)
