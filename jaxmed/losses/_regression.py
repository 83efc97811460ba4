"""Regression losses: squared, absolute and Huber error."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.losses._inputs import (
    at_least_float32,
    blank_missing,
    known,
    mean_known,
    same_shape,
)


def _mean_of(
    function: Callable[[Array], Array],
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    where: jax.typing.ArrayLike | None,
    name: str,
) -> Array:
    x, y = same_shape(at_least_float32(outputs), at_least_float32(targets), name=name)
    weights = known(where, x.shape)
    error = blank_missing(x, weights) - blank_missing(y, weights)
    return mean_known(function(error), weights)


def mse(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    """Mean squared error :math:`(x - y)^2` over an example's known targets.

    Args:
        outputs: `(batch, ...)`.
        targets: of the outputs' shape; a last axis of 1 may be left out.
        where: True where the target is known, or a weight; `(batch,)` or one per target. Missing
            targets may be NaN.

    Returns:
        `(batch,)`, in squared target units; 0 for an example without any known target.

    Raises:
        ValueError: if the shapes do not match.

    Examples:
        >>> mse(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]]))
        Array([2.], dtype=float32)
    """
    return _mean_of(jnp.square, outputs, targets, where, "mse")


def mae(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
) -> Array:
    """Mean absolute error :math:`|x - y|` over an example's known targets.

    Args:
        outputs: `(batch, ...)`.
        targets: of the outputs' shape; a last axis of 1 may be left out.
        where: True where the target is known, or a weight; `(batch,)` or one per target.

    Returns:
        `(batch,)`, in target units; 0 for an example without any known target.

    Raises:
        ValueError: if the shapes do not match.

    Examples:
        >>> mae(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]]))
        Array([1.], dtype=float32)
    """
    return _mean_of(jnp.abs, outputs, targets, where, "mae")


def huber(
    outputs: jax.typing.ArrayLike,
    targets: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    delta: float = 1.0,
) -> Array:
    r"""Huber loss: squared near zero, absolute beyond `delta`.

    :math:`\tfrac12 r^2` for :math:`|r| \le \delta`, else :math:`\delta (|r| - \delta / 2)`;
    averaged over an example's known targets.

    Args:
        outputs: `(batch, ...)`.
        targets: of the outputs' shape; a last axis of 1 may be left out.
        where: True where the target is known, or a weight; `(batch,)` or one per target.
        delta: transition point in target units, above 0.

    Returns:
        `(batch,)`; 0 for an example without any known target.

    Raises:
        ValueError: if the shapes do not match, or `delta` is not above 0.

    Examples:
        >>> huber(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0]))
        Array([0.125, 2.5  ], dtype=float32)

    References:
        Huber, Robust estimation of a location parameter, Ann. Math. Stat. 1964.
    """
    if isinstance(delta, int | float) and delta <= 0:
        raise ValueError(f"delta={delta}; it must be above 0")

    def term(error: Array) -> Array:
        size = jnp.abs(error)
        inner = jnp.minimum(size, delta)  # avoids the square of a huge error: finite in float32
        return inner * (size - 0.5 * inner)

    return _mean_of(term, outputs, targets, where, "huber")
