"""MedNeXt: an encoder and a decoder of inverted bottlenecks with depthwise convolutions."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import Conv, he_fan_in, spatial_rank
from jaxmed.networks.layers._norm import InstanceNorm
from jaxmed.networks.vision.segmenters._blocks import cropped, segmented

# Expansion and number of the blocks of each stage, from the first to the bottleneck.
_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "S": ((2, 2, 2, 2, 2), (2, 2, 2, 2, 2)),
    "B": ((2, 3, 4, 4, 4), (2, 2, 2, 2, 2)),
    "M": ((2, 3, 4, 4, 4), (3, 4, 4, 4, 4)),
    "L": ((3, 4, 8, 8, 8), (3, 4, 8, 8, 8)),
}


class MedNeXt(nn.Module):
    """MedNeXt: ConvNeXt's blocks in a U-Net, which also enlarge and shrink.

    A block is a depthwise convolution, a normalisation of each channel, a 1-wide convolution to
    `expansion` times as many channels, GELU, and one back. Skips are added.

    Attributes:
        classes: number of logits at each voxel; None for a trunk without heads.
        width: channels of the first stage; they double from stage to stage.
        expansions: expansion of the blocks of each stage, the bottleneck last.
        depths: blocks of each stage, likewise; the decoder's are the encoder's.
        kernel: edge of the depthwise convolutions, odd.
        residual: whether a block is added to what it is given, and a block that enlarges or shrinks
            to a 1-wide convolution of that.
        deep_supervision: also predict from each coarser stage, the bottleneck included: the
            endpoint `deep`.
        dtype: dtype of the computation; parameters, `features` and all logits are float32.
        remat: recompute each block in the backward pass, to save memory.

    References:
        Roy et al., MedNeXt: transformer-driven scaling of ConvNets for medical image segmentation,
        MICCAI 2023.
    """

    classes: int | None = None
    width: int = 32
    expansions: tuple[int, ...] = (2, 2, 2, 2, 2)
    depths: tuple[int, ...] = (2, 2, 2, 2, 2)
    kernel: int = 3
    residual: bool = True
    deep_supervision: bool = False
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to named endpoints.

        Returns:
            `logits` `(batch, *spatial, classes)`; `deep`, with deep supervision; `pyramid`, the
            decoder's maps, finest first, with the bottleneck last; `features`, its spatial mean.
        """
        del train  # the same in both modes
        spatial_rank(x)
        if len(self.expansions) != len(self.depths) or len(self.depths) < 2:
            raise ValueError(
                "expansions and depths name the same two stages or more, got "
                f"{self.expansions} and {self.depths}"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        block = partial(
            nn.remat(_Block) if self.remat else _Block,
            kernel=self.kernel, residual=self.residual, dtype=self.dtype,
        )  # fmt: skip
        x = Conv(self.width, 1, dtype=self.dtype, kernel_init=he_fan_in, name="stem")(x)
        *stages, last = [
            (self.width * 2**i, *each)
            for i, each in enumerate(zip(self.expansions, self.depths, strict=True))
        ]
        skips = []
        for i, (width, expansion, depth) in enumerate(stages, 1):
            for j in range(1, depth + 1):
                x = block(width, expansion, name=f"encoder{i}_block{j}")(x)
            skips.append(x)
            x = block(2 * width, expansion, change="shrink", name=f"down{i}")(x)
        for j in range(1, last[2] + 1):
            x = block(*last[:2], name=f"bottleneck_block{j}")(x)
        pyramid = [x]
        for i, (width, expansion, depth) in reversed([*enumerate(stages, 1)]):
            x = block(width, expansion, change="enlarge", name=f"up{i}")(x)
            x = cropped(x, skips[i - 1]) + skips[i - 1]
            for j in range(1, depth + 1):
                x = block(width, expansion, name=f"decoder{i}_block{j}")(x)
            pyramid.insert(0, x)
        deep = len(pyramid) if self.deep_supervision else None
        return segmented(pyramid, self.classes, self.dtype, deep=deep)


class _Block(nn.Module):
    """Depthwise, wider, narrower; by the depthwise convolution's stride, the map may change."""

    features: int
    expansion: int
    kernel: int
    residual: bool
    dtype: Any
    change: Literal["enlarge", "shrink"] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inner = x.shape[-1]
        conv = partial(Conv, dtype=self.dtype, kernel_init=he_fan_in)
        stride = 2 if self.change == "shrink" else 1
        if self.change == "enlarge":
            y = _Spread(self.kernel, self.dtype, name="depthwise")(x)
        else:
            # The normalisation takes every constant away again.
            y = conv(inner, self.kernel, stride, groups=inner, add_bias=False, name="depthwise")(x)
        y = InstanceNorm(dtype=self.dtype, name="norm")(y)
        y = conv(self.expansion * inner, 1, name="expand")(y)
        y = conv(self.features, 1, name="project")(jax.nn.gelu(y, approximate=False))
        if self.change == "enlarge":
            y = _shifted(y)
        if not self.residual:
            return y
        if self.change is None:
            return x + y
        x = conv(self.features, 1, stride, bias=self.change == "shrink", name="shortcut")(x)
        if self.change == "enlarge":
            bias = self.param("shortcut_bias", nn.initializers.zeros, (self.features,))
            x = _shifted(_interleaved(x) + bias.astype(x.dtype))
        return x + y


class _Spread(nn.Module):
    """Transposed depthwise convolution with stride 2, from n voxels to 2 n - 1."""

    kernel: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        rank, channels = x.ndim - 2, x.shape[-1]
        kernel = self.param("kernel", he_fan_in, (*(self.kernel,) * rank, 1, channels))
        self.param("bias", nn.initializers.zeros, (channels,))  # taken away by the normalisation
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        pads = [(self.kernel // 2, self.kernel // 2)] * rank
        return ops.conv_transpose(x, kernel, stride=2, padding=pads, groups=channels)


def _interleaved(x: Array) -> Array:
    """Put a zero between any two voxels: n to 2 n - 1."""
    between = [(0, 0, 1)] * (x.ndim - 2)
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *between, (0, 0, 0)])


def _shifted(x: Array) -> Array:
    """Put a zero before the first voxel of each axis, as published: 2 n - 1 to 2 n."""
    return jnp.pad(x, [(0, 0), *itertools.repeat((1, 0), x.ndim - 2), (0, 0)])


def mednext(
    size: Literal["S", "B", "M", "L"] = "S", classes: int | None = None, **options: Any
) -> MedNeXt:
    """Create a MedNeXt of a published size; see :class:`MedNeXt` for the options.

    Args:
        size: S, B, M or L: 5.6, 10.5, 17.6 and 61.8 million parameters in 3D with a `kernel` of 3.
        classes: number of logits at each voxel; None for a trunk without heads.
        **options: further fields: `kernel=5` is the other published one.

    >>> net = mednext("B", 3, width=4)
    >>> key, x = jax.random.key(0), jnp.ones((1, 32, 32, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape, [m.shape[1] for m in outputs["pyramid"]]
    ((1, 32, 32, 3), [32, 16, 8, 4, 2])
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, got {size!r}")
    expansions, depths = _SIZES[size]
    return MedNeXt(classes, **{"expansions": expansions, "depths": depths, **options})
