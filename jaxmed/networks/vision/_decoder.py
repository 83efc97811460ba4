"""A small convolutional decoder from a feature map or vector to an image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import (
    Conv,
    ConvTranspose,
    at_least_float32,
    he_fan_in,
    torch_uniform,
)
from jaxmed.networks.layers._norm import make_norm


class Decoder(nn.Module):
    """Decoder that doubles the axes of a map until they reach the image's, then crops.

    Attributes:
        channels: channels of the image.
        shape: spatial shape of the image.
        width: channels of the first, coarsest stage; each doubling halves them, to no fewer than 8.
        norm: normalisation, see :func:`make_norm`.
        dtype: dtype of the computation; the image is at least float32.

    >>> import jax, jax.numpy as jnp
    >>> decoder, key = Decoder(1, (9, 12)), jax.random.key(0)
    >>> for x in jnp.ones((2, 3, 3, 16)), jnp.ones((2, 16)):
    ...     outputs, _ = jax.eval_shape(decoder.init_with_output, key, x)
    ...     print(outputs["logits"].shape)
    (2, 9, 12, 1)
    (2, 9, 12, 1)
    """

    channels: int
    shape: tuple[int, ...]
    width: int = 64
    norm: str | Callable[..., nn.Module] = "group"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *coarse, f)`, or vectors `(batch, f)`, to `logits` `(batch, *shape, c)`.

        Raises:
            ValueError: if the map's number of axes differs from the image's, or the map is larger.
        """
        rank, width = len(self.shape), self.width
        if x.ndim == 2:
            stages = max(0, math.ceil(math.log2(max(self.shape) / 4)))
            coarse = tuple(-(-n // 2**stages) for n in self.shape)
            x = nn.Dense(math.prod(coarse) * width, kernel_init=torch_uniform, name="grid")(x)
            x = nn.relu(x).reshape(-1, *coarse, width)
        if x.ndim != rank + 2 or any(a > b for a, b in zip(x.shape[1:-1], self.shape)):
            raise ValueError(f"no image of {self.shape} voxels is decoded from {x.shape}")
        step = 0
        while any(a < b for a, b in zip(x.shape[1:-1], self.shape)):
            step += 1
            strides = tuple(1 + (a < b) for a, b in zip(x.shape[1:-1], self.shape))
            x = ConvTranspose(width, strides, dtype=self.dtype, name=f"up{step}")(x)
            x = make_norm(self.norm, name=f"norm{step}", dtype=self.dtype)(x, train=train)
            x, width = nn.relu(x), max(width // 2, 8)
            x = x[(slice(None), *(slice(0, n) for n in self.shape))]
        x = Conv(self.channels, 3, dtype=self.dtype, kernel_init=he_fan_in, name="conv")(x)
        return {"logits": at_least_float32(x)}
