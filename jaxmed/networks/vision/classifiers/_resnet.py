"""Residual networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._convolution import Conv, global_average, he_fan_out, spatial_rank
from jaxmed.networks.layers._norm import make_norm

# Kernel, stride and whether a max pooling follows.
_STEMS: dict[str, tuple[Any, Any, bool]] = {
    "small": (3, 1, False),
    "standard": (7, 2, True),
    "dense": (7, 1, True),
    "video": ((3, 7, 7), (1, 2, 2), False),
}


class ResNet(nn.Module):
    """Residual network of basic or bottleneck blocks for images of any rank.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        depths: blocks of each stage. Each stage except the first halves the axes and doubles
            the channels.
        block: `"basic"` (two 3-wide convolutions) or `"bottleneck"` (1, 3 and 1 wide, stride in
            the middle one, four times as many output channels).
        stem: `"small"`: one 3-wide convolution, for images of 28 or 32 voxels. `"standard"`: a
            7-wide convolution with stride two and a max pooling. `"dense"`: the same with stride
            one, MONAI's. `"video"`: a convolution 3 wide along the first of three axes and 7 along
            the others, which it halves, as torchvision's for clips.
        width: channels of the stem and the first stage.
        norm: normalisation, see :func:`make_norm`.
        kernel_init: initialisation of the convolutions: `he_fan_out`, as in torchvision, or another
            `(key, shape, dtype) -> array`.
        zero_init: initialise the last scale of each block to zero, so that it is the identity.
        dropout: dropout rate on the pooled features before the head.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each block in the backward pass, to save memory.
        shortcut: where a block changes the shape, `"projection"`: a 1-wide convolution and a
            normalisation; `"biased"`: the same with a bias, as in MONAI; `"padding"`: every other
            voxel, and zeros for the new channels, as in MedicalNet's small ones.

    References:
        He et al., Deep residual learning for image recognition, CVPR 2016.
    """

    classes: int | None = None
    depths: tuple[int, ...] = (2, 2, 2, 2)
    block: Literal["basic", "bottleneck"] = "basic"
    stem: Literal["small", "standard", "dense", "video"] = "small"
    width: int = 64
    norm: str | Callable[..., nn.Module] = "batch"
    kernel_init: Callable = he_fan_out
    zero_init: bool = False
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False
    shortcut: Literal["projection", "biased", "padding"] = "projection"

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (fine first) and `logits`."""
        rank = spatial_rank(x)
        if self.stem not in _STEMS:
            raise ValueError(f"stem must be one of {', '.join(_STEMS)}, got {self.stem!r}")
        if self.shortcut not in ("projection", "biased", "padding"):
            raise ValueError(
                f"shortcut must be projection, biased or padding, got {self.shortcut!r}"
            )
        if self.block not in ("basic", "bottleneck"):
            raise ValueError(f'block must be "basic" or "bottleneck", got {self.block!r}')
        kernel, strides, pooled = _STEMS[self.stem]
        x = Conv(
            self.width,
            kernel,
            strides,
            bias=False,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="stem_conv",
        )(x)
        x = make_norm(self.norm, name="stem_norm", dtype=self.dtype)(x, train=train)
        x = nn.relu(x)
        if pooled:
            x = ops.max_pool(x, (3,) * rank, stride=(2,) * rank, padding=((1, 1),) * rank)
        block = nn.remat(_Block, static_argnums=(2,)) if self.remat else _Block
        pyramid = []
        for stage, depth in enumerate(self.depths, 1):
            for i in range(1, depth + 1):
                x = block(
                    self.width * 2 ** (stage - 1),
                    2 if i == 1 and stage > 1 else 1,
                    self.block == "bottleneck",
                    self.norm,
                    self.kernel_init,
                    self.zero_init,
                    self.dtype,
                    self.shortcut,
                    name=f"stage{stage}_block{i}",
                )(x, train)
            pyramid.append(x)
        endpoints = {"features": global_average(x), "pyramid": tuple(pyramid)}
        if self.classes is not None:
            head = ClassificationHead(self.classes, self.dropout, name="head")
            endpoints |= head(endpoints["features"], train=train)
        return endpoints


class _Block(nn.Module):
    width: int
    strides: int
    bottleneck: bool
    norm: Any
    kernel_init: Callable
    zero_init: bool
    dtype: Any
    shortcut: str = "projection"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        if self.bottleneck:
            layers = [(self.width, 1, 1), (self.width, 3, self.strides), (4 * self.width, 1, 1)]
        else:
            layers = [(self.width, 3, self.strides), (self.width, 3, 1)]
        y = x
        for i, (features, kernel, strides) in enumerate(layers, 1):
            last = i == len(layers)
            y = self._conv_norm(y, features, kernel, strides, str(i), train, last)
            y = y if last else nn.relu(y)
        if x.shape != y.shape and self.shortcut == "padding":
            x = x[(slice(None), *(slice(None, None, self.strides),) * (x.ndim - 2))]
            new = [(0, 0)] * (x.ndim - 1) + [(0, y.shape[-1] - x.shape[-1])]
            x = jnp.pad(x, new)
        elif x.shape != y.shape:
            x = self._conv_norm(x, y.shape[-1], 1, self.strides, "_shortcut", train, False)
        return nn.relu(x + y)

    def _conv_norm(self, x, features, kernel, strides, name, train, last) -> Array:
        biased = name == "_shortcut" and self.shortcut == "biased"
        options = {"scale_init": nn.initializers.zeros} if last and self.zero_init else {}
        x = Conv(
            features,
            kernel,
            strides,
            bias=biased,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name=f"conv{name}",
        )(x)
        norm = make_norm(self.norm, name=f"norm{name}", dtype=self.dtype, **options)
        return norm(x, train=train)


def resnet8(classes: int | None = None, *, width: int = 16, **options: Any) -> ResNet:
    """Create a ResNet-8: one basic block per stage, 16, 32 and 64 channels; see :class:`ResNet`.

    The smallest of the family for small images (6n + 2 layers, n = 1): 77 thousand parameters and
    a fiftieth of ResNet-18's compute at 28x28.

    >>> import jax, jax.numpy as jnp
    >>> key, x = jax.random.key(0), jnp.ones((1, 28, 28, 1))
    >>> outputs, _ = jax.eval_shape(resnet8(2).init_with_output, key, x)
    >>> outputs["features"].shape, [m.shape[1:] for m in outputs["pyramid"]]
    ((1, 64), [(28, 28, 16), (14, 14, 32), (7, 7, 64)])
    """
    return ResNet(classes, (1, 1, 1), "basic", width=width, **options)


def resnet18(classes: int | None = None, **options: Any) -> ResNet:
    """Create a ResNet-18; see :class:`ResNet` for the options.

    With the small stem this is MedMNIST's model at 28x28.

    >>> import jax, jax.numpy as jnp
    >>> net = resnet18(2, width=4)
    >>> key, x = jax.random.key(0), jnp.ones((1, 16, 16, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape, [m.shape[1:] for m in outputs["pyramid"]]
    ((1, 2), [(16, 16, 4), (8, 8, 8), (4, 4, 16), (2, 2, 32)])
    """
    return ResNet(classes, (2, 2, 2, 2), "basic", **options)


def resnet34(classes: int | None = None, **options: Any) -> ResNet:
    """Create a ResNet-34; see :class:`ResNet` for the options."""
    return ResNet(classes, (3, 4, 6, 3), "basic", **options)


def resnet50(classes: int | None = None, **options: Any) -> ResNet:
    """Create a ResNet-50, stride in the 3-wide convolution; see :class:`ResNet` for the options."""
    return ResNet(classes, (3, 4, 6, 3), "bottleneck", **options)
