"""Layers in units of their prior, shared by the experiments on whole posteriors."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

import jaxmed as jm


class Unit(nn.Module):
    """A dense layer or a convolution whose parameters have a standard normal prior.

    Which is `N(0, scale^2 / fan_in)` for its kernel, `N(0, scale^2)` for its bias: one precision of
    1 is then the prior of every layer, and chains meet one scale.
    """

    features: int
    scale: float
    window: tuple[int, ...] = ()
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `(batch, *spatial, channels)` to `features` channels."""
        normal = nn.initializers.normal(1.0)
        shape = (*self.window, x.shape[-1], self.features)
        gain = self.scale / math.sqrt(math.prod(shape[:-1]))
        kernel = gain * self.param("kernel", normal, shape).astype(x.dtype)
        bias = self.scale * self.param("bias", normal, (self.features,)).astype(x.dtype)
        y = jm.ops.conv(x, kernel, stride=self.stride) if self.window else x @ kernel
        return y + bias


class Mlp(nn.Module):
    """One hidden layer of tanh."""

    hidden: int
    scale: float
    dropout: float = 0.0
    outputs: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Map `(batch, inputs)` to `(batch, outputs)`."""
        x = nn.tanh(Unit(self.hidden, self.scale, name="hidden")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Unit(self.outputs, self.scale, name="head")(x)


class Noisy(nn.Module):
    """A mean, and a logarithm of the noise that depends on the input or is one number."""

    hidden: int
    scale: float
    constant: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `(batch, inputs)` to `(batch, 2)`."""
        found = Mlp(self.hidden, self.scale, outputs=1 if self.constant else 2, name="net")(x)
        if not self.constant:
            return found
        noise = self.scale * self.param("log_noise", nn.initializers.normal(1.0), (1,))
        return jnp.concatenate([found, jnp.broadcast_to(noise, found.shape)], axis=-1)


class Cnn(nn.Module):
    """Convolutions of stride 2 with tanh, one logit from all their positions."""

    features: tuple[int, ...]
    scale: float
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Map `(batch, height, width, channels)` to `(batch, 1)`."""
        for i, width in enumerate(self.features):
            x = nn.tanh(Unit(width, self.scale, (3, 3), 2, name=f"conv{i}")(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x.reshape(len(x), -1))
        return Unit(1, self.scale, name="head")(x)
