"""Normalisation layers: one pass for the moments, one for the affine map, float32 statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxmed.core import Array

_EPSILON = 1e-5


def moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    r"""Compute the mean and variance over some axes, in float32.

    .. math:: m = \overline{x}, \quad v = \overline{x^2} - m^2

    The difference loses digits when the mean is large: at a mean of a hundred standard deviations
    the variance is accurate to a thousandth. Images are normalised beforehand, and a two-pass
    variance would cost another copy of the activations.

    Args:
        x: `(batch, *spatial, channels)`, float.
        axes: axes to reduce.

    Returns:
        Mean and (biased) variance, of at least float32, with the reduced axes kept as 1.

    >>> m, v = moments(jnp.array([[1.0, 5.0]]), (1,))
    >>> float(m[0, 0]), float(v[0, 0])
    (3.0, 4.0)
    """
    # On CPU, XLA calls a library for sums of `x` and of `x * x`, but first materialises a copy of
    # anything else. So there is no shift of the data here, and no `x - mean` in `_affine`.
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(x, axes, keepdims=True)
    return mean, jnp.maximum(jnp.mean(x * x, axes, keepdims=True) - mean * mean, 0.0)


def _affine(module: Any, x: Array, mean: Array, variance: Array) -> Array:
    """Normalise, scale and shift: `x * a + b`, in one pass forward and one backward.

    The gradients of `a` and `b` are the sums of `dy * x` and `dy`; all others follow from these
    on arrays of the size of the moments.
    """
    factor, bias = lax.rsqrt(variance + module.epsilon), 0.0
    if getattr(module, "affine", True):
        factor = module.param("scale", module.scale_init, x.shape[-1:]) * factor
        bias = module.param("bias", nn.initializers.zeros, x.shape[-1:])
    shift = bias - mean * factor
    dtype = module.dtype or x.dtype
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (x * factor + shift).astype(dtype)


class BatchNorm(nn.Module):
    """Batch normalisation: each channel over the batch and all voxels.

    Under `jit` over a mesh the statistics are those of the whole batch, however it is sharded.
    A ragged last batch is padded by repeating its real examples in turn, and the repeats count in
    the statistics of that one batch: the network is not told the weights of examples.

    The running variance is unbiased, as in torch.

    Attributes:
        momentum: decay of the running statistics, `new = momentum * old + (1 - momentum) * batch`.
        epsilon: added to the variance.
        axis_name: a mapped axis (`pmap`, `shard_map`) over which the statistics are also averaged.
        dtype: dtype of the output; None: that of the input.
        scale_init: initialisation of the scale.

    References:
        Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    momentum: float = 0.9
    epsilon: float = _EPSILON
    axis_name: str | None = None
    dtype: Any = None
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Normalise `(batch, *spatial, channels)`."""
        channels = x.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        variance = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        if not train:
            m, v = mean.value, variance.value
        else:
            axes = tuple(range(x.ndim - 1))
            m, v = (y.reshape(channels) for y in moments(x, axes))
            count = x.size // channels
            if self.axis_name is not None:
                square = lax.pmean(v + m * m, self.axis_name)
                m = lax.pmean(m, self.axis_name)
                v = jnp.maximum(square - m * m, 0.0)
                count = count * lax.axis_size(self.axis_name)
            if not self.is_initializing():
                keep = self.momentum
                unbiased = v * (count / max(count - 1, 1))
                mean.value = keep * mean.value + (1 - keep) * m.astype(jnp.float32)
                variance.value = keep * variance.value + (1 - keep) * unbiased.astype(jnp.float32)
        return _affine(self, x, m, v)


class InstanceNorm(nn.Module):
    """Instance normalisation: each channel of each example over its voxels.

    Attributes:
        epsilon: added to the variance.
        dtype: dtype of the output; None: that of the input.
        scale_init: initialisation of the scale.
        affine: whether there are a scale and a bias; without them the network is told nothing of
            the channel's mean and spread.

    References:
        Ulyanov, Vedaldi and Lempitsky, Instance normalization, arXiv:1607.08022.
    """

    epsilon: float = _EPSILON
    dtype: Any = None
    scale_init: Callable = nn.initializers.ones
    affine: bool = True

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Normalise `(batch, *spatial, channels)`."""
        del train  # the same in both modes
        return _normalise_groups(self, x, x.shape[-1])


class GroupNorm(nn.Module):
    """Group normalisation: each example's groups of channels over its voxels.

    Attributes:
        groups: number of groups; `gcd(groups, channels)` are used if it does not divide the
            channels.
        epsilon: added to the variance.
        dtype: dtype of the output; None: that of the input.
        scale_init: initialisation of the scale.

    References:
        Wu and He, Group normalization, ECCV 2018.
    """

    groups: int = 8
    epsilon: float = _EPSILON
    dtype: Any = None
    scale_init: Callable = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Normalise `(batch, *spatial, channels)`."""
        del train  # the same in both modes
        return _normalise_groups(self, x, math.gcd(self.groups, x.shape[-1]))


class NoNorm(nn.Module):
    """No normalisation: the input, in the computation's dtype."""

    dtype: Any = None
    scale_init: Callable = nn.initializers.ones

    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Return `x`."""
        del train
        return x.astype(self.dtype or x.dtype)


def make_norm(norm: str | Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Create a normalisation layer by name.

    Args:
        norm: `"batch"`, `"instance"`, `"group"`, `"none"`, or a function that makes a module
            with `__call__(x, *, train)`, such as `partial(GroupNorm, groups=4)`.
        **options: passed to the module: `name`, `dtype`, `scale_init`.

    Returns:
        The module.

    Raises:
        ValueError: if the name is unknown.
    """
    if callable(norm):
        return norm(**options)
    if norm not in _KINDS:
        raise ValueError(f"norm must be one of {sorted(_KINDS)} or a function, got {norm!r}")
    return _KINDS[norm](**options)


_KINDS: dict[str, Callable[..., nn.Module]] = {
    "batch": BatchNorm,
    "group": GroupNorm,
    "instance": InstanceNorm,
    "none": NoNorm,
}


def _normalise_groups(module: InstanceNorm | GroupNorm, x: Array, groups: int) -> Array:
    channels = x.shape[-1]
    if math.prod(x.shape[1:]) == groups:
        raise ValueError(
            "a group of one value has no variance to normalise by: the input has the shape "
            f"{x.shape}, and {groups} groups. Pool less, or give larger images"
        )
    m, v = moments(x, tuple(range(1, x.ndim - 1)))
    if groups < channels:
        square = _over_groups(v + m * m, groups)
        m = _over_groups(m, groups)
        v = jnp.maximum(square - m * m, 0.0)
    return _affine(module, x, m, v)


def _over_groups(x: Array, groups: int) -> Array:
    """Average over each group of channels and broadcast the mean back to its channels."""
    if x.shape[-1] == groups:
        return x
    grouped = x.reshape(*x.shape[:-1], groups, -1).mean(-1, keepdims=True)
    return jnp.broadcast_to(grouped, (*grouped.shape[:-1], x.shape[-1] // groups)).reshape(x.shape)
