"""ConvNeXt: a convolutional network with the design of a transformer."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn

from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._attention import DropPath, FeedForward, growing
from jaxmed.networks.layers._convolution import (
    Conv,
    Patches,
    global_average,
    he_fan_in,
    spatial_rank,
)

_SIZES = {
    "T": (96, (3, 3, 9, 3)),
    "S": (96, (3, 3, 27, 3)),
    "B": (128, (3, 3, 27, 3)),
}
_LayerNorm = partial(nn.LayerNorm, epsilon=1e-6)


class ConvNeXt(nn.Module):
    """ConvNeXt for images of any rank: depthwise convolutions, layer normalisation, GELU.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        depths: blocks of each stage. Each stage except the first halves the axes and doubles the
            channels.
        width: channels of the first stage.
        kernel: edge of the depthwise convolutions, odd.
        patch: edge and stride of the first convolution.
        scale: initial scale of each block's branch.
        dropout: dropout rate on the pooled features before the head.
        drop_path: drop probability of the last block; earlier blocks' increase linearly to it.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Liu et al., A ConvNet for the 2020s, CVPR 2022.
    """

    classes: int | None = None
    depths: tuple[int, ...] = (3, 3, 9, 3)
    width: int = 96
    kernel: int = 7
    patch: int = 4
    scale: float = 1e-6
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (fine first) and `logits`."""
        spatial_rank(x)
        if min(x.shape[1:-1]) < self.patch * 2 ** (len(self.depths) - 1):
            raise ValueError(
                f"patches of {self.patch} voxels, halved {len(self.depths) - 1} times, leave "
                f"nothing of the image {x.shape}"
            )
        norm = partial(_LayerNorm, dtype=self.dtype)
        x = norm(name="stem_norm")(
            Patches(self.width, self.patch, dtype=self.dtype, name="stem")(x)
        )
        block = nn.remat(_Block, static_argnums=(2,)) if self.remat else _Block
        rates, at, pyramid = growing(self.drop_path, sum(self.depths)), 0, []
        for i, depth in enumerate(self.depths, 1):
            if i > 1:
                x = norm(name=f"down{i}_norm")(x)
                x = Patches(2 * x.shape[-1], 2, self.dtype, name=f"down{i}")(x)
            for j in range(1, depth + 1):
                name = f"stage{i}_block{j}"
                x = block(self.kernel, self.scale, rates(at), self.dtype, name=name)(x, train)
                at += 1
            pyramid.append(x)
        features = _LayerNorm(name="norm")(global_average(x))
        endpoints: Endpoints = {"features": features, "pyramid": tuple(pyramid)}
        if self.classes is not None:
            head = ClassificationHead(self.classes, self.dropout, name="head")
            endpoints |= head(features, train=train)
        return endpoints


class _Block(nn.Module):
    """Depthwise convolution, normalisation, an MLP at each voxel, scaled and added to the input."""

    kernel: int
    scale: float
    drop_path: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        channels = x.shape[-1]
        y = Conv(
            channels, self.kernel, groups=channels, dtype=self.dtype, kernel_init=he_fan_in,
            name="depthwise",
        )(x)  # fmt: skip
        y = _LayerNorm(dtype=self.dtype, name="norm")(y)
        y = FeedForward(4 * channels, dtype=self.dtype, name="mlp")(y, train)
        scale = self.param("scale", nn.initializers.constant(self.scale), (channels,))
        return x + DropPath(self.drop_path)(y * scale.astype(y.dtype), train)


def convnext(
    size: Literal["T", "S", "B"] = "T", classes: int | None = None, **options: Any
) -> ConvNeXt:
    """Create a ConvNeXt of a published size; see :class:`ConvNeXt` for the options.

    Args:
        size: T, S or B: 28.6, 50.2 and 88.6 million parameters in 2D with 1,000 classes.
        classes: number of logits; None for a trunk without a head.
        **options: further fields.

    >>> import jax, jax.numpy as jnp
    >>> net = convnext("T", 2, width=8)
    >>> key, x = jax.random.key(0), jnp.ones((1, 32, 64, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["features"].shape, [m.shape[1:3] for m in outputs["pyramid"]]
    ((1, 64), [(8, 16), (4, 8), (2, 4), (1, 2)])
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, got {size!r}")
    width, depths = _SIZES[size]
    return ConvNeXt(classes, **{"depths": depths, "width": width, **options})
