"""Classification, linear, segmentation and projection heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import (
    Conv,
    at_least_float32,
    he_fan_in,
    torch_uniform,
)
from jaxmed.networks.layers._norm import make_norm


class ClassificationHead(nn.Module):
    """Linear classification layer on pooled features, always computed in float32.

    Attributes:
        classes: number of logits.
        dropout: dropout rate on the features.

    >>> import jax, jax.numpy as jnp
    >>> net = ClassificationHead(3)
    >>> key, x = jax.random.key(0), jnp.ones((2, 8))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["logits"].shape
    (2, 3)
    """

    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map features `(batch, f)` to `logits` `(batch, classes)`."""
        x = nn.Dropout(self.dropout, deterministic=not train)(at_least_float32(x))
        return {"logits": nn.Dense(self.classes, kernel_init=torch_uniform, name="linear")(x)}


class LinearHead(nn.Module):
    """Linear map of the last axis of an endpoint, in float32: what least squares solve for.

    Attributes:
        outputs: numbers predicted from each vector of features.

    >>> import jax, jax.numpy as jnp
    >>> head, key = LinearHead(3), jax.random.key(0)
    >>> maps = (jnp.ones((2, 4, 4, 8)), jnp.ones((2, 2, 2, 16)))
    >>> jax.eval_shape(head.init_with_output, key, maps)[0].shape
    (2, 4, 4, 3)
    """

    outputs: int

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...], *, train: bool = False) -> Array:
        """Map `(batch, ..., f)`, or the finest map of a pyramid, to `(batch, ..., outputs)`."""
        del train
        x = at_least_float32(x[0] if isinstance(x, tuple | list) else x)
        shape = (x.shape[-1], self.outputs)
        kernel = self.param("kernel", torch_uniform, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[1:])
        return x @ kernel + bias


class SegmentationHead(nn.Module):
    """Segmentation head: a 1x1 convolution on the finest map of a pyramid.

    Attributes:
        classes: number of logits at each voxel.
        dtype: dtype of the computation; the logits are at least float32.

    >>> import jax, jax.numpy as jnp
    >>> maps = (jnp.ones((2, 4, 4, 8)), jnp.ones((2, 2, 2, 16)))
    >>> head, key = SegmentationHead(3), jax.random.key(0)
    >>> outputs, _ = jax.eval_shape(head.init_with_output, key, maps)
    >>> outputs["logits"].shape
    (2, 4, 4, 3)
    """

    classes: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array | tuple[Array, ...], *, train: bool = False) -> Endpoints:
        """Map a pyramid, or one map `(batch, *spatial, f)`, to voxelwise `logits`."""
        del train
        x = x[0] if isinstance(x, tuple | list) else x
        conv = Conv(self.classes, 1, dtype=self.dtype, kernel_init=he_fan_in, name="conv")
        return {"logits": at_least_float32(conv(x))}


class ProjectionHead(nn.Module):
    """Projection MLP, as used in contrastive learning.

    Attributes:
        features: width of the projection.
        hidden: widths of the hidden layers.
        norm: normalisation between the layers, see :func:`make_norm`.
        dtype: dtype of the computation; the projection is at least float32.

    References:
        Chen et al., A simple framework for contrastive learning, ICML 2020.

    >>> import jax, jax.numpy as jnp
    >>> head = ProjectionHead(16, hidden=(32,))
    >>> key, x = jax.random.key(0), jnp.ones((2, 8))
    >>> outputs, _ = jax.eval_shape(head.init_with_output, key, x)
    >>> outputs["logits"].shape
    (2, 16)
    """

    features: int = 128
    hidden: tuple[int, ...] = (512,)
    norm: str | Callable[..., nn.Module] = "batch"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map features `(batch, f)` to a projection `(batch, features)`, as `logits`."""
        for i, width in enumerate(self.hidden):
            name = f"dense{i + 1}"
            x = nn.Dense(width, dtype=self.dtype, kernel_init=he_fan_in, name=name)(x)
            x = make_norm(self.norm, name=f"norm{i + 1}", dtype=self.dtype)(x, train=train)
            x = nn.relu(x)
        x = nn.Dense(self.features, dtype=self.dtype, kernel_init=torch_uniform, name="linear")(x)
        return {"logits": at_least_float32(x)}
