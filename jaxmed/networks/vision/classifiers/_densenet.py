"""Densely connected networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._convolution import Conv, global_average, he_fan_in, spatial_rank
from jaxmed.networks.layers._norm import make_norm


class DenseNet(nn.Module):
    """DenseNet for images of any rank: each layer is given the outputs of all before it.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        depths: layers of each block. Between blocks the axes and the channels are halved.
        growth: channels that each layer adds.
        width: channels of the first convolution.
        bottleneck: channels within a layer, as a multiple of `growth`.
        norm: normalisation, see :func:`make_norm`.
        dropout: dropout rate after each layer.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each layer in the backward pass: of the memory, which grows with the square
            of a block's depth, most is saved.

    References:
        Huang et al., Densely connected convolutional networks, CVPR 2017.
    """

    classes: int | None = None
    depths: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    width: int = 64
    bottleneck: int = 4
    norm: str | Callable[..., nn.Module] = "batch"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (fine first) and `logits`."""
        rank = spatial_rank(x)
        if min(x.shape[1:-1]) < 2 ** (len(self.depths) + 1):
            raise ValueError(
                f"a DenseNet of {len(self.depths)} blocks halves each axis {len(self.depths) + 1} "
                f"times: the image {x.shape} has too few voxels"
            )
        conv = partial(Conv, bias=False, dtype=self.dtype, kernel_init=he_fan_in)
        norm = partial(make_norm, self.norm, dtype=self.dtype)
        x = conv(self.width, 7, 2, name="stem_conv")(x)
        x = nn.relu(norm(name="stem_norm")(x, train=train))
        x = ops.max_pool(x, (3,) * rank, stride=(2,) * rank, padding=((1, 1),) * rank)
        layer = nn.remat(_Layer, static_argnums=(2,)) if self.remat else _Layer
        pyramid = []
        for i, depth in enumerate(self.depths, 1):
            if i > 1:
                x = nn.relu(norm(name=f"transition{i - 1}_norm")(x, train=train))
                x = conv(x.shape[-1] // 2, 1, name=f"transition{i - 1}_conv")(x)
                x = ops.avg_pool(x, (2,) * rank)
            for j in range(1, depth + 1):
                new = layer(
                    self.growth, self.bottleneck, self.norm, self.dropout, self.dtype,
                    name=f"block{i}_layer{j}",
                )(x, train)  # fmt: skip
                x = jnp.concatenate([x, new], axis=-1)
            pyramid.append(x)
        pyramid[-1] = nn.relu(norm(name="norm")(x, train=train))
        endpoints: Endpoints = {
            "features": global_average(pyramid[-1]),
            "pyramid": tuple(pyramid),
        }
        if self.classes is not None:
            endpoints |= ClassificationHead(self.classes, name="head")(
                endpoints["features"], train=train
            )
        return endpoints


class _Layer(nn.Module):
    """Normalisation, ReLU and convolution, 1 wide and then 3 wide."""

    growth: int
    bottleneck: int
    norm: Any
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = partial(Conv, bias=False, dtype=self.dtype, kernel_init=he_fan_in)
        norm = partial(make_norm, self.norm, dtype=self.dtype)
        x = nn.relu(norm(name="norm1")(x, train=train))
        x = conv(self.bottleneck * self.growth, 1, name="conv1")(x)
        x = nn.relu(norm(name="norm2")(x, train=train))
        x = conv(self.growth, 3, name="conv2")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)


def densenet121(classes: int | None = None, **options: Any) -> DenseNet:
    """Create a DenseNet-121; see :class:`DenseNet` for the options.

    >>> import jax
    >>> net = densenet121(2, growth=4, width=8)
    >>> key, x = jax.random.key(0), jnp.ones((1, 32, 32, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape, [m.shape[1] for m in outputs["pyramid"]]
    ((1, 2), [8, 4, 2, 1])
    """
    return DenseNet(classes, (6, 12, 24, 16), **options)


def densenet169(classes: int | None = None, **options: Any) -> DenseNet:
    """Create a DenseNet-169; see :class:`DenseNet` for the options."""
    return DenseNet(classes, (6, 12, 32, 32), **options)


def densenet201(classes: int | None = None, **options: Any) -> DenseNet:
    """Create a DenseNet-201; see :class:`DenseNet` for the options."""
    return DenseNet(classes, (6, 12, 48, 32), **options)
