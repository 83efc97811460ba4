"""UNETR: a vision transformer whose layers are the skips of a convolutional decoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._attention import LayerNorm, TransformerBlock
from jaxmed.networks.layers._convolution import ConvTranspose, Patches, spatial_rank
from jaxmed.networks.layers._norm import InstanceNorm
from jaxmed.networks.vision.segmenters._blocks import ResidualStage, cropped, segmented

PLAIN_INSTANCE = partial(cast("Callable[..., nn.Module]", InstanceNorm), affine=False)
"""The normalisation of the published networks, without scale and bias."""

_PATCH, _LEVELS = 16, 4


class UNETR(nn.Module):
    """UNETR: tokens of patches of 16 voxels; outputs of three inner blocks are enlarged to skips.

    Positions are learned, so that the network takes images of one size.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        width: channels of the decoder's finest stage; they double from stage to stage.
        hidden: width of the tokens, a multiple of `heads`.
        mlp: hidden width of the transformer's MLPs.
        heads: number of attention heads.
        depth: number of transformer blocks; the skips are taken after a quarter, half and three
            quarters of them.
        convolved: whether a skip is convolved each time it is enlarged.
        bias: whether queries, keys and values have a bias.
        norm: normalisation of the convolutions, see :func:`make_norm`.
        dropout: dropout rate in the transformer.
        dtype: dtype of the computation; parameters, `features` and logits are float32.
        remat: recompute each transformer block in the backward pass, to save memory.

    References:
        Hatamizadeh et al., UNETR: transformers for 3D medical image segmentation, WACV 2022.
    """

    classes: int | None = None
    width: int = 16
    hidden: int = 768
    mlp: int = 3072
    heads: int = 12
    depth: int = 12
    convolved: bool = True
    bias: bool = False
    norm: str | Callable[..., nn.Module] = PLAIN_INSTANCE
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `logits`, `pyramid` (fine first) and `features`."""
        rank = spatial_rank(x)
        if any(n % _PATCH for n in x.shape[1:-1]):
            raise ValueError(f"patches of {_PATCH} voxels do not divide the images {x.shape}")
        if self.depth < _LEVELS:
            raise ValueError(f"depth is at least {_LEVELS}, for the skips, got {self.depth}")
        images = x
        x = Patches(self.hidden, _PATCH, self.dtype, name="patches")(x)
        grid = x.shape[1:-1]
        n = math.prod(grid)
        at = self.param("positions", nn.initializers.truncated_normal(0.02), (1, n, self.hidden))
        x = x.reshape(x.shape[0], n, self.hidden)
        x = nn.Dropout(self.dropout, deterministic=not train)(x + at.astype(x.dtype))
        block = nn.remat(TransformerBlock, static_argnums=(2,)) if self.remat else TransformerBlock
        taps = [self.depth * i // _LEVELS for i in range(1, _LEVELS)]
        inner = []
        for i in range(self.depth):
            x = block(
                self.heads, self.mlp, self.bias, self.dropout, self.dtype, name=f"block{i + 1}"
            )(x, train)
            if i in taps:
                inner.append(x.reshape(-1, *grid, self.hidden))
        x = LayerNorm(dtype=self.dtype, name="norm")(x).reshape(-1, *grid, self.hidden)

        stage = partial(residual, rank=rank, norm=self.norm, dtype=self.dtype)
        skips = [stage(self.width, name="skip1")(images, train)]
        for level, skip in enumerate(inner, 2):
            width = self.width * 2 ** (level - 1)
            for i in range(_LEVELS - level, -1, -1):
                skip = ConvTranspose(
                    width, 2, bias=False, dtype=self.dtype, name=f"skip{level}_up{i + 1}"
                )(skip)
                first = i == _LEVELS - level
                if self.convolved and not first:
                    skip = stage(width, name=f"skip{level}_stage{i + 1}")(skip, train)
            skips.append(skip)
        pyramid = [x]
        for level in range(_LEVELS, 0, -1):
            width = self.width * 2 ** (level - 1)
            x = Enlarged(width, self.norm, self.dtype, name=f"decoder{level}")(
                x, skips[level - 1], train
            )
            pyramid.insert(0, x)
        return segmented(pyramid, self.classes, self.dtype)


def residual(width: int, *, rank: int, norm: Any, dtype: Any, name: str) -> ResidualStage:
    """Make one residual block of two 3-wide convolutions without bias."""
    ones = (1,) * rank
    return ResidualStage(width, (3,) * rank, ones, 1, norm, False, 0.0, 0.01, dtype, name=name)


class Enlarged(nn.Module):
    """A map twice as fine, joined to a skip: transposed convolution and a residual block."""

    width: int
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, skip: Array, train: bool) -> Array:
        """Enlarge `(batch, *coarse, f)` to the skip's axes."""
        x = ConvTranspose(self.width, 2, bias=False, dtype=self.dtype, name="up")(x)
        x = jnp.concatenate([cropped(x, skip), skip], axis=-1)
        stage = residual(
            self.width, rank=x.ndim - 2, norm=self.norm, dtype=self.dtype, name="stage"
        )
        return stage(x, train)
