"""Attention U-Net: a gate at each skip, opened by what the coarser stage has seen."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import Conv, ConvTranspose, he_fan_in, spatial_rank
from jaxmed.networks.layers._norm import BatchNorm, InstanceNorm
from jaxmed.networks.vision.segmenters._blocks import PlainStage, cropped, segmented


class AttentionUNet(nn.Module):
    r"""U-Net whose skips are multiplied, voxel by voxel, with a gate.

    .. math:: \alpha = \sigma(\psi(\mathrm{ReLU}(W_g g + W_x x)))

    for a skip :math:`x` and the enlarged map :math:`g`; each of the maps is batch-normalised.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        features: channels of each stage.
        strides: downsampling of each stage below the first.
        kernel: edge of the convolutions.
        up_kernel: edge of the transposed convolutions.
        dropout: rate of channel dropout in the encoder's convolutions.
        dtype: dtype of the computation; parameters, `features` and logits are float32.
        remat: recompute each encoder stage in the backward pass, to save memory.

    References:
        Oktay et al., Attention U-Net: learning where to look for the pancreas, MIDL 2018.
    """

    classes: int | None = None
    features: tuple[int, ...] = (32, 64, 128, 256)
    strides: tuple[int, ...] = (2, 2, 2)
    kernel: int = 3
    up_kernel: int = 3
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `logits`, `pyramid` (fine first) and `features`."""
        rank = spatial_rank(x)
        if len(self.strides) != len(self.features) - 1:
            raise ValueError(
                f"strides has one entry fewer than features, got {self.strides} and {self.features}"
            )
        make = nn.remat(PlainStage, static_argnums=(2,)) if self.remat else PlainStage
        skips = []
        for i, (width, stride) in enumerate(zip(self.features, (1, *self.strides)), 1):
            x = make(
                width, (self.kernel,) * rank, (stride,) * rank, 2, "batch", True, self.dropout, 0.0,
                self.dtype, name=f"encoder{i}",
            )(x, train)  # fmt: skip
            skips.append(x)
        pyramid = [skips.pop()]
        for i in range(len(skips), 0, -1):
            x = _Up(
                self.features[i - 1], self.strides[i - 1], self.up_kernel, self.dtype,
                name=f"decoder{i}",
            )(x, skips[i - 1], train)  # fmt: skip
            pyramid.insert(0, x)
        return segmented(pyramid, self.classes, self.dtype)


class _Up(nn.Module):
    features: int
    stride: int
    kernel: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, skip: Array, train: bool) -> Array:
        norm = partial(BatchNorm, dtype=self.dtype)
        conv = partial(Conv, dtype=self.dtype, kernel_init=he_fan_in)
        kernel = self.kernel if self.kernel > self.stride else None
        up = ConvTranspose(self.features, self.stride, dtype=self.dtype, kernel=kernel, name="up")
        x = nn.relu(norm(name="norm")(cropped(up(x), skip), train=train))

        gates = []
        for name, source in (("gate", x), ("skip", skip)):
            y = conv(self.features // 2, 1, name=f"{name}_conv")(source)
            gates.append(norm(name=f"{name}_norm")(y, train=train))
        y = conv(1, 1, name="psi_conv")(nn.relu(gates[0] + gates[1]))
        skip = skip * jax.nn.sigmoid(norm(name="psi_norm")(y, train=train))

        x = jnp.concatenate([skip, x], axis=-1)
        x = conv(self.features, 3, add_bias=False, name="merge")(x)
        x = InstanceNorm(dtype=self.dtype, affine=False, name="merge_norm")(x)
        slope = self.param("slope", nn.initializers.constant(0.25), (1,))
        return jnp.where(x > 0, x, x * slope.astype(x.dtype))
