"""Selective state spaces as layers: sequences, and the voxels of images as sequences."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Key
from jaxmed.networks.layers._attention import LayerNorm
from jaxmed.networks.layers._convolution import torch_uniform


class Mamba(nn.Module):
    """Selective state space: what is kept of a sequence depends on what is read.

    Attributes:
        state: numbers of state of each channel.
        expansion: channels within, as a multiple of the input's.
        window: times of the causal depthwise convolution before.
        dtype: dtype of the computation; the recurrence is float32.

    References:
        Gu and Dao, Mamba: linear-time sequence modeling with selective state spaces, COLM 2024.
    """

    state: int = 16
    expansion: int = 2
    window: int = 4
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map `(batch, time, width)` to the same; a time sees itself and those before."""
        width = x.shape[-1]
        inner, rank = self.expansion * width, math.ceil(width / 16)
        dense = partial(nn.Dense, use_bias=False, kernel_init=torch_uniform, dtype=self.dtype)
        x, gate = jnp.split(dense(2 * inner, name="in")(x), 2, axis=-1)

        kernel = self.param("conv_kernel", torch_uniform, (self.window, 1, inner))
        bias = self.param("conv_bias", nn.initializers.zeros, (inner,))
        x = ops.conv(
            x, kernel.astype(x.dtype), padding=((self.window - 1, 0),), groups=inner,
            bias=bias.astype(x.dtype),
        )  # fmt: skip
        x = nn.silu(x)

        chosen = dense(rank + 2 * self.state, name="select")(x)
        step, into, out = jnp.split(chosen, (rank, rank + self.state), axis=-1)
        step = nn.Dense(
            inner, kernel_init=torch_uniform, bias_init=_steps, dtype=self.dtype, name="step"
        )(step)
        step = jax.nn.softplus(step.astype(jnp.promote_types(step.dtype, jnp.float32)))
        decay = self.param("log_decay", _logs, (inner, self.state))
        skip = self.param("skip", nn.initializers.ones, (inner,))
        y = ops.selective_scan(x, step, -jnp.exp(decay), into, out) + x * skip
        return dense(width, name="out")(y.astype(x.dtype) * nn.silu(gate))


class VoxelMamba(nn.Module):
    """Selective state spaces over all voxels, row by row and backwards, added to the map.

    Attributes:
        state: numbers of state of each channel.
        expansion: channels within, as a multiple of the map's.
        dtype: dtype of the computation.
    """

    state: int = 16
    expansion: int = 2
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map `(batch, *spatial, width)` to the same."""
        y = LayerNorm(dtype=self.dtype, name="norm")(x).reshape(x.shape[0], -1, x.shape[-1])
        make = partial(Mamba, self.state, self.expansion, dtype=self.dtype)
        y = make(name="forwards")(y) + make(name="backwards")(y[:, ::-1])[:, ::-1]
        return x + y.reshape(x.shape)


def _logs(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise decays 1 to n, the same of each channel."""
    del key
    return jnp.broadcast_to(jnp.log(jnp.arange(1, shape[1] + 1, dtype=dtype)), shape)


def _steps(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise so that steps, behind the softplus, are from .001 to .1, evenly by logarithm."""
    low, high = math.log(1e-3), math.log(1e-1)
    step = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
    return step + jnp.log(-jnp.expm1(-step))
