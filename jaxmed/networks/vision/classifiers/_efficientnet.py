"""EfficientNets: inverted residual blocks, with squeeze and excitation or, Lite, without."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import flax.linen as nn
import jax.numpy as jnp
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


# Factors of channels and of blocks, and the dropout rate, of B0 to B4.
_SCALES = ((1.0, 1.0, 0.2), (1.0, 1.1, 0.2), (1.1, 1.2, 0.3), (1.2, 1.4, 0.3), (1.4, 1.8, 0.4))


class EfficientNet(nn.Module):
    """EfficientNet on images of any rank; the weights published for 2D inflate to 3D.

    As it stands it is the Lite variant, without squeeze and excitation; :func:`efficientnet`
    creates B0 to B4.

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
        squeeze: channels of the squeeze, as a fraction of the block's input; 0 for none: of each
            block's map, means over space decide by two dense layers how much of each channel
            passes.
        activation: `"relu6"` or `"swish"`.
        symmetric: whether strided convolutions are padded equally on both sides, as in networks
            published for torch, or as in those for TensorFlow.

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
    squeeze: float = 0.0
    activation: Literal["relu6", "swish"] = "relu6"
    symmetric: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (fine first) and `logits`."""
        spatial_rank(x)
        if self.activation not in ("relu6", "swish"):
            raise ValueError(f'activation must be "relu6" or "swish", got {self.activation!r}')
        style = (self.norm, self.dtype, self.activation, self.symmetric)
        layer = partial(_layer, style=style)
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
                    max(1, int(x.shape[-1] * self.squeeze)) if self.squeeze else 0,
                    style,
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
    """Convolution, normalisation and, unless linear, the activation."""

    features: int
    kernel: int
    style: tuple[Any, Any, str, bool]
    stride: int = 1
    depthwise: bool = False
    linear: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm, dtype, activation, symmetric = self.style
        rank, groups = x.ndim - 2, x.shape[-1] if self.depthwise else 1
        shape = (*(self.kernel,) * rank, x.shape[-1] // groups, self.features)
        kernel = self.param("kernel", he_fan_out, shape)
        x, kernel = promote_dtype(x, kernel, dtype=dtype)
        # Weights published for TensorFlow were trained with XLA's "SAME".
        padding = self.kernel // 2 if symmetric else "SAME"
        x = ops.conv(x, kernel, stride=self.stride, padding=padding, groups=groups)
        x = make_norm(norm, name="norm", dtype=dtype)(x, train=train)
        if self.linear:
            return x
        return nn.relu6(x) if activation == "relu6" else nn.swish(x)


def _layer(features: int, kernel: int, stride: int = 1, **options: Any) -> _Layer:
    return _Layer(features, kernel, stride=stride, **options)


class _Squeeze(nn.Module):
    """Scale each channel by what the means of all channels over space say of it."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dense = partial(nn.Dense, kernel_init=he_fan_out, dtype=self.dtype)
        y = nn.swish(dense(self.width, name="reduce")(global_average(x)))
        gate = nn.sigmoid(dense(x.shape[-1], name="expand")(y))
        return x * jnp.expand_dims(gate, range(1, x.ndim - 1)).astype(x.dtype)


class _Block(nn.Module):
    features: int
    kernel: int
    stride: int
    expansion: int
    drop_path: float
    squeeze: int
    style: tuple[Any, Any, str, bool]

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        layer = partial(_layer, style=self.style)
        y, wide = x, x.shape[-1] * self.expansion
        if self.expansion > 1:
            y = layer(wide, 1, name="expand")(y, train)
        y = layer(wide, self.kernel, self.stride, depthwise=True, name="depthwise")(y, train)
        if self.squeeze:
            y = _Squeeze(self.squeeze, self.style[1], name="squeeze")(y)
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


def efficientnet(
    size: Literal[0, 1, 2, 3, 4] = 0, classes: int | None = None, **options: Any
) -> EfficientNet:
    """Create an EfficientNet-B0 to B4; see :class:`EfficientNet` for the options.

    Args:
        size: 0 to 4: 5.3, 7.8, 9.1, 12.2 and 19.3 million parameters in 2D with 1,000 classes.
        classes: number of logits; None for a trunk without a head.
        **options: further fields.

    >>> import jax, jax.numpy as jnp
    >>> key, x = jax.random.key(0), jnp.ones((1, 64, 64, 1))
    >>> outputs, _ = jax.eval_shape(efficientnet(3, 2).init_with_output, key, x)
    >>> outputs["features"].shape, [m.shape[1:] for m in outputs["pyramid"]]
    ((1, 1536), [(32, 32, 24), (16, 16, 32), (8, 8, 48), (4, 4, 136), (2, 2, 1536)])
    """
    if size not in range(len(_SCALES)):
        raise ValueError(f"size must be 0 to {len(_SCALES) - 1}, got {size!r}")
    wider, deeper, dropout = _SCALES[size]
    stages = tuple(
        (math.ceil(blocks * deeper), *shape, _eighths(channels * wider))
        for blocks, *shape, channels in LITE0
    )
    chosen: dict[str, Any] = {
        "stages": stages, "stem": _eighths(32 * wider), "width": _eighths(1280 * wider),
        "norm": "batch", "dropout": dropout, "squeeze": 0.25, "activation": "swish",
        "symmetric": True,
    }  # fmt: skip
    return EfficientNet(classes, **{**chosen, **options})


def _eighths(channels: float) -> int:
    """Round to a multiple of 8, down by no more than a tenth."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
