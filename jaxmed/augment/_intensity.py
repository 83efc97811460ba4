"""Intensity augmentations, in units of the image's own range and standard deviation.

The same settings therefore suit images in [0, 1], standardised volumes and Hounsfield units.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed import ops
from jaxmed.augment._chain import (
    Augmentation,
    Draw,
    Intensity,
    between,
    check_p,
    smooth_field,
    sometimes,
)
from jaxmed.core import Array, stream

Range = tuple[float, float]


def _step(
    name: str, apply: Callable[[Draw, Array], Array], p: float, *, per_channel: bool = False
) -> Augmentation:
    check_p(p)

    def one(draw: Draw, image: Array) -> Array:
        return sometimes(draw, p, apply(draw, image), image)

    def channel(draw: Draw, c: Array, x: Array) -> Array:
        key = stream(draw.key, c)
        uniform = jax.random.uniform(stream(key, "uniform"), draw.uniform.shape)
        own = Draw(uniform, stream(key, "further"))
        return one(own, x[..., None])[..., 0]

    def each(draw: Draw, image: Array) -> Array:
        return jax.vmap(channel, (None, 0, -1), -1)(draw, jnp.arange(image.shape[-1]), image)

    return Augmentation((Intensity(name, each if per_channel else one),))


def _positive(scale: Array) -> Array:
    """A divisor: 1 for the image that is the same everywhere, however small the unit of others."""
    return jnp.where(scale > 0, scale, 1)


def _range(name: str, given: Range, least: float) -> Range:
    low, high = given
    if not least <= low <= high:
        raise ValueError(f"{name} is (least, most) with {least} <= least <= most, got {given}")
    return low, high


def brightness(amount: float = 0.2, *, p: float = 1.0, per_channel: bool = False) -> Augmentation:
    """Shift intensities by b sd(x), b uniform in [-amount, amount].

    Args:
        amount: largest shift, in standard deviations of the image.
        p: probability.
        per_channel: whether channels draw for themselves.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.arange(4.0).reshape(1, 2, 2, 1)}
        >>> bool(jnp.ptp(brightness()(jax.random.key(0), batch)["image"]) == 3)
        True
    """

    def apply(draw: Draw, x: Array) -> Array:
        return x + between(draw.uniform[1], -amount, amount) * x.std()

    return _step("brightness", apply, p, per_channel=per_channel)


def contrast(
    factor: Range = (0.75, 1.25), *, p: float = 1.0, per_channel: bool = False
) -> Augmentation:
    """Scale intensities about the mean, (x - m) f + m, and clip to the original range.

    Args:
        factor: least and most f, uniform.
        p: probability.
        per_channel: whether channels draw for themselves.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.arange(4.0).reshape(1, 2, 2, 1)}
        >>> contrast((0.0, 0.0))(jax.random.key(0), batch)["image"].ravel().tolist()
        [1.5, 1.5, 1.5, 1.5]
    """
    _range("factor", factor, 0)

    def apply(draw: Draw, x: Array) -> Array:
        flat = x.reshape(-1)  # 10 times faster than in its shape, by XLA for CPU
        mean = flat.mean()
        y = (flat - mean) * between(draw.uniform[1], *factor) + mean
        return jnp.clip(y, flat.min(), flat.max()).reshape(x.shape)

    return _step("contrast", apply, p, per_channel=per_channel)


def gamma(
    exponent: Range = (0.7, 1.5),
    *,
    invert: bool = False,
    retain: bool = False,
    p: float = 1.0,
    per_channel: bool = False,
) -> Augmentation:
    """Apply a power transform between the image's minimum and maximum.

    y = ((x - min) / (max - min))^g (max - min) + min.

    Args:
        exponent: least and most g, log-uniform.
        invert: apply it to the negative image, which bends the bright end.
        retain: restore the original mean and standard deviation.
        p: probability.
        per_channel: whether channels draw for themselves.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.array([0.0, 0.5, 1.0]).reshape(1, 3, 1)}
        >>> gamma((2.0, 2.0))(jax.random.key(0), batch)["image"].ravel().tolist()
        [0.0, 0.25, 1.0]
    """
    low, high = _range("exponent", exponent, 1e-3)
    name = "gamma_inverted" if invert else "gamma"

    def apply(draw: Draw, x: Array) -> Array:
        power = jnp.exp(between(draw.uniform[1], math.log(low), math.log(high)))
        shape, x = x.shape, (-x if invert else x).reshape(-1)
        least, span = x.min(), _positive(jnp.ptp(x))
        y = jnp.clip((x - least) / span, 0, 1) ** power * span + least
        if retain:
            y = (y - y.mean()) / _positive(y.std()) * x.std() + x.mean()
        return (-y if invert else y).reshape(shape)

    return _step(name, apply, p, per_channel=per_channel)


def noise(amount: Range = (0.0, 0.1), *, p: float = 1.0) -> Augmentation:
    """Add Gaussian noise of s sd(x), s uniform.

    Args:
        amount: least and most s.
        p: probability.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.zeros((1, 4, 4, 1))}
        >>> float(noise()(jax.random.key(0), batch)["image"].std())  # an empty image stays so
        0.0
    """
    _range("amount", amount, 0)

    def apply(draw: Draw, x: Array) -> Array:
        strength = between(draw.uniform[1], *amount) * x.std()
        return x + strength * jax.random.normal(draw.key, (x.size,)).reshape(x.shape)

    return _step("noise", apply, p)


def blur(sigma: Range = (0.5, 1.0), *, p: float = 1.0) -> Augmentation:
    """Blur by a Gaussian.

    Args:
        sigma: least and most standard deviation in voxels, uniform.
        p: probability.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.zeros((1, 9, 1)).at[0, 4, 0].set(1.0)}
        >>> round(float(blur((1.0, 1.0))(jax.random.key(0), batch)["image"][0, 4, 0]), 3)
        0.399
    """
    _range("sigma", sigma, 0)
    radius = max(1, math.ceil(3 * sigma[1]))

    def apply(draw: Draw, x: Array) -> Array:
        width = between(draw.uniform[1], *sigma)
        return ops.gaussian_blur(x[None], width, radius=radius, mode="nearest")[0]

    return _step("blur", apply, p)


def bias_field(amount: float = 0.3, *, knots: int = 5, p: float = 1.0) -> Augmentation:
    """Multiply by exp(f), f a smooth random field, simulating the bias field of an MR coil.

    y = (x - min) exp(f) + min, so that dark regions stay dark.

    Args:
        amount: standard deviation of f at its knots.
        knots: knots along each axis, at least 4.
        p: probability.

    Returns:
        An augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.ones((1, 6, 6, 1)).at[0, 0].set(0.0)}
        >>> bool((bias_field()(jax.random.key(0), batch)["image"][0, 0] == 0).all())
        True
    """
    if knots < 4:
        raise ValueError(f"a cubic spline has at least 4 knots, got {knots}")

    def apply(draw: Draw, x: Array) -> Array:
        least = x.min()
        field = jnp.exp(amount * smooth_field(draw.key, 1, x.shape[:-1], knots)[0])
        return (x - least) * field[..., None] + least

    return _step("bias_field", apply, p)


def low_resolution(factor: Range = (1.0, 2.0), *, p: float = 1.0) -> Augmentation:
    """Simulate low resolution: sample every f-th voxel and interpolate in between.

    Args:
        factor: least and most f, uniform, at least 1; the same along all axes.
        p: probability.

    Returns:
        An augmentation that keeps the shape.

    References:
        Isensee et al. nnU-Net. Nature Methods 18:203, 2021.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.arange(8.0).reshape(1, 8, 1) % 2}
        >>> float(low_resolution((2.0, 2.0))(jax.random.key(0), batch)["image"].std())
        0.0
    """
    _range("factor", factor, 1)

    def apply(draw: Draw, x: Array) -> Array:
        f = between(draw.uniform[1], *factor)
        for axis, n in enumerate(x.shape[:-1]):
            matrix = _coarse(n, f)
            x = jnp.moveaxis(jnp.tensordot(matrix, x, (1, axis)), 0, axis)
        return x

    return _step("low_resolution", apply, p)


def _coarse(n: int, f: Array) -> Array:
    """Build the (n, n) matrix of one axis: linear between samples f voxels apart."""
    count = jnp.maximum(jnp.floor(n / f), 1)
    at = jnp.clip((jnp.arange(n) + 0.5) / f - 0.5, 0, count - 1)
    low = jnp.floor(at)
    high = jnp.minimum(low + 1, count - 1)
    share = at - low

    def rows(sample: Array) -> Array:
        # The voxel in which the centre of a coarse sample lies.
        voxel = jnp.clip(jnp.floor((sample + 0.5) * f), 0, n - 1).astype(jnp.int32)
        return jax.nn.one_hot(voxel, n)

    return (1 - share)[:, None] * rows(low) + share[:, None] * rows(high)


def cutout(size: Range = (0.1, 0.3), *, holes: int = 1, p: float = 1.0) -> Augmentation:
    """Fill random boxes with the image's mean; masks are unchanged.

    Args:
        size: minimum and maximum side of a box, as a fraction of the image's, uniform per side.
        holes: number of boxes.
        p: probability.

    Returns:
        An augmentation.

    References:
        DeVries, Taylor. Improved regularization with cutout. arXiv:1708.04552, 2017.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"image": jnp.arange(16.0).reshape(1, 16, 1)}
        >>> int((cutout((0.25, 0.25))(jax.random.key(0), batch)["image"] == 7.5).sum())
        4
    """
    _range("size", size, 0)

    def apply(draw: Draw, x: Array) -> Array:
        shape = x.shape[:-1]
        hole = jnp.zeros(shape, bool)
        u = jax.random.uniform(draw.key, (holes * len(shape) * 2,)).reshape(holes, -1, 2)
        for i in range(holes):
            inside = jnp.ones(shape, bool)
            for axis, n in enumerate(shape):
                side = jnp.round(n * between(u[i, axis, 0], *size))
                start = jnp.round((n - side) * u[i, axis, 1])
                index = jnp.arange(n).reshape([n if a == axis else 1 for a in range(len(shape))])
                inside &= (index >= start) & (index < start + side)
            hole |= inside
        mean = x.mean(axis=range(len(shape)))
        return jnp.where(hole[..., None], mean, x)

    return _step("cutout", apply, p)
