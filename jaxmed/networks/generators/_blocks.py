"""What generators and codecs are built of: residual blocks under a condition, halving, doubling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxmed import ops
from jaxmed.core import Array
from jaxmed.networks.layers._convolution import Conv, he_fan_in
from jaxmed.networks.layers._norm import make_norm


def halved_shapes(shape: tuple[int, ...], times: int) -> list[tuple[int, ...]]:
    """A spatial shape and what is left of it each time its axes are halved, rounded up.

    >>> halved_shapes((28, 9), 2)
    [(28, 9), (14, 5), (7, 3)]
    """
    shapes = [tuple(shape)]
    for _ in range(times):
        shapes.append(tuple(-(-n // 2) for n in shapes[-1]))
    return shapes


def doubled(x: Array, shape: tuple[int, ...]) -> Array:
    """Repeat each voxel along each axis, and crop to `shape`."""
    x = ops.upsample(x, 2, method="nearest")
    return x[(slice(None), *(slice(0, n) for n in shape))]


class FiLM(nn.Module):
    """A scale and a shift for each channel, from a vector; neither at the start.

    Attributes:
        dtype: dtype of the computation.

    References:
        Perez et al., FiLM: visual reasoning with a general conditioning layer, AAAI 2018.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, vector: Array | None) -> Array:
        """Scale and shift `(batch, *spatial, channels)` by `(batch, width)`; None changes none."""
        if vector is None:
            return x
        both = nn.Dense(
            2 * x.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype, name="linear"
        )(vector)
        both = both.reshape(x.shape[0], *[1] * (x.ndim - 2), -1).astype(x.dtype)
        scale, shift = both[..., : x.shape[-1]], both[..., x.shape[-1] :]
        return x * (1 + scale) + shift


class ConditionedBlock(nn.Module):
    """Residual block: twice norm, condition, SiLU and convolution.

    Attributes:
        width: output channels.
        norm: normalisation, see :func:`make_norm`.
        dropout: rate before the second convolution.
        dtype: dtype of the computation.
    """

    width: int
    norm: str | Callable[..., nn.Module] = "group"
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, vector: Array | None, train: bool) -> Array:
        """Map `(batch, *spatial, in)` to `(batch, *spatial, width)`."""
        y = x
        for i in (1, 2):
            y = make_norm(self.norm, name=f"norm{i}", dtype=self.dtype)(y, train=train)
            y = nn.silu(FiLM(self.dtype, name=f"film{i}")(y, vector))
            if i == 2:
                y = nn.Dropout(self.dropout, deterministic=not train)(y)
            y = Conv(self.width, dtype=self.dtype, kernel_init=he_fan_in, name=f"conv{i}")(y)
        if x.shape[-1] != self.width:
            shortcut = Conv(self.width, 1, dtype=self.dtype, kernel_init=he_fan_in, name="shortcut")
            x = shortcut(x)
        return (x.astype(y.dtype) + y) * 0.5**0.5


class ImageEncoder(nn.Module):
    """From an image to one map at each scale: blocks, with axes halved in between.

    Attributes:
        features: channels at each scale, finest first.
        blocks: residual blocks at each scale.
        norm: normalisation, see :func:`make_norm`.
        dropout: rate in each block.
        dtype: dtype of the computation.
        remat: recompute each block in the backward pass, to save memory.
    """

    features: tuple[int, ...]
    blocks: int = 1
    norm: str | Callable[..., nn.Module] = "group"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, vector: Array | None, train: bool) -> tuple[Array, ...]:
        """Map `(batch, *spatial, channels)` to maps, finest first."""
        block = nn.remat(ConditionedBlock, static_argnums=(3,)) if self.remat else ConditionedBlock
        x = Conv(self.features[0], dtype=self.dtype, kernel_init=he_fan_in, name="stem")(x)
        maps = []
        for i, width in enumerate(self.features):
            if i > 0:
                x = Conv(
                    width, 3, 2, dtype=self.dtype, kernel_init=he_fan_in, name=f"down{i}"
                )(x)  # fmt: skip
            for j in range(self.blocks):
                name = f"scale{i + 1}_block{j + 1}"
                x = block(width, self.norm, self.dropout, self.dtype, name=name)(x, vector, train)
            maps.append(x)
        return tuple(maps)


class ImageDecoder(nn.Module):
    """From a coarse map to an image: blocks, with axes doubled in between.

    Attributes:
        shape: spatial shape of the image.
        channels: channels of the image.
        features: channels at each scale, finest first.
        blocks: residual blocks at each scale.
        norm: normalisation, see :func:`make_norm`.
        dropout: rate in each block.
        dtype: dtype of the computation; the image is float32.
        remat: recompute each block in the backward pass, to save memory.
    """

    shape: tuple[int, ...]
    channels: int
    features: tuple[int, ...]
    blocks: int = 1
    norm: str | Callable[..., nn.Module] = "group"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, vector: Array | None, train: bool) -> Array:
        """Map `(batch, *coarse, features)` to `(batch, *shape, channels)`."""
        block = nn.remat(ConditionedBlock, static_argnums=(3,)) if self.remat else ConditionedBlock
        shapes = halved_shapes(self.shape, len(self.features) - 1)
        for i in reversed(range(len(self.features))):
            if i < len(self.features) - 1:
                x = doubled(x, shapes[i])
            for j in range(self.blocks):
                name = f"scale{i + 1}_block{j + 1}"
                x = block(self.features[i], self.norm, self.dropout, self.dtype, name=name)(
                    x, vector, train
                )
        return ImageHead(self.channels, self.norm, self.dtype, name="head")(x, train)


class ImageHead(nn.Module):
    """The last layer of a generator: norm, SiLU and a convolution to the image's channels.

    Attributes:
        channels: channels of the image.
        norm: normalisation, see :func:`make_norm`.
        dtype: dtype of the computation; the image is at least float32.
    """

    channels: int
    norm: str | Callable[..., nn.Module] = "group"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Map `(batch, *spatial, features)` to `(batch, *spatial, channels)`."""
        x = nn.silu(make_norm(self.norm, name="norm", dtype=self.dtype)(x, train=train))
        x = Conv(self.channels, dtype=self.dtype, kernel_init=he_fan_in, name="conv")(x)
        return x.astype(jax.numpy.promote_types(x.dtype, jax.numpy.float32))
