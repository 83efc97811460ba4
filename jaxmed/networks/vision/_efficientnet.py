"""EfficientNet-Lite: inverted residual blocks without squeeze and excitation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import flax.linen as nn
from flax.linen.dtypes import promote_dtype

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._convolution import global_average, he_fan_out, spatial_rank
from jaxmed.networks.layers._norm import BatchNorm, make_norm

LITE_NORM = partial(cast("Callable[..., nn.Module]", BatchNorm), momentum=0.99, epsilon=1e-3)
"""The batch normalisation of the published weights."""

# (blocks, kernel, stride, expansion, channels) of each stage.
LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNet(nn.Module):
    """EfficientNet-Lite on images of any rank; the weights published for 2D inflate to 3D.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        stages: blocks, kernel, stride, expansion and channels of each stage.
        stem: channels of the first convolution.
        width: number of `features`.
        norm: normalisation, see :func:`make_norm`.
        dropout: dropout rate on the pooled features before the head.
        drop_path: drop probability of the last block; earlier blocks' increase linearly to it.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Tan and Le, EfficientNet, ICML 2019; the Lite variants of the TensorFlow TPU models omit
        squeeze and excitation and use ReLU6.
    """

    classes: int | None = None
    stages: tuple[tuple[int, int, int, int, int], ...] = LITE0
    stem: int = 32
    width: int = 1280
    norm: str | Callable[..., nn.Module] = LITE_NORM
    dropout: float = 0.2
    drop_path: float = 0.2
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (fine first) and `logits`."""
        spatial_rank(x)
        layer = partial(_layer, norm=self.norm, dtype=self.dtype)
        x = layer(self.stem, 3, 2, name="stem")(x, train)
        block = nn.remat(_Block, static_argnums=(2,)) if self.remat else _Block
        total, at, pyramid = sum(stage[0] for stage in self.stages), 0, []
        for blocks, kernel, stride, expansion, channels in self.stages:
            for i in range(blocks):
                step = stride if i == 0 else 1
                if step > 1:
                    pyramid.append(x)
                x = block(
                    channels,
                    kernel,
                    step,
                    expansion,
                    self.drop_path * at / total,
                    self.norm,
                    self.dtype,
                    name=f"block{at}",
                )(x, train)
                at += 1
        x = layer(self.width, 1, name="top")(x, train)
        endpoints = {"features": global_average(x), "pyramid": (*pyramid, x)}
        if self.classes is not None:
            head = ClassificationHead(self.classes, self.dropout, name="head")
            endpoints |= head(endpoints["features"], train=train)
        return endpoints


class _Layer(nn.Module):
    """Convolution, normalisation and, unless linear, ReLU6."""

    features: int
    kernel: int
    stride: int = 1
    depthwise: bool = False
    linear: bool = False
    norm: Any = LITE_NORM
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        rank, groups = x.ndim - 2, x.shape[-1] if self.depthwise else 1
        shape = (*(self.kernel,) * rank, x.shape[-1] // groups, self.features)
        kernel = self.param("kernel", he_fan_out, shape)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        # Not the symmetric padding of `Conv`: the published weights were trained with XLA's "SAME".
        x = ops.conv(x, kernel, stride=self.stride, padding="SAME", groups=groups)
        x = make_norm(self.norm, name="norm", dtype=self.dtype)(x, train=train)
        return x if self.linear else nn.relu6(x)


def _layer(*shape: Any, **options: Any) -> _Layer:
    return _Layer(*shape, **options)


class _Block(nn.Module):
    features: int
    kernel: int
    stride: int
    expansion: int
    drop_path: float
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        layer = partial(_layer, norm=self.norm, dtype=self.dtype)
        y, wide = x, x.shape[-1] * self.expansion
        if self.expansion > 1:
            y = layer(wide, 1, name="expand")(y, train)
        y = layer(wide, self.kernel, self.stride, depthwise=True, name="depthwise")(y, train)
        y = layer(self.features, 1, linear=True, name="project")(y, train)
        if x.shape != y.shape:
            return y
        each = tuple(range(1, x.ndim))  # the branch is dropped for whole examples
        y = nn.Dropout(self.drop_path, broadcast_dims=each, deterministic=not train)(y)
        return x + y


def efficientnet_lite0(classes: int | None = None, **options: Any) -> EfficientNet:
    """Create an EfficientNet-Lite0; see :class:`EfficientNet` for the options.

    Its ImageNet weights are loaded by :func:`imagenet_lite0`; they expect pixels as
    `(value - 127) / 128`, for values from 0 to 255.

    >>> import jax, jax.numpy as jnp
    >>> net = efficientnet_lite0(1000)
    >>> key, x = jax.random.key(0), jnp.ones((1, 64, 64, 3))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape, [m.shape[1:] for m in outputs["pyramid"]]
    ((1, 1000), [(32, 32, 16), (16, 16, 24), (8, 8, 40), (4, 4, 112), (2, 2, 1280)])
    """
    return EfficientNet(classes, **options)
