"""Convolutions with random filters: features that are drawn and not learned."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.core import Array, Endpoints, Key
from jaxmed.networks.layers._convolution import Conv, at_least_float32, normal_flat, spatial_rank

_POOLINGS = ("sqrt", "stochastic", "max", "average")


class RandomConvolutions(nn.Module):
    """Random filters, pooling, and random units behind them: a trunk for least squares.

    Each stage convolves with filters of no bias and pools; `paradigms.closed_form` on it is the
    deep convolutional extreme learning machine. Parameters are ordinary ones, which `closed_form`
    leaves as they are drawn; for a learner that steps, `paradigms.frozen` keeps them.

    Attributes:
        maps: filters of each stage.
        kernel: edge of the filters in voxels, of all stages or of each.
        pooling: of all stages or of each: `"sqrt"`, the root of the sum of squares; `"stochastic"`,
            one value drawn in proportion to the positive ones in training, their expectation in
            evaluation; `"max"`; `"average"`.
        window: edge of the windows, of all stages or of each; they do not overlap.
        orthogonal: whether a stage's filters are orthonormal, or its inputs' weights where there
            are more filters than those; otherwise normal with the variance of one over them.
        units: number of random `tanh` units that read all maps of the last stage, brought to mean
            0 and variance 1 within each example; 0 for none.
        spread: standard deviation of what goes into a unit.
        both: whether the maps themselves are features besides the units.
        dtype: dtype of the computation; `features` are float32.

    References:
        Huang et al., Local receptive fields based extreme learning machine, IEEE Computational
        Intelligence Magazine 10, 2015; Pang and Yang, Deep convolutional extreme learning machine
        and its application in handwritten digit classification, Computational Intelligence and
        Neuroscience 2016; Zeiler and Fergus, Stochastic pooling, ICLR 2013.
    """

    maps: tuple[int, ...] = (32,)
    kernel: int | tuple[int, ...] = 7
    pooling: str | tuple[str, ...] = "sqrt"
    window: int | tuple[int, ...] = 4
    orthogonal: bool = True
    units: int = 0
    spread: float = 0.5
    both: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Endpoints:
        """Map `(batch, *spatial, channels)` to `features` and `pyramid`, a map a stage.

        Raises:
            ValueError: if a setting has not one value for each stage, a pooling is unknown, or a
                window is larger than what it pools.
        """
        rank, stages = spatial_rank(x), len(self.maps)
        kernels = _per_stage("kernel", self.kernel, stages)
        windows = _per_stage("window", self.window, stages)
        poolings = _per_stage("pooling", self.pooling, stages)
        if unknown := sorted(set(poolings) - set(_POOLINGS)):
            raise ValueError(f"pooling must be among {_POOLINGS}, got {unknown}")
        pyramid = []
        for i, (maps, kernel, window) in enumerate(zip(self.maps, kernels, windows, strict=True)):
            conv = Conv(
                maps, kernel, bias=False, dtype=self.dtype, name=f"conv{i + 1}",
                kernel_init=orthonormal if self.orthogonal else normal_fan_in,
            )  # fmt: skip
            x = self._pooled(conv(x), poolings[i], (window,) * rank, train)
            pyramid.append(x)
        features = at_least_float32(x).reshape(len(x), -1)
        if self.units:
            units = self._units(features)
            features = jnp.concatenate([features, units], axis=-1) if self.both else units
        return {"features": features, "pyramid": tuple(pyramid)}

    def _pooled(self, x: Array, pooling: str, window: tuple[int, ...], train: bool) -> Array:
        if pooling == "stochastic":
            # Rows of a batch draw from one key, each its own numbers.
            return ops.stochastic_pool(self.make_rng("stochastic") if train else None, x, window)
        if pooling == "max":
            return ops.max_pool(x, window)
        if pooling == "average":
            return ops.avg_pool(x, window)
        total = ops.avg_pool(jnp.square(x), window) * math.prod(window)
        # The root has no slope at 0.
        return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0)

    def _units(self, x: Array) -> Array:
        x = x - x.mean(-1, keepdims=True)
        variance = jnp.square(x).mean(-1, keepdims=True)
        x = x / jnp.sqrt(jnp.where(variance > 0, variance, 1))
        kernel = self.param("kernel", normal_fan_in, (x.shape[-1], self.units))
        bias = self.param("bias", nn.initializers.normal(1.0), (self.units,))
        return jnp.tanh(self.spread * (x @ kernel + bias))


def random_convolutions(**options: Any) -> RandomConvolutions:
    """Create a trunk of random filters; see :class:`RandomConvolutions` for the options.

    >>> import jax, jax.numpy as jnp
    >>> net = random_convolutions(maps=(4, 6), kernel=3, window=2, units=10)
    >>> key, x = jax.random.key(0), jnp.ones((2, 8, 8, 1))
    >>> outputs, _ = jax.eval_shape(net.init_with_output, key, x)
    >>> outputs["features"].shape, [m.shape for m in outputs["pyramid"]]
    ((2, 34), [(2, 4, 4, 4), (2, 2, 2, 6)])
    """
    return RandomConvolutions(**options)


def orthonormal(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise with orthonormal filters, `(*window, in, out)`, uniform among all such.

    Where there are more filters than weights of one, the weights are orthonormal over the filters,
    and scaled so that a filter has length 1 on average.
    """
    fan, out = math.prod(shape[:-1]), shape[-1]
    flat = normal_flat(key, (max(fan, out), min(fan, out)), dtype)
    q, r = jnp.linalg.qr(flat)
    q = q * jnp.sign(jnp.diagonal(r))  # without it QR prefers some bases
    q = q if fan >= out else q.T * math.sqrt(out / fan)
    return q.reshape(shape)


def normal_fan_in(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Initialise from a normal of variance `1 / (window * in)`."""
    return normal_flat(key, shape, dtype) / math.sqrt(math.prod(shape[:-1]))


def _per_stage(name: str, value: Any, stages: int) -> tuple:
    values = value if isinstance(value, tuple | list) else (value,) * stages
    if len(values) != stages:
        raise ValueError(f"{name} must be one value or {stages}, one a stage, got {value!r}")
    return tuple(values)
