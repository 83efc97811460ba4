"""V-Net: 5-wide convolutions in residual stages, strided convolutions between them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import SegmentationHead
from jaxmed.networks.layers._convolution import Conv, ConvTranspose, he_fan_in, spatial_rank
from jaxmed.networks.layers._norm import BatchNorm
from jaxmed.networks.vision.segmenters._blocks import cropped, segmented


class VNet(nn.Module):
    """V-Net with batch normalisation and ELU.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        width: channels of the first stage; they double from stage to stage.
        depths: convolutions of each stage below the first.
        decoder_depths: convolutions of each stage of the decoder, the finest first.
        bias: whether the encoder's convolutions have a bias.
        dropout: rate of channel dropout: what the two coarsest stages of the encoder and of the
            decoder are given, and on all skips.
        dtype: dtype of the computation; parameters, `features` and logits are float32.
        remat: recompute each stage in the backward pass, to save memory.

    References:
        Milletari, Navab and Ahmadi, V-Net: fully convolutional neural networks for volumetric
        medical image segmentation, 3DV 2016.
    """

    classes: int | None = None
    width: int = 16
    depths: tuple[int, ...] = (1, 2, 3, 2)
    decoder_depths: tuple[int, ...] = (1, 1, 2, 2)
    bias: bool = False
    dropout: float = 0.5
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `logits`, `pyramid` (fine first) and `features`."""
        spatial_rank(x)
        n = len(self.depths)
        if len(self.decoder_depths) != n:
            raise ValueError(
                "depths and decoder_depths name the same stages, got "
                f"{self.depths} and {self.decoder_depths}"
            )
        down = nn.remat(_Down, static_argnums=(2,)) if self.remat else _Down
        up = nn.remat(_Up, static_argnums=(3,)) if self.remat else _Up
        layer = partial(_Layer, bias=self.bias, dtype=self.dtype)
        y = layer(self.width, name="stem")(x, train)
        copies = math.ceil(self.width / x.shape[-1])
        tiled = jnp.tile(x, (1,) * (x.ndim - 1) + (copies,))[..., : self.width]
        x = nn.elu(y + tiled.astype(y.dtype))
        skips = [x]
        for i, depth in enumerate(self.depths, 1):
            rate = self.dropout if i > n - 2 else 0.0
            x = down(self.width * 2**i, depth, rate, self.bias, self.dtype, name=f"down{i}")(
                x, train
            )
            skips.append(x)
        pyramid = [x]
        for i in range(n, 0, -1):
            rate = self.dropout if i > n - 2 else 0.0
            x = up(
                self.width * 2**i, self.decoder_depths[i - 1], rate, self.dropout, self.dtype,
                name=f"up{i}",
            )(x, skips[i - 1], train)  # fmt: skip
            pyramid.insert(0, x)
        endpoints = segmented(pyramid, None, self.dtype)
        if self.classes is not None:
            # Published with a 5-wide convolution to as many channels as classes before the last.
            y = nn.elu(layer(self.classes, name="head_layer")(x, train))
            endpoints |= SegmentationHead(self.classes, self.dtype, name="head1")(y)
        return endpoints


class _Layer(nn.Module):
    """5-wide convolution and batch normalisation."""

    features: int
    bias: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = Conv(
            self.features, 5, bias=self.bias, dtype=self.dtype, kernel_init=he_fan_in, name="conv"
        )
        return BatchNorm(dtype=self.dtype, name="norm")(conv(x), train=train)


def _layers(x: Array, depth: int, bias: bool, dtype: Any, train: bool) -> Array:
    y = x
    for i in range(1, depth + 1):
        y = nn.elu(_Layer(x.shape[-1], bias, dtype, name=f"layer{i}")(y, train))
    return y


def _dropped(x: Array, rate: float, train: bool) -> Array:
    spatial = tuple(range(1, x.ndim - 1))
    return nn.Dropout(rate, broadcast_dims=spatial, deterministic=not train)(x)


class _Down(nn.Module):
    features: int
    depth: int
    dropout: float
    bias: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = Conv(
            self.features,
            2,
            2,
            bias=self.bias,
            dtype=self.dtype,
            kernel_init=he_fan_in,
            name="conv",
        )(x)
        x = nn.elu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))
        y = _dropped(x, self.dropout, train)
        return nn.elu(x + _layers(y, self.depth, self.bias, self.dtype, train))


class _Up(nn.Module):
    features: int
    depth: int
    dropout: float
    skip_dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, skip: Array, train: bool) -> Array:
        x = _dropped(x, self.dropout, train)
        skip = _dropped(skip, self.skip_dropout, train)
        x = ConvTranspose(self.features // 2, 2, dtype=self.dtype, name="up")(x)
        x = nn.elu(BatchNorm(dtype=self.dtype, name="norm")(cropped(x, skip), train=train))
        x = jnp.concatenate([x, skip], axis=-1)
        return nn.elu(x + _layers(x, self.depth, False, self.dtype, train))
