"""Stages that several encoders and decoders are made of, and the endpoints of all."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import SegmentationHead
from jaxmed.networks.layers._convolution import Conv, global_average, he_fan_in
from jaxmed.networks.layers._norm import make_norm


class ConvNorm(nn.Module):
    """Convolution, channel dropout, normalisation and an optional activation."""

    features: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    norm: Any
    bias: bool
    dropout: float
    slope: float
    dtype: Any
    activate: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = Conv(
            self.features,
            self.kernel,
            self.strides,
            bias=self.bias,
            dtype=self.dtype,
            kernel_init=he_fan_in,
            add_bias=self.norm != "instance",
            name="conv",
        )(x)
        if self.dropout > 0:
            spatial = tuple(range(1, x.ndim - 1))
            x = nn.Dropout(self.dropout, broadcast_dims=spatial, deterministic=not train)(x)
        x = make_norm(self.norm, name="norm", dtype=self.dtype)(x, train=train)
        return jax.nn.leaky_relu(x, self.slope) if self.activate else x


class _Stage(nn.Module):
    """What a sequence of convolutions or blocks is made of."""

    features: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    depth: int
    norm: Any
    bias: bool
    dropout: float
    slope: float
    dtype: Any


class PlainStage(_Stage):
    """Sequence of convolutions, the first one strided."""

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        options = (self.norm, self.bias, self.dropout, self.slope, self.dtype)
        for i in range(1, self.depth + 1):
            strides = self.strides if i == 1 else (1,) * len(self.strides)
            x = ConvNorm(self.features, self.kernel, strides, *options, name=f"layer{i}")(x, train)
        return x


class ResidualStage(_Stage):
    """Sequence of residual blocks of two convolutions, the first block strided."""

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        options = (self.norm, self.bias, self.dropout, self.slope, self.dtype)
        ones = (1,) * len(self.strides)
        for i in range(1, self.depth + 1):
            strides = self.strides if i == 1 else ones
            name = f"block{i}"
            y = ConvNorm(self.features, self.kernel, strides, *options, name=f"{name}_layer1")(
                x, train
            )
            y = ConvNorm(
                self.features, self.kernel, ones, *options, activate=False, name=f"{name}_layer2"
            )(y, train)
            if max(strides) > 1:
                # Averaging before the 1x1 convolution: a strided one would drop most voxels.
                pads = [(0, -n % s) for n, s in zip(x.shape[1:-1], strides, strict=True)]
                x = jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge") if any(map(max, pads)) else x
                x = ops.avg_pool(x, strides)
            if x.shape[-1] != self.features:
                x = ConvNorm(
                    self.features, ones, ones, self.norm, False, 0.0, self.slope, self.dtype,
                    activate=False, name=f"{name}_shortcut",
                )(x, train)  # fmt: skip
            x = jax.nn.leaky_relu(x + y, self.slope)
        return x


def cropped(x: Array, like: Array) -> Array:
    """Crop a map to the axes of another: what was rounded up on the way down."""
    return x[(slice(None), *(slice(0, n) for n in like.shape[1:-1]))]


def segmented(
    pyramid: list[Array], classes: int | None, dtype: Any, *, deep: int | None = None
) -> Endpoints:
    """Return the endpoints of a segmenter; called within its `__call__`, whose heads it makes.

    Args:
        pyramid: the decoder's maps, finest first, the bottleneck last.
        classes: number of logits at each voxel; None for no heads.
        dtype: dtype of the heads' computation.
        deep: number of maps that are predicted from for deep supervision; None for the finest
            alone, without the endpoint `deep`.
    """
    endpoints: Endpoints = {"features": global_average(pyramid[-1]), "pyramid": tuple(pyramid)}
    if classes is not None:
        answers = tuple(
            SegmentationHead(classes, dtype, name=f"head{i}")(m)["logits"]
            for i, m in enumerate(pyramid[: deep or 1], 1)
        )
        endpoints["logits"] = answers[0]
        if deep is not None:
            endpoints["deep"] = answers
    return endpoints
