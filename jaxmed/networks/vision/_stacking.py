"""A module of a deep stacking network: sigmoid units on an input and on predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jaxmed.core import Array, Endpoints
from jaxmed.networks.layers._convolution import at_least_float32
from jaxmed.networks.vision._random_convolutions import normal_fan_in


class StackingModule(nn.Module):
    """Hidden units of a deep stacking network, for `protocols.deep_stacking`.

    ``sigmoid(spread * (x @ kernel) + below_spread * (below @ below_kernel) + bias)``.

    Attributes:
        units: number of sigmoid units.
        trunk: a Linen module whose `features` are ``x``, such as `random_convolutions`; None for
            the image itself, flattened.
        spread: how strongly units are driven by ``x``; the kernel is drawn with variance 1 over its
            inputs. For features of variance 1, 1 to 3; for sparse images in [0, 1], 3 to 10.
        below_spread: how strongly by the predictions below, each of them drawn with variance 1.
        skip: whether the predictions below are features besides the units, so that a module can
            pass on what it is given.
        dtype: dtype of the computation; `features` are float32.

    References:
        Deng and Yu, Deep convex network: a scalable architecture for speech pattern classification,
        Interspeech 2011.

    >>> import jax
    >>> net, given = StackingModule(6), {"image": jnp.ones((2, 4, 4, 1)), "below": jnp.ones((2, 3))}
    >>> jax.eval_shape(net.init_with_output, jax.random.key(0), given)[0]["features"].shape
    (2, 9)
    """

    units: int = 1000
    trunk: nn.Module | None = None
    spread: float = 3.0
    below_spread: float = 1.0
    skip: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Mapping[str, Array], *, train: bool = False) -> Endpoints:
        """Map `{"image": (batch, ...), "below": (batch, width)}` to `features`."""
        image, below = x["image"], x["below"]
        if self.trunk is not None:
            image = self.trunk(image, train=train)["features"]
        image = image.reshape(len(image), -1)
        kernel = self.param("kernel", normal_fan_in, (image.shape[-1], self.units))
        bias = self.param("bias", nn.initializers.normal(1.0), (self.units,))
        image, kernel, bias = promote_dtype(image, kernel, bias, dtype=self.dtype)
        driven = self.spread * (image @ kernel) + bias
        if below.shape[-1]:
            shape = (below.shape[-1], self.units)
            own = self.param("below_kernel", nn.initializers.normal(1.0), shape)
            driven = driven + self.below_spread * (below.astype(driven.dtype) @ own)
        features = [at_least_float32(nn.sigmoid(driven))]
        if self.skip:
            features.append(at_least_float32(below))
        return {"features": jnp.concatenate(features, axis=-1)}
