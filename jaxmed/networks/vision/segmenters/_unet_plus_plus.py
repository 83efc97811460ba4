"""UNet++: a decoder for every depth of the encoder, each node joined to all before it."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import SegmentationHead
from jaxmed.networks.layers._convolution import ConvTranspose, spatial_rank
from jaxmed.networks.vision.segmenters._blocks import PlainStage, segmented


class UNetPlusPlus(nn.Module):
    """UNet++: nested U-Nets that share an encoder.

    Node (i, j) convolves all nodes (i, 0) to (i, j - 1) and the enlarged node (i + 1, j - 1).

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        features: channels of each stage of the encoder, and of the nodes beside it.
        last: channels of the last, finest node; None: those of the first stage.
        norm: normalisation, see :func:`make_norm`.
        slope: negative slope of the leaky ReLU.
        dropout: rate of channel dropout after each convolution.
        deep_supervision: also predict from each smaller nested U-Net, in full resolution: the
            endpoint `deep`, the largest one's `logits` first.
        dtype: dtype of the computation; parameters, `features` and all logits are float32.
        remat: recompute each node in the backward pass, to save memory.

    References:
        Zhou et al., UNet++: a nested U-Net architecture for medical image segmentation, DLMIA 2018.
    """

    classes: int | None = None
    features: tuple[int, ...] = (32, 32, 64, 128, 256)
    last: int | None = None
    norm: Any = "instance"
    slope: float = 0.1
    dropout: float = 0.0
    deep_supervision: bool = False
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to named endpoints.

        Returns:
            `logits` `(batch, *spatial, classes)`; `deep`, with deep supervision; `pyramid`, the
            last node of each stage, finest first; `features`, the coarsest one's spatial mean.
        """
        rank, n = spatial_rank(x), len(self.features)
        make = nn.remat(PlainStage, static_argnums=(2,)) if self.remat else PlainStage
        convolved = partial(
            make, kernel=(3,) * rank, strides=(1,) * rank, depth=2, norm=self.norm, bias=True,
            dropout=self.dropout, slope=self.slope, dtype=self.dtype,
        )  # fmt: skip
        nodes: list[list[Array]] = []
        for i, width in enumerate(self.features):
            if i > 0:
                x = ops.max_pool(nodes[-1][0], (2,) * rank)
            nodes.append([convolved(width, name=f"node{i}_0")(x, train)])
        for j in range(1, n):
            for i in range(n - j):
                below = nodes[i + 1][j - 1]
                # The finest row keeps the channels of what it enlarges, as published.
                width = below.shape[-1] if i == 0 else below.shape[-1] // 2
                up = ConvTranspose(width, 2, dtype=self.dtype, name=f"up{i}_{j}")(below)
                joined = jnp.concatenate([*nodes[i], _extended(up, nodes[i][0])], axis=-1)
                final = self.last if (i, j) == (0, n - 1) else None
                node = convolved(final or self.features[i], name=f"node{i}_{j}")
                nodes[i].append(node(joined, train))
        pyramid = [row[-1] for row in nodes]
        endpoints = segmented(pyramid, self.classes, self.dtype)
        if self.classes is not None and self.deep_supervision:
            smaller = (
                SegmentationHead(self.classes, self.dtype, name=f"head{i}")(m)["logits"]
                for i, m in enumerate(nodes[0][-2:0:-1], 2)
            )
            endpoints["deep"] = (endpoints["logits"], *smaller)
        return endpoints


def _extended(x: Array, like: Array) -> Array:
    """Repeat the last voxels of axes that pooling rounded down."""
    pads = [(0, m - n) for n, m in zip(x.shape[1:-1], like.shape[1:-1], strict=True)]
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="edge") if any(map(max, pads)) else x
