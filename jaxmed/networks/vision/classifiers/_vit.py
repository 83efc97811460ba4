"""Vision transformer for images and volumes, and the decoder of a masked autoencoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jaxmed import ops
from jaxmed.core import Array, Endpoints, Key
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._convolution import (
    at_least_float32,
    normal_flat,
    per_axis,
    spatial_rank,
)
from jaxmed.networks.layers._positions import sincos_positions


class ViT(nn.Module):
    """Vision transformer: patches as tokens, pre-normalised blocks of attention and MLP.

    With fixed positions, the same weights work for images of any size, including the crops of
    multi-crop training; learned positions are tied to one size.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        patch: edge of a patch in voxels, an int or one per axis; must divide the image.
        width: width of the tokens, a multiple of `heads`.
        depth: number of blocks.
        heads: number of attention heads.
        mlp_ratio: hidden width of the blocks' MLP, as a multiple of `width`.
        positions: `"sincos"` (fixed) or `"learned"`.
        pool: `features` are the class `"token"` or the `"mean"` of all patches.
        dropout: dropout rate after attention and MLP, and on the features before the head.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021. The fixed positions: Chen, Xie
        and He, An empirical study of training self-supervised vision transformers, ICCV 2021.
    """

    classes: int | None = None
    patch: int | tuple[int, ...] = 16
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    positions: Literal["sincos", "learned"] = "sincos"
    pool: Literal["token", "mean"] = "token"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array | Mapping[str, Array], *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to named endpoints.

        Args:
            x: images; or `{"image": images, "visible": (batch, k) integers}`, to process only the
                patches with these row-major indices, as the encoder of a masked autoencoder.
            train: whether dropout is active.

        Returns:
            `features` `(batch, width)`; `tokens` `(batch, patches, width)` of the processed
            patches; `pyramid`, the tokens as one map `(batch, *grid, width)`, unless some patches
            were left out; `logits`.

        Raises:
            ValueError: if the patch does not divide the image, `heads` does not divide the width,
                or an option is unknown.
        """
        images, visible = (x["image"], x.get("visible")) if isinstance(x, Mapping) else (x, None)
        if self.positions not in ("sincos", "learned") or self.pool not in ("token", "mean"):
            raise ValueError(
                'positions must be "sincos" or "learned" and pool "token" or "mean", got '
                f"{self.positions!r} and {self.pool!r}"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        patch = per_axis(self.patch, spatial_rank(images), "patch")
        if any(n % p for n, p in zip(images.shape[1:-1], patch, strict=True)):
            raise ValueError(f"patches of {patch} voxels do not divide the images {images.shape}")

        kernel = self.param("patch_kernel", _patch_init, (*patch, images.shape[-1], self.width))
        bias = self.param("patch_bias", nn.initializers.zeros, (self.width,))
        y, kernel, bias = promote_dtype(images, kernel, bias, dtype=self.dtype)
        y = ops.conv(y, kernel, stride=patch, padding="VALID") + bias
        grid = y.shape[1:-1]
        y = y.reshape(y.shape[0], -1, self.width)
        if self.positions == "learned":
            at = self.param("positions", nn.initializers.normal(0.02), (y.shape[1], self.width))
        else:
            at = jnp.asarray(sincos_positions(grid, self.width))
        y = y + at.astype(y.dtype)
        if visible is not None:
            y = jnp.take_along_axis(y, visible[..., None], axis=1)
        first = int(self.pool == "token")
        if first:
            token = self.param("token", nn.initializers.normal(0.02), (1, 1, self.width))
            token = jnp.broadcast_to(token.astype(y.dtype), (y.shape[0], 1, self.width))
            y = jnp.concatenate([token, y], axis=1)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        hidden = int(self.width * self.mlp_ratio)
        for i in range(1, self.depth + 1):
            y = block(self.heads, hidden, self.dropout, self.dtype, name=f"block{i}")(y, train)
        y = nn.LayerNorm(dtype=self.dtype, name="norm")(y)
        tokens = y[:, first:]
        pooled = at_least_float32(y[:, 0]) if first else at_least_float32(tokens).mean(1)
        endpoints: Endpoints = {"features": pooled, "tokens": tokens}
        if visible is None:
            endpoints["pyramid"] = (tokens.reshape(-1, *grid, self.width),)
        if self.classes is not None:
            head = ClassificationHead(self.classes, self.dropout, name="head")
            endpoints |= head(pooled, train=train)
        return endpoints


class Block(nn.Module):
    """A pre-normalised transformer block.

    Attributes:
        heads: number of attention heads.
        hidden: width of the MLP's hidden layer.
        dropout: dropout rate after attention and after the MLP.
        dtype: dtype of the computation.
    """

    heads: int
    hidden: int
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map tokens `(batch, n, width)` to tokens."""
        drop = nn.Dropout(self.dropout, deterministic=not train)
        y = nn.LayerNorm(dtype=self.dtype, name="norm1")(x)
        attention = nn.MultiHeadDotProductAttention(
            self.heads, dtype=self.dtype, kernel_init=_dense_init, name="attention"
        )
        x = x + drop(attention(y))
        y = nn.LayerNorm(dtype=self.dtype, name="norm2")(x)
        y = nn.Dense(self.hidden, dtype=self.dtype, kernel_init=_dense_init, name="mlp1")(y)
        y = nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=_dense_init, name="mlp2")(
            jax.nn.gelu(y)
        )
        return x + drop(y)


class TokenDecoder(nn.Module):
    """Decoder of a masked autoencoder, which reconstructs the hidden patches.

    Attributes:
        grid: patches along each axis.
        outputs: number of outputs per patch: its voxels times its channels.
        width: width of the decoder's tokens, a multiple of `heads`.
        depth: number of blocks.
        heads: number of attention heads.
        dtype: dtype of the computation; the output is float32.

    References:
        He et al., Masked autoencoders are scalable vision learners, CVPR 2022.
    """

    grid: tuple[int, ...]
    outputs: int
    width: int = 96
    depth: int = 2
    heads: int = 3
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Mapping[str, Array], *, train: bool = False) -> Endpoints:
        """Map visible tokens to all patches.

        Args:
            x: `tokens` `(batch, k, any width)`, and `restore` `(batch, patches)`: the position of
                each patch in the list of the k visible and then the hidden ones.
            train: unused; part of the common signature.

        Returns:
            `logits` `(batch, patches, outputs)`.
        """
        tokens, restore = x["tokens"], x["restore"]
        y = nn.Dense(self.width, dtype=self.dtype, kernel_init=_dense_init, name="embed")(tokens)
        hidden = self.param("hidden", nn.initializers.normal(0.02), (1, 1, self.width))
        missing = (y.shape[0], restore.shape[1] - y.shape[1], self.width)
        y = jnp.concatenate([y, jnp.broadcast_to(hidden.astype(y.dtype), missing)], axis=1)
        y = jnp.take_along_axis(y, restore[..., None], axis=1)
        y = y + jnp.asarray(sincos_positions(self.grid, self.width)).astype(y.dtype)
        for i in range(1, self.depth + 1):
            y = Block(self.heads, 4 * self.width, dtype=self.dtype, name=f"block{i}")(y, train)
        y = nn.LayerNorm(dtype=self.dtype, name="norm")(y)
        y = nn.Dense(self.outputs, dtype=self.dtype, kernel_init=_dense_init, name="linear")(y)
        return {"logits": at_least_float32(y)}


def vit(classes: int | None = None, **options: Any) -> ViT:
    """Create a vision transformer, by default ViT-Ti/16; see :class:`ViT` for the options.

    >>> net = vit(2, patch=4, width=12, depth=1)
    >>> key, x = jax.random.key(0), jnp.ones((1, 8, 8, 8, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["features"].shape, outputs["tokens"].shape, outputs["pyramid"][0].shape
    ((1, 12), (1, 8, 12), (1, 2, 2, 2, 12))
    """
    return ViT(classes, **options)


def _patch_init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise from a normal of variance `1 / (voxels * channels)`, as for a dense layer."""
    return normal_flat(key, shape, dtype) / math.sqrt(math.prod(shape[:-1]))


_dense_init = nn.initializers.xavier_uniform()
