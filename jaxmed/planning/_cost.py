"""How much memory and work a U-Net takes, from its plan alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxmed.networks import UNetPlan


def feature_map_size(plan: UNetPlan, patch: Sequence[int], classes: int) -> int:
    """Count the values of all feature maps that a training step of one patch keeps.

    It is the measure that nnU-Net v2 plans its memory by: the outputs of convolutions, of
    transposed convolutions and of the last layer.

    Args:
        plan: the network.
        patch: its input, in voxels.
        classes: channels of the output.

    >>> plan = UNetPlan((2, 4), (1, 2), (3, 3), (1, 1), (1,))
    >>> feature_map_size(plan, (4, 4), 3)  # 2 * 16 + 4 * 4, then 2 * 16 twice and 3 * 16
    160
    """
    sizes = _sizes(plan, patch)
    total = 0
    for stage, size in enumerate(sizes):
        voxels, width = math.prod(size), plan.features[stage]
        if plan.block == "plain":
            total += plan.depths[stage] * width * voxels
        else:
            total += _residual(plan, stage, sizes)
    for stage in reversed(range(plan.stages - 1)):
        voxels, width = math.prod(sizes[stage]), plan.features[stage]
        total += plan.decoder_depths[stage] * width * voxels  # convolutions
        total += width * voxels  # transposed convolution
        if stage == 0:
            total += classes * voxels
    return total


def _residual(plan: UNetPlan, stage: int, sizes: list[tuple[int, ...]]) -> int:
    """Feature maps of a stage of residual blocks: two convolutions each, and the projected skip."""
    voxels, width = math.prod(sizes[stage]), plan.features[stage]
    # Of the first stage, the stem; of the others, the 1 x 1 convolution of the first block's skip.
    return (2 * plan.depths[stage] + 1) * width * voxels


def multiplications(plan: UNetPlan, patch: Sequence[int], channels: int, classes: int) -> float:
    """Count the multiplications of one patch's forward pass, those of convolutions alone."""
    sizes = _sizes(plan, patch)
    rank = len(patch)
    total, width = 0.0, channels
    for stage, size in enumerate(sizes):
        window = math.prod(per_axis(plan.kernels[stage], rank))
        convolutions = plan.depths[stage] * (1 if plan.block == "plain" else 2)
        for _ in range(convolutions):
            total += math.prod(size) * window * width * plan.features[stage]
            width = plan.features[stage]
    for stage in reversed(range(plan.stages - 1)):
        voxels, width = math.prod(sizes[stage]), plan.features[stage]
        window = math.prod(per_axis(plan.kernels[stage], rank))
        total += voxels * plan.features[stage + 1] * width  # transposed, no two windows overlap
        total += voxels * window * 2 * width * width
        total += voxels * window * (plan.decoder_depths[stage] - 1) * width * width
    return total + math.prod(sizes[0]) * plan.features[0] * classes


def _sizes(plan: UNetPlan, patch: Sequence[int]) -> list[tuple[int, ...]]:
    """Spatial size of every stage."""
    size, sizes = tuple(int(n) for n in patch), []
    for stride in plan.strides:
        size = tuple(n // s for n, s in zip(size, per_axis(stride, len(size)), strict=True))
        sizes.append(size)
    return sizes


def per_axis(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    """A stride or a window of a `UNetPlan` as a number per axis."""
    return (value,) * rank if isinstance(value, int) else value
