"""Attention within windows of a grid of tokens, shifted by half a window in every other block."""

from __future__ import annotations

import itertools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array
from jaxmed.networks.layers._attention import DropPath, FeedForward, LayerNorm, SelfAttention

# Added to the score of a token that is not seen, as published: its weight is 4e-44.
_UNSEEN = -100.0


class WindowBlock(nn.Module):
    """Block of a Swin transformer: attention in windows, an MLP, each added to its input.

    An axis that the window does not divide is padded by zeros at its end; one that is not longer
    than the window is one window, and not shifted.

    Attributes:
        heads: number of heads.
        window: edges of a window in tokens, one per axis.
        shifted: whether windows are shifted by half their edge, around the border.
        mlp_ratio: hidden width of the MLP, as a multiple of the tokens'.
        bias: whether queries, keys and values have a bias.
        dropout: dropout rate after attention and MLP.
        drop_path: probability with which each branch is left out for an example.
        dtype: dtype of the computation.

    References:
        Liu et al., Swin transformer: hierarchical vision transformer using shifted windows, ICCV
        2021.
    """

    heads: int
    window: tuple[int, ...]
    shifted: bool
    mlp_ratio: float = 4.0
    bias: bool = True
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map a grid of tokens `(batch, *grid, width)` to one."""
        grid = x.shape[1:-1]
        window = tuple(min(w, n) for w, n in zip(self.window, grid, strict=True))
        table = self.param(
            "positions", nn.initializers.truncated_normal(0.02),
            (math.prod(2 * w - 1 for w in self.window), self.heads),
        )  # fmt: skip
        n = math.prod(window)
        # Published networks read the table as if a clipped window were the first tokens of a whole
        # one, so that weights of theirs compute the same.
        at = jnp.asarray(relative_index(self.window)[:n, :n])
        offset = jnp.moveaxis(table[at], -1, 0)
        shift = tuple(
            w // 2 if self.shifted and length > w else 0
            for w, length in zip(self.window, grid, strict=True)
        )
        y = LayerNorm(dtype=self.dtype, name="norm1")(x)
        ends = [(0, -n % w) for n, w in zip(grid, window, strict=True)]
        y = jnp.pad(y, [(0, 0), *ends, (0, 0)])
        padded, axes = y.shape[1:-1], tuple(range(1, y.ndim - 1))
        if any(shift):
            y = jnp.roll(y, [-s for s in shift], axes)
            label = jax.lax.optimization_barrier(jnp.asarray(_regions(padded, window, shift)))
            apart = label[:, :, None] != label[:, None, :]
            offset = offset + jnp.where(apart, _UNSEEN, 0.0)[:, None]
        y = SelfAttention(self.heads, self.bias, self.dropout, self.dtype, name="attention")(
            partitioned(y, window), train, offset
        )
        y = _joined(y, window, padded)
        if any(shift):
            y = jnp.roll(y, shift, axes)
        y = y[(slice(None), *(slice(0, n) for n in grid))]
        x = x + DropPath(self.drop_path)(y, train)
        y = LayerNorm(dtype=self.dtype, name="norm2")(x)
        hidden = int(x.shape[-1] * self.mlp_ratio)
        y = FeedForward(hidden, self.dropout, self.dtype, name="mlp")(y, train)
        return x + DropPath(self.drop_path)(y, train)


def partitioned(x: Array, window: tuple[int, ...]) -> Array:
    """Cut a grid into windows: `(batch, *grid, c)` to `(batch, windows, tokens, c)`."""
    counts = [n // w for n, w in zip(x.shape[1:-1], window, strict=True)]
    split = x.reshape(x.shape[0], *itertools.chain(*zip(counts, window)), x.shape[-1])
    rank = len(window)
    odd, even = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2)
    x = split.transpose(0, *odd, *even, 2 * rank + 1)
    return x.reshape(x.shape[0], math.prod(counts), math.prod(window), x.shape[-1])


def _joined(x: Array, window: tuple[int, ...], grid: tuple[int, ...]) -> Array:
    """Put windows together again: the inverse of :func:`partitioned`."""
    counts = [n // w for n, w in zip(grid, window, strict=True)]
    rank = len(window)
    x = x.reshape(x.shape[0], *counts, *window, x.shape[-1])
    pairs = itertools.chain(*((1 + i, 1 + rank + i) for i in range(rank)))
    return x.transpose(0, *pairs, 2 * rank + 1).reshape(x.shape[0], *grid, x.shape[-1])


def relative_index(window: tuple[int, ...]) -> np.ndarray:
    """Number the place of each token of a window relative to each other, `(tokens, tokens)`.

    >>> relative_index((2,)).tolist()
    [[1, 0], [2, 1]]
    """
    places = np.stack(np.meshgrid(*map(np.arange, window), indexing="ij"), -1)
    places = places.reshape(-1, len(window))
    apart = places[:, None] - places[None] + np.asarray(window) - 1
    edges = [2 * w - 1 for w in window]
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(apart, -1, 0)), edges))


def _regions(grid: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> np.ndarray:
    """Number the parts of a shifted grid that were neighbours before, `(windows, tokens)`."""
    labels = np.zeros(grid, np.int32)
    for axis, (n, w, s) in enumerate(zip(grid, window, shift, strict=True)):
        part = (np.arange(n) >= n - w).astype(np.int32) + (np.arange(n) >= n - s) if s else None
        if part is not None:
            labels = 3 * labels + np.expand_dims(part, [a for a in range(len(grid)) if a != axis])
    return np.asarray(_windows_of(labels, window))


def _windows_of(labels: Any, window: tuple[int, ...]) -> np.ndarray:
    return np.asarray(partitioned(labels[None, ..., None], window))[0, ..., 0]
