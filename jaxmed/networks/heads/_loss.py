"""A head that predicts a network's loss, for learning loss."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import at_least_float32, he_fan_in, torch_uniform


class LossHead(nn.Module):
    """Predicts the loss of each example from maps of several depths, without its label.

    Each map is averaged over space and goes through a linear layer and a ReLU; one more linear
    layer makes a number of all. For ``with_heads(trunk, {"predicted_loss": Head(LossHead(),
    "pyramid")})``, trained by :func:`jaxmed.paradigms.learning_loss`.

    Attributes:
        width: units for each map.
        dtype: dtype of the linear layers of the maps; the prediction is at least float32.

    References:
        Yoo and Kweon (2019), Learning loss for active learning, CVPR.

    >>> import jax, jax.numpy as jnp
    >>> maps = (jnp.ones((3, 8, 8, 4)), jnp.ones((3, 4, 4, 8)))
    >>> head, key = LossHead(16), jax.random.key(0)
    >>> outputs, _ = jax.eval_shape(head.init_with_output, key, maps)
    >>> {name: value.shape for name, value in outputs.items()}
    {'detached': (3,), 'logits': (3,)}
    """

    width: int = 128
    dtype: Any = None

    @nn.compact
    def __call__(self, maps: Array | tuple[Array, ...], *, train: bool = False) -> Endpoints:
        """Map a pyramid, one map or features to ``logits`` ``(batch,)``.

        ``detached`` is the same prediction, whose gradient ends at the maps.
        """
        del train
        several = maps if isinstance(maps, tuple | list) else (maps,)
        pooled = [x.mean(tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x for x in several]
        layers = [
            nn.Dense(self.width, dtype=self.dtype, kernel_init=he_fan_in, name=f"map{i + 1}")
            for i in range(len(pooled))
        ]
        last = nn.Dense(1, kernel_init=torch_uniform, name="linear")

        def predict(pooled: list[Array]) -> Array:
            hidden = [nn.relu(layer(x)) for layer, x in zip(layers, pooled, strict=True)]
            return last(at_least_float32(jnp.concatenate(hidden, axis=-1)))[:, 0]

        detached = predict(jax.lax.stop_gradient(pooled))
        return {"logits": predict(pooled), "detached": detached}
