"""Sums of products about their means: all that least squares need of the data."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmed.core import Array

_HIGHEST = jax.lax.Precision.HIGHEST


class Moments(NamedTuple):
    """Weighted moments of features ``h`` and targets ``y`` over the rows seen.

    Products are about the means, so that features far from 0 lose no digits.

    Attributes:
        count: the sum of the weights.
        mean_h: ``(features,)``.
        mean_y: ``(outputs,)``.
        hh: ``(features, features)``, the sum of ``w (h - mean_h)(h - mean_h)'``.
        hy: ``(features, outputs)``.
        yy: ``(outputs,)``, the sum of squares of the targets alone.
    """

    count: Array
    mean_h: Array
    mean_y: Array
    hh: Array
    hy: Array
    yy: Array


def no_moments(features: int, outputs: int, dtype: jnp.dtype) -> Moments:
    """The moments of no rows at all."""
    shapes = ((), (features,), (outputs,), (features, features), (features, outputs), (outputs,))
    return Moments(*(jnp.zeros(shape, dtype) for shape in shapes))


def moments_of(h: Array, y: Array, weight: Array) -> Moments:
    """The moments of some rows.

    Args:
        h: features, ``(rows, features)``.
        y: targets, ``(rows, outputs)``.
        weight: ``(rows,)``; a row of weight 0 may hold anything, NaN included.

    Returns:
        Their moments.
    """
    weight = weight.astype(h.dtype)
    counts = (weight > 0)[:, None]
    h, y = jnp.where(counts, h, 0), jnp.where(counts, y, 0)
    count = weight.sum()
    scale = jnp.where(count > 0, count, 1)
    mean_h, mean_y = _product(weight, h) / scale, _product(weight, y) / scale
    h, y = h - mean_h, y - mean_y
    weighted = weight[:, None] * h
    return Moments(
        count, mean_h, mean_y, _product(weighted.T, h), _product(weighted.T, y),
        _product(weight, y * y),
    )  # fmt: skip


def merge_moments(one: Moments, other: Moments) -> Moments:
    """The moments of the rows of both.

    References:
        Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, The American
        Statistician 37.
    """
    count = one.count + other.count
    share = other.count / jnp.where(count > 0, count, 1)
    apart_h, apart_y = other.mean_h - one.mean_h, other.mean_y - one.mean_y
    between = one.count * share
    return Moments(
        count,
        one.mean_h + share * apart_h,
        one.mean_y + share * apart_y,
        one.hh + other.hh + between * jnp.outer(apart_h, apart_h),
        one.hy + other.hy + between * jnp.outer(apart_h, apart_y),
        one.yy + other.yy + between * apart_y * apart_y,
    )


def fade_moments(moments: Moments, share: Array) -> Moments:
    """The moments as if every row weighed a share of what it did."""
    return moments._replace(
        count=share * moments.count,
        hh=share * moments.hh,
        hy=share * moments.hy,
        yy=share * moments.yy,
    )


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=_HIGHEST)
