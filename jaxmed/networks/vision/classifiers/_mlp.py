"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import at_least_float32, he_fan_in, torch_uniform
from jaxmed.networks.layers._norm import make_norm


class MLP(nn.Module):
    """Multi-layer perceptron on tables, or on images flattened to one row.

    Attributes:
        classes: number of logits; None for a trunk without a head.
        hidden: widths of the hidden layers.
        norm: normalisation, see :func:`make_norm`; `"instance"` has no meaning on rows.
        dropout: dropout rate after each hidden layer.
        dtype: dtype of the computation; parameters, `features` and `logits` are float32.
        remat: recompute each hidden layer in the backward pass, to save memory.
    """

    classes: int | None = None
    hidden: tuple[int, ...] = (128, 128)
    norm: str | Callable[..., nn.Module] = "none"
    dropout: float = 0.0
    dtype: Any = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, ...)` to `features` `(batch, hidden[-1])` and `logits`."""
        if x.ndim < 2:
            raise ValueError(f"an MLP takes (batch, ...) of rank at least 2, got shape {x.shape}")
        x = x.reshape(x.shape[0], -1)
        layer = nn.remat(_Layer, static_argnums=(2,)) if self.remat else _Layer
        for i, width in enumerate(self.hidden):
            x = layer(width, self.norm, self.dropout, self.dtype, name=f"layer{i + 1}")(x, train)
        endpoints = {"features": at_least_float32(x)}
        if self.classes is not None:
            head = nn.Dense(self.classes, kernel_init=torch_uniform, name="head")
            endpoints["logits"] = head(endpoints["features"])
        return endpoints


class _Layer(nn.Module):
    width: int
    norm: Any
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = nn.Dense(self.width, dtype=self.dtype, kernel_init=he_fan_in, name="dense")(x)
        x = make_norm(self.norm, name="norm", dtype=self.dtype)(x, train=train)
        return nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))


def mlp(classes: int | None = None, **options: Any) -> MLP:
    """Create a multi-layer perceptron; see :class:`MLP` for the options.

    >>> import jax, jax.numpy as jnp
    >>> net = mlp(2, hidden=(16, 8))
    >>> key, x = jax.random.key(0), jnp.ones((4, 6))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> {name: value.shape for name, value in outputs.items()}
    {'features': (4, 8), 'logits': (4, 2)}
    """
    return MLP(classes, **options)
