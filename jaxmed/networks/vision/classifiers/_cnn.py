"""Plain convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxmed import ops
from jaxmed.core import Array, Endpoints
from jaxmed.networks.heads._answers import ClassificationHead
from jaxmed.networks.layers._convolution import Conv, global_average, spatial_rank
from jaxmed.networks.layers._norm import make_norm


class CNN(nn.Module):
    """Plain CNN: stages of 3-wide convolutions separated by max pooling by two.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        features: channels of each stage.
        convs: convolutions per stage.
        norm: normalisation, see :func:`make_norm`.
        dropout: dropout rate on the pooled features before the head.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each stage in the backward pass, to save memory.
    """

    classes: int | None = None
    features: tuple[int, ...] = (32, 64, 128)
    convs: int = 1
    norm: str | Callable[..., nn.Module] = "batch"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features`, `pyramid` (fine first) and `logits`."""
        rank = spatial_rank(x)
        if min(x.shape[1:-1]) < 2 ** (len(self.features) - 1):
            raise ValueError(
                f"{len(self.features)} stages halve each axis {len(self.features) - 1} times: the "
                f"image {x.shape} has too few voxels"
            )
        stage = nn.remat(_Stage, static_argnums=(2,)) if self.remat else _Stage
        pyramid = []
        for i, width in enumerate(self.features):
            if i > 0:
                x = ops.max_pool(x, (2,) * rank)
            x = stage(width, self.convs, self.norm, self.dtype, name=f"stage{i + 1}")(x, train)
            pyramid.append(x)
        endpoints = {"features": global_average(x), "pyramid": tuple(pyramid)}
        if self.classes is not None:
            head = ClassificationHead(self.classes, self.dropout, name="head")
            endpoints |= head(endpoints["features"], train=train)
        return endpoints


class _Stage(nn.Module):
    width: int
    convs: int
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for i in range(1, self.convs + 1):
            x = Conv(self.width, bias=self.norm == "none", dtype=self.dtype, name=f"conv{i}")(x)
            x = make_norm(self.norm, name=f"norm{i}", dtype=self.dtype)(x, train=train)
            x = nn.relu(x)
        return x


def cnn(classes: int | None = None, **options: Any) -> CNN:
    """Create a plain convolutional network; see :class:`CNN` for the options.

    >>> import jax, jax.numpy as jnp
    >>> net = cnn(2, features=(4, 8))
    >>> key, x = jax.random.key(0), jnp.ones((1, 8, 8, 8, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["features"].shape, [m.shape for m in outputs["pyramid"]]
    ((1, 8), [(1, 8, 8, 8, 4), (1, 4, 4, 4, 8)])
    """
    return CNN(classes, **options)
