"""U-Net decoder on the pyramid of any trunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import SegmentationHead
from jaxmed.networks.layers._convolution import Conv, ConvTranspose, per_axis
from jaxmed.networks.layers._norm import make_norm


class PyramidHead(nn.Module):
    """Segmentation head for any trunk that has a pyramid, such as a ResNet or an EfficientNet.

    Starting from the coarsest map, each is upsampled, concatenated with the next finer one and
    convolved; the finest is upsampled to the image's grid. For
    ``with_heads(trunk, {"logits": Head(PyramidHead(2), "pyramid")})``.

    Attributes:
        classes: number of logits at each voxel.
        stride: stride of the pyramid's finest map on the image's grid, an int or one per axis: 2
            for EfficientNet-Lite, 1 for a small ResNet. The image's edges must be multiples of it.
        width: channels at the finest map; each coarser one has twice as many, up to 128.
        norm: normalisation, see :func:`make_norm`.
        dtype: dtype of the computation; the logits are at least float32.

    References:
        Ronneberger, Fischer and Brox, U-Net, MICCAI 2015.

    >>> import jax, jax.numpy as jnp
    >>> maps = (jnp.ones((1, 6, 5, 8)), jnp.ones((1, 3, 3, 16)))
    >>> head, key = PyramidHead(2), jax.random.key(0)
    >>> jax.eval_shape(head.init_with_output, key, maps)[0]["logits"].shape
    (1, 12, 10, 2)
    """

    classes: int
    stride: int | tuple[int, ...] = 2
    width: int = 16
    norm: str | Callable[..., nn.Module] = "batch"
    dtype: Any = None

    @nn.compact
    def __call__(self, pyramid: tuple[Array, ...], *, train: bool = False) -> Endpoints:
        """Map a pyramid, finest first, to `logits` `(batch, *spatial, classes)`.

        Raises:
            ValueError: if a map is not finer than the next.
        """
        maps, x = list(pyramid[:-1]), pyramid[-1]
        for i, finer in reversed(list(enumerate(maps))):
            edges = zip(x.shape[1:-1], finer.shape[1:-1])
            strides = tuple(-(-large // small) for small, large in edges)
            if max(strides) < 2:
                raise ValueError(
                    f"the maps of a pyramid halve from fine to coarse, got {finer.shape} before "
                    f"{x.shape}"
                )
            x = self._enlarged(x, strides, i)
            x = x[tuple(slice(0, n) for n in finer.shape[:-1])]
            x = self._convolved(jnp.concatenate([x, finer], axis=-1), i, train)
        strides = per_axis(self.stride, x.ndim - 2, "stride")
        if max(strides) > 1:
            x = self._convolved(self._enlarged(x, strides, -1), -1, train)
        return SegmentationHead(self.classes, self.dtype, name="head")(x)

    def _features(self, level: int) -> int:
        return min(self.width * 2 ** max(level, 0), 128)

    def _enlarged(self, x: Array, strides: tuple[int, ...], level: int) -> Array:
        return ConvTranspose(
            self._features(level), strides, dtype=self.dtype, name=f"up{level + 1}"
        )(x)

    def _convolved(self, x: Array, level: int, train: bool) -> Array:
        x = Conv(self._features(level), 3, dtype=self.dtype, name=f"conv{level + 1}")(x)
        x = make_norm(self.norm, name=f"norm{level + 1}", dtype=self.dtype)(x, train=train)
        return nn.relu(x)
