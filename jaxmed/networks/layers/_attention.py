"""Layers of transformers as published with fused projections, exact GELU and stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.networks.layers._convolution import at_least_float32

# Torch's: Flax has 1e-6.
LayerNorm = partial(nn.LayerNorm, epsilon=1e-5)
_dense_init = nn.initializers.truncated_normal(0.02)


class SelfAttention(nn.Module):
    """Multi-head self-attention of tokens, queries, keys and values by one projection.

    Attributes:
        heads: number of heads; must divide the width.
        bias: whether that projection has a bias.
        dropout: dropout rate of the output.
        dtype: dtype of the computation; scores and their softmax are float32.
    """

    heads: int
    bias: bool = True
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False, offset: Array | None = None) -> Array:
        """Map tokens `(..., n, width)` to tokens.

        Args:
            x: tokens.
            train: whether dropout is active.
            offset: added to the scores, broadcast to `(..., heads, n, n)`: relative positions,
                or a large negative number where a token does not see another.
        """
        width = x.shape[-1]
        if width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {width}")
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=_dense_init)
        y = dense(3 * width, use_bias=self.bias, name="qkv")(x)
        y = y.reshape(*x.shape[:-1], 3, self.heads, width // self.heads)
        q, k, v = (jnp.moveaxis(y[..., i, :, :], -2, -3) for i in range(3))
        scores = at_least_float32(q @ k.swapaxes(-1, -2)) * (width // self.heads) ** -0.5
        if offset is not None:
            scores = scores + offset
        y = jax.nn.softmax(scores).astype(v.dtype) @ v
        y = jnp.moveaxis(y, -3, -2).reshape(x.shape)
        y = dense(width, name="out")(y)
        return nn.Dropout(self.dropout, deterministic=not train)(y)


class FeedForward(nn.Module):
    """Two dense layers and an exact GELU between them.

    Attributes:
        hidden: width between the layers.
        dropout: dropout rate after each.
        dtype: dtype of the computation.
    """

    hidden: int
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map `(..., width)` to `(..., width)`."""
        drop = nn.Dropout(self.dropout, deterministic=not train)
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=_dense_init)
        y = drop(jax.nn.gelu(dense(self.hidden, name="linear1")(x), approximate=False))
        return drop(dense(x.shape[-1], name="linear2")(y))


class TransformerBlock(nn.Module):
    """Pre-normalised attention and MLP, each added to what it is given.

    Attributes:
        heads: number of heads.
        hidden: width of the MLP.
        bias: whether queries, keys and values have a bias.
        dropout: dropout rate in both.
        dtype: dtype of the computation.
    """

    heads: int
    hidden: int
    bias: bool = True
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map tokens `(..., n, width)` to tokens."""
        y = LayerNorm(dtype=self.dtype, name="norm1")(x)
        x = x + SelfAttention(self.heads, self.bias, self.dropout, self.dtype, name="attention")(
            y, train
        )
        y = LayerNorm(dtype=self.dtype, name="norm2")(x)
        return x + FeedForward(self.hidden, self.dropout, self.dtype, name="mlp")(y, train)


class DropPath(nn.Module):
    """Stochastic depth: in training, a branch is left out for whole examples.

    Attributes:
        rate: probability of that; the examples kept are scaled to the same mean.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Drop rows of `(batch, ...)`."""
        each = tuple(range(1, x.ndim))
        return nn.Dropout(self.rate, broadcast_dims=each, deterministic=not train)(x)


def growing(rate: float, blocks: int) -> Callable[[int], float]:
    """Return the drop rate of each of some blocks: 0 at the first, `rate` at the last.

    >>> [growing(0.2, 3)(i) for i in range(3)]
    [0.0, 0.1, 0.2]
    """
    return lambda i: rate * i / max(blocks - 1, 1)
