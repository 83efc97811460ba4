"""Linen convolution layers built on `jaxmed.ops`, for any number of spatial axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jaxmed import ops
from jaxmed.core import Array, Key


def normal_flat(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Draw the values of `jax.random.normal(key, shape)` from a flat array.

    XLA's CPU compiler takes ten times as long for a random array of five axes as for a flat
    one, which made compiling a U-Net's `init` slower than compiling its training step.
    """
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


# He initialisations. The gain of two is that of ReLU; a leaky slope of 0.01 changes it by one part
# in ten thousand. Kernels are (*window, in, out).


def he_fan_out(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise from a normal of variance `2 / (window * out)`, as torchvision's ResNets do."""
    fan = math.prod(shape[:-2]) * shape[-1]
    return normal_flat(key, shape, dtype) * math.sqrt(2.0 / fan)


def he_fan_in(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise from a normal of variance `2 / (window * in)`, as nnU-Net does."""
    return normal_flat(key, shape, dtype) * math.sqrt(2.0 / math.prod(shape[:-1]))


def torch_uniform(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise uniformly within `1 / sqrt(window * in)`, the default of torch's layers."""
    bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound).reshape(shape)


def per_axis(value: int | tuple[int, ...], rank: int, name: str) -> tuple[int, ...]:
    """Return one value per spatial axis.

    >>> per_axis(2, 3, "strides")
    (2, 2, 2)
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank or any(v < 1 for v in values):
        raise ValueError(
            f"{name} must be a positive int or {rank} of them, one for each spatial axis "
            f"of the input, got {value!r}"
        )
    return values


def spatial_rank(x: Array) -> int:
    """Return the number of spatial axes of images `(batch, *spatial, channels)`: 1, 2 or 3."""
    if not 3 <= x.ndim <= 5:
        raise ValueError(
            "a convolutional network takes (batch, *spatial, channels) with one, two or three "
            f"spatial axes, got the shape {x.shape}"
        )
    return x.ndim - 2


class Conv(nn.Module):
    """Convolution padded by half the kernel on both sides.

    For odd kernels, an axis of n voxels becomes one of ceil(n / stride). The padding is symmetric,
    as in published networks; XLA's "SAME" pads strided convolutions asymmetrically.

    Attributes:
        features: output channels.
        kernel: window in voxels, an int or one per axis.
        strides: an int or one per axis.
        bias: whether a constant is added to each output channel.
        dtype: dtype of the computation; None: promoted from inputs and parameters.
        kernel_init: initialisation of the kernel `(*window, in, out)`.
        add_bias: False keeps the bias among the parameters but omits it from the computation, e.g.
            before instance normalisation, which removes every constant.
        groups: number of independent blocks of channels; as many as channels: depthwise.
    """

    features: int
    kernel: int | tuple[int, ...] = 3
    strides: int | tuple[int, ...] = 1
    bias: bool = True
    dtype: Any = None
    kernel_init: Callable = he_fan_out
    add_bias: bool = True
    groups: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Convolve `(batch, *spatial, in)` to `(batch, *smaller, features)`."""
        rank = spatial_rank(x)
        window = per_axis(self.kernel, rank, "kernel")
        strides = per_axis(self.strides, rank, "strides")
        shape = (*window, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        padding = [((k - 1) // 2, k // 2) for k in window]
        added = bias if self.add_bias else None
        return ops.conv(x, kernel, stride=strides, padding=padding, groups=self.groups, bias=added)


class Patches(nn.Module):
    """Convolution as wide as its stride: a vector of each patch; what is left over is cut off.

    Attributes:
        features: output channels.
        edge: edge of a patch in voxels, an int or one per axis.
        dtype: dtype of the computation; None: promoted from inputs and parameters.
    """

    features: int
    edge: int | tuple[int, ...]
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map `(batch, *spatial, in)` to `(batch, *patches, features)`."""
        edge = per_axis(self.edge, spatial_rank(x), "edge")
        kernel = self.param("kernel", he_fan_in, (*edge, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return ops.conv(x, kernel, stride=edge, padding="VALID", bias=bias)


class ConvTranspose(nn.Module):
    """Transposed convolution that enlarges each axis by its stride.

    With a kernel as large as the stride each voxel becomes a block; a larger, odd one lets the
    blocks overlap and is padded by half of it, as in published networks.

    Attributes:
        features: output channels.
        strides: upsampling factors, an int or one per axis.
        bias: whether a constant is added to each output channel.
        dtype: dtype of the computation; None: promoted from inputs and parameters.
        kernel: window in voxels, an int or one per axis; None: the strides.
    """

    features: int
    strides: int | tuple[int, ...] = 2
    bias: bool = True
    dtype: Any = None
    kernel: int | tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Upsample `(batch, *spatial, in)` to `(batch, *larger, features)`."""
        rank = spatial_rank(x)
        strides = per_axis(self.strides, rank, "strides")
        window = strides if self.kernel is None else per_axis(self.kernel, rank, "kernel")
        # Torch takes the fan-in of a transposed convolution over its window and *output*
        # channels, and the published U-Nets inherit that.
        kernel = self.param("kernel", he_fan_out, (*window, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        padding = [_spread(k, s) for k, s in zip(window, strides, strict=True)]
        y = ops.conv_transpose(x, kernel, stride=strides, padding=padding)
        return y if bias is None else y + bias


def _spread(window: int, stride: int) -> tuple[int, int]:
    """Padding of the spread input that makes `stride` voxels of each: torch's, not XLA's "SAME"."""
    if window < stride or (window > stride and window % 2 == 0):
        raise ValueError(
            "a transposed convolution has its stride for a kernel, or a larger odd one; got "
            f"{window} for the stride {stride}"
        )
    before = window // 2 if window > stride else stride - 1
    return before, stride - 1 + window - 1 - before


def global_average(x: Array) -> Array:
    """Average over the spatial axes, in at least float32: `(batch, channels)`."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)), dtype=dtype)


def at_least_float32(x: Array) -> Array:
    """Cast to at least float32, so that no loss is computed in half precision."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
