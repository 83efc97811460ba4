"""Planning of a U-Net's architecture from a patch size and a voxel spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Ints = int | tuple[int, ...]

_MIN_VOXELS = 4
_MAX_FEATURES = {1: 512, 2: 512, 3: 320}
_RESIDUAL_DEPTHS = (1, 3, 4, 6)


@dataclass(frozen=True)
class UNetPlan:
    """The stages of a U-Net, finest first.

    Attributes:
        features: channels of each stage.
        strides: downsampling of each stage relative to the previous one; 1 for the first. An int
            applies to all axes of images of any rank; otherwise one per axis.
        kernels: window of each stage's convolutions, likewise.
        depths: convolutions or residual blocks of each encoder stage.
        decoder_depths: convolutions of each decoder stage, one fewer than the stages.
        block: encoder block: `"plain"` convolutions or `"residual"` blocks of two.
        patch_size: the planned patch in voxels, each axis a multiple of its total stride; None
            for any size.

    Raises:
        ValueError: if the fields do not fit together.

    >>> UNetPlan(features=(8, 16), strides=(1, 2), kernels=(3, 3), depths=(2, 2),
    ...          decoder_depths=(2,)).stages
    2
    """

    features: tuple[int, ...] = (32, 64, 128, 256)
    strides: tuple[Ints, ...] = (1, 2, 2, 2)
    kernels: tuple[Ints, ...] = (3, 3, 3, 3)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    decoder_depths: tuple[int, ...] = (2, 2, 2)
    block: Literal["plain", "residual"] = "plain"
    patch_size: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.features)
        for name in ("strides", "kernels", "depths"):
            if len(getattr(self, name)) != n:
                raise ValueError(
                    f"{name} must have one entry for each of the {n} stages that features "
                    f"names, got {getattr(self, name)}"
                )
        if n < 2 or len(self.decoder_depths) != n - 1:
            raise ValueError(
                "a U-Net has at least two stages, and decoder_depths one entry fewer than stages; "
                f"got features {self.features}, decoder_depths {self.decoder_depths}"
            )
        if self.block not in ("plain", "residual"):
            raise ValueError(f'block must be "plain" or "residual", got {self.block!r}')

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.features)


def plan_unet(
    patch_size: Sequence[int],
    spacing: Sequence[float] | None = None,
    *,
    block: Literal["plain", "residual"] = "plain",
    base_features: int = 32,
    max_features: int | None = None,
) -> UNetPlan:
    """Plan a U-Net as nnU-Net v2 does.

    At each stage an axis is halved if that leaves it at least 4 voxels and its spacing is less
    than twice the finest among such axes, so that anisotropic images are pooled in plane first;
    a single axis is halved only if it has at least 12 voxels. The convolutions are 1 wide along
    an axis until its spacing is within a factor of two of the finest, and 3 wide from there on.
    Channels double from stage to stage.

    Args:
        patch_size: voxels along each axis.
        spacing: voxel size along each axis, in any common unit; None: isotropic.
        block: `"plain"`: two convolutions per stage; `"residual"`: 1, 3, 4, 6, 6, ... residual
            blocks in the encoder, one convolution in the decoder.
        base_features: channels of the first stage.
        max_features: maximum number of channels; None: 320 in 3D, 512 otherwise.

    Returns:
        The plan. Its `patch_size` is the given one, rounded up to a multiple of the strides.

    Raises:
        ValueError: if the arguments do not fit together, or the patch is too small to be halved
            once.

    References:
        Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical
        image segmentation, Nature Methods 18, 2021. Isensee et al., nnU-Net revisited, MICCAI
        2024 (residual encoder).

    >>> plan = plan_unet((40, 56, 40), (1.0, 1.0, 1.0))
    >>> plan.features, plan.strides
    ((32, 64, 128, 256), ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)))
    >>> plan_unet((16, 256, 256), (8.0, 1.0, 1.0)).kernels[:4]
    ((1, 3, 3), (1, 3, 3), (1, 3, 3), (3, 3, 3))
    """
    size = [int(n) for n in patch_size]
    rank = len(size)
    gap = [1.0] * rank if spacing is None else [float(s) for s in spacing]
    if rank not in _MAX_FEATURES or len(gap) != rank:
        raise ValueError(
            "patch_size and spacing must name the same one to three axes, got "
            f"{tuple(patch_size)} and {spacing}"
        )
    if min(size) < 1 or not all(0 < s < math.inf for s in gap):
        raise ValueError(f"patch_size and spacing must be positive, got {size} and {gap}")

    wide = [False] * rank
    strides, kernels = [(1,) * rank], []
    while axes := _axes_to_halve(size, gap):
        wide = [w or s < 2 * min(gap) for w, s in zip(wide, gap, strict=True)]
        kernels.append(tuple(3 if w else 1 for w in wide))
        strides.append(tuple(2 if axis in axes else 1 for axis in range(rank)))
        for axis in axes:
            gap[axis] *= 2
            size[axis] = -(-size[axis] // 2)
    if len(strides) < 2:
        raise ValueError(
            f"a patch of {tuple(patch_size)} voxels cannot be halved and keep {_MIN_VOXELS} voxels"
        )
    kernels.append((3,) * rank)

    n = len(strides)
    limit = _MAX_FEATURES[rank] if max_features is None else max_features
    whole = [math.prod(s[axis] for s in strides) for axis in range(rank)]
    residual = block == "residual"
    return UNetPlan(
        features=tuple(min(base_features * 2**i, limit) for i in range(n)),
        strides=tuple(strides),
        kernels=tuple(kernels),
        depths=tuple(_RESIDUAL_DEPTHS[min(i, 3)] for i in range(n)) if residual else (2,) * n,
        decoder_depths=(1 if residual else 2,) * (n - 1),
        block=block,
        patch_size=tuple(-(-int(p) // w) * w for p, w in zip(patch_size, whole, strict=True)),
    )


def _axes_to_halve(size: list[int], gap: list[float]) -> list[int]:
    """Return the axes that the next stage pools; none at the bottom."""
    large = [axis for axis, n in enumerate(size) if n >= 2 * _MIN_VOXELS]
    if not large:
        return []
    finest = min(gap[axis] for axis in large)
    axes = [axis for axis in large if gap[axis] < 2 * finest]
    if len(axes) == 1 and size[axes[0]] < 3 * _MIN_VOXELS:
        return []
    return axes
