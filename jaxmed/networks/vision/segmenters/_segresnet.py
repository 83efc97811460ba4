"""SegResNet: pre-activated residual blocks, more of them going down than up."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import Conv, he_fan_in, spatial_rank
from jaxmed.networks.layers._norm import GroupNorm
from jaxmed.networks.vision.segmenters._blocks import cropped, segmented


class SegResNet(nn.Module):
    """SegResNet: residual blocks with group normalisation, linear upsampling, added skips.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        width: channels of the first stage; they double from stage to stage.
        depths: residual blocks of each encoder stage; each but the first begins with a strided
            convolution.
        decoder_depths: residual blocks of each decoder stage, one fewer, the coarsest first.
        groups: groups of the normalisation.
        dropout: dropout rate after the first convolution.
        dtype: dtype of the computation; parameters, `features` and logits are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018;
        without the autoencoder.
    """

    classes: int | None = None
    width: int = 8
    depths: tuple[int, ...] = (1, 2, 2, 4)
    decoder_depths: tuple[int, ...] = (1, 1, 1)
    groups: int = 8
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `logits`, `pyramid` (fine first) and `features`."""
        spatial_rank(x)
        stages = len(self.depths)
        if len(self.decoder_depths) != stages - 1:
            raise ValueError(
                "decoder_depths has one entry fewer than depths, got "
                f"{self.decoder_depths} and {self.depths}"
            )
        conv = partial(Conv, bias=False, dtype=self.dtype, kernel_init=he_fan_in)
        block = nn.remat(_Block) if self.remat else _Block
        x = conv(self.width, name="stem")(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        skips = []
        for i, depth in enumerate(self.depths, 1):
            if i > 1:
                x = conv(2 * x.shape[-1], 3, 2, name=f"down{i}")(x)
            for j in range(1, depth + 1):
                x = block(self.groups, self.dtype, name=f"encoder{i}_block{j}")(x)
            skips.append(x)
        pyramid = [x]
        for i, depth in zip(range(stages - 1, 0, -1), self.decoder_depths, strict=True):
            x = conv(x.shape[-1] // 2, 1, name=f"up{i}")(x)
            x = cropped(ops.upsample(x, 2), skips[i - 1]) + skips[i - 1]
            for j in range(1, depth + 1):
                x = block(self.groups, self.dtype, name=f"decoder{i}_block{j}")(x)
            pyramid.insert(0, x)
        norm = GroupNorm(self.groups, dtype=self.dtype, name="norm")
        pyramid[0] = nn.relu(norm(pyramid[0]))
        return segmented(pyramid, self.classes, self.dtype)


class _Block(nn.Module):
    """Two convolutions, each behind its normalisation and ReLU, added to what they are given."""

    groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = x
        for i in (1, 2):
            y = nn.relu(GroupNorm(self.groups, dtype=self.dtype, name=f"norm{i}")(y))
            y = Conv(
                x.shape[-1], bias=False, dtype=self.dtype, kernel_init=he_fan_in, name=f"conv{i}"
            )(y)
        return x + y
