"""Swin-UNETR: a transformer of shifted windows in the encoder, convolutions in the decoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._attention import LayerNorm, growing
from jaxmed.networks.layers._convolution import Patches, per_axis, spatial_rank
from jaxmed.networks.layers._windows import WindowBlock
from jaxmed.networks.vision.segmenters._blocks import segmented
from jaxmed.networks.vision.segmenters._unetr import PLAIN_INSTANCE, Enlarged, residual

Merging = Literal["by_distance", "by_axis", "repeated"]


class SwinUNETR(nn.Module):
    """Swin-UNETR: patches of two voxels, four stages of window attention, each halving the grid.

    The maps between the stages are skips of a convolutional decoder. An axis that does not halve is
    padded by zeros on the way down and cropped on the way up.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        width: channels of the patches' tokens and of the finest stage; they double from stage to
            stage.
        depths: blocks of each stage, every other one with shifted windows.
        heads: attention heads of each stage; must divide its width.
        window: edge of a window in tokens, an int or one per axis.
        mlp_ratio: hidden width of the blocks' MLP, as a multiple of the tokens'.
        bias: whether queries, keys and values have a bias.
        merging: the order in which the voxels of a block of 2, 4 or 8 are joined where the grid is
            halved; it matters in 3D and for given weights alone. `"by_distance"` from the first:
            MONAI's `"merging"` since 1.6; `"by_axis"`: its `"mergingv2"`; `"repeated"`: its
            `"merging"` of earlier versions, which joins two voxels twice and leaves out two others.
        convolved: whether each stage begins with a residual block of convolutions (version 2).
        norm: normalisation of the convolutions, see :func:`make_norm`.
        dropout: dropout rate in the transformer.
        drop_path: drop probability of the last block; earlier blocks' increase linearly to it.
        dtype: dtype of the computation; parameters, `features` and logits are float32.
        remat: recompute each window block in the backward pass, to save memory.

    References:
        Hatamizadeh et al., Swin UNETR: Swin transformers for semantic segmentation of brain tumors
        in MRI images, BrainLes 2021.
    """

    classes: int | None = None
    width: int = 24
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int | tuple[int, ...] = 7
    mlp_ratio: float = 4.0
    bias: bool = True
    merging: Merging = "by_distance"
    convolved: bool = False
    norm: str | Callable[..., nn.Module] = PLAIN_INSTANCE
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `logits`, `pyramid` (fine first) and `features`."""
        rank = spatial_rank(x)
        if len(self.depths) != len(self.heads):
            raise ValueError(f"depths and heads name the same stages: {self.depths}, {self.heads}")
        window = per_axis(self.window, rank, "window")
        stage = partial(residual, rank=rank, norm=self.norm, dtype=self.dtype)
        block = nn.remat(WindowBlock, static_argnums=(2,)) if self.remat else WindowBlock
        rates = growing(self.drop_path, sum(self.depths))
        plain = partial(
            LayerNorm, dtype=self.dtype, use_scale=False, use_bias=False
        )  # between the stages and the decoder

        images = x
        x = Patches(self.width, 2, self.dtype, name="patches")(_even(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        maps, at = [plain(name="plain0")(x)], 0
        for i, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True), 1):
            if self.convolved:
                x = residual(
                    x.shape[-1], rank=rank, norm=PLAIN_INSTANCE, dtype=self.dtype, name=f"before{i}"
                )(x, train)
            for j in range(1, depth + 1):
                x = block(
                    heads, window, j % 2 == 0, self.mlp_ratio, self.bias, self.dropout, rates(at),
                    self.dtype, name=f"stage{i}_block{j}",
                )(x, train)  # fmt: skip
                at += 1
            x = _Merge(self.merging, self.dtype, name=f"merge{i}")(x)
            maps.append(plain(name=f"plain{i}")(x))

        # The last but one map is a skip as it is, the last one becomes the bottleneck.
        skips = [stage(self.width, name="skip1")(images, train)]
        skips += [stage(m.shape[-1], name=f"skip{i}")(m, train) for i, m in enumerate(maps[:-2], 2)]
        skips.append(maps[-2])
        x = stage(maps[-1].shape[-1], name="bottleneck")(maps[-1], train)
        pyramid = [x]
        for level in range(len(skips), 0, -1):
            skip = skips[level - 1]
            x = Enlarged(skip.shape[-1], self.norm, self.dtype, name=f"decoder{level}")(
                x, skip, train
            )
            pyramid.insert(0, x)
        return segmented(pyramid, self.classes, self.dtype)


class _Merge(nn.Module):
    """Halve a grid: the voxels of a block are joined, normalised, and mixed to twice the width."""

    order: Merging
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width = x.shape[-1]
        x = _even(x)
        offsets = _offsets(self.order, x.ndim - 2)
        parts = [x[(slice(None), *(slice(o, None, 2) for o in each))] for each in offsets]
        x = LayerNorm(dtype=self.dtype, name="norm")(jnp.concatenate(parts, axis=-1))
        return nn.Dense(2 * width, use_bias=False, dtype=self.dtype, name="reduction")(x)


def _even(x: Array) -> Array:
    return jnp.pad(x, [(0, 0), *((0, n % 2) for n in x.shape[1:-1]), (0, 0)])


def _offsets(order: Merging, rank: int) -> list[tuple[int, ...]]:
    every = [*itertools.product(range(2), repeat=rank)]
    if order not in ("by_distance", "by_axis", "repeated"):
        raise ValueError(f"merging must be by_distance, by_axis or repeated, got {order!r}")
    if order == "by_axis" and rank == 3:
        return every
    if order == "repeated" and rank == 3:
        first = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
        return [*first, (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    return sorted(every, key=lambda o: (sum(o), [-i for i in o]))
