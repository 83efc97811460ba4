"""Argument handling shared by all losses: checks, masks, and the mean over known labels."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxmed.core import Array


def at_least_float32(x: jax.typing.ArrayLike) -> Array:
    """Cast half precision and integers to float32; keep float32 and float64."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def in_order(outputs: jax.typing.ArrayLike, targets: jax.typing.ArrayLike, *, name: str) -> None:
    """Refuse outputs and targets that were swapped, as far as shapes and types tell.

    Raises:
        ValueError: integer outputs with targets of fractions, or with one axis more.
    """
    x, y = jnp.asarray(outputs), jnp.asarray(targets)
    whole = not jnp.issubdtype(x.dtype, jnp.inexact)
    if whole and (jnp.issubdtype(y.dtype, jnp.inexact) or y.ndim > x.ndim):
        raise ValueError(
            f"{name}: outputs are {x.dtype} {x.shape} and targets {y.dtype} {y.shape}, as if they "
            "were swapped; the order is (outputs, targets)"
        )


def known(where: jax.typing.ArrayLike | None, shape: Sequence[int]) -> Array | None:
    """Broadcast `where` to float weights of `shape`, aligned from the left (batch axis first).

    NumPy aligns shapes from the right, which would match a `(batch,)` mask with the last spatial
    axis; a mask with fewer axes than the targets always starts at the batch axis here.
    """
    if where is None:
        return None
    mask = jnp.asarray(where)
    shape = tuple(shape)
    padded = mask.shape + (1,) * (len(shape) - mask.ndim)
    if len(padded) == len(shape) + 1 and padded[-1] == 1:
        padded = padded[:-1]
    fits = len(padded) == len(shape) and all(
        have in (1, want) for have, want in zip(padded, shape, strict=True)
    )
    if not fits and mask.ndim > 0:
        raise ValueError(
            f"where has shape {mask.shape}; it must broadcast, aligned at the batch axis, to the "
            f"labels' shape {shape}: (batch,) for whole examples, or one value per label"
        )
    weights = mask.reshape(padded) if mask.ndim else mask
    return jnp.broadcast_to(at_least_float32(weights), shape)


def blank_missing(x: Array, weights: Array | None) -> Array:
    """Set values to 0 where the label is missing, so that a NaN there cannot propagate."""
    return x if weights is None else jnp.where(weights > 0, x, 0)


def share_times(share: Array, value: Array) -> Array:
    """`share * value`, and 0 where the share is 0 even if the value is infinite there.

    A logit of -inf says that a class is impossible (SciPy's `xlogy` has the same rule); neither
    value nor gradient is then NaN. A share of NaN, for a label outside the classes, stays NaN.
    """
    return share * jnp.where(share == 0, 0, value)


def mean_known(values: Array, weights: Array | None) -> Array:
    """Average `values` (batch, ...) over each example's known labels; 0 if none is known."""
    axes = tuple(range(1, values.ndim))
    if weights is None:
        return values.mean(axes)
    total = weights.sum(axes)
    return (blank_missing(values, weights) * weights).sum(axes) / jnp.where(total > 0, total, 1)


def same_shape(outputs: Array, targets: Array, *, name: str) -> tuple[Array, Array]:
    """Return outputs and targets of one shape; targets may lack a trailing axis of 1."""
    if (*targets.shape, 1) == outputs.shape:
        targets = targets[..., None]
    if outputs.ndim == 0 or outputs.shape != targets.shape:
        raise ValueError(
            f"{name}: outputs {outputs.shape} and targets {targets.shape} must have one shape "
            "(batch, ...); only a trailing axis of size 1 may be left out of the targets"
        )
    return outputs, targets


def per_class(values: jax.typing.ArrayLike | None, classes: int, *, name: str) -> Array | None:
    """Check and return a vector of one weight per class."""
    if values is None:
        return None
    weights = at_least_float32(values)
    if weights.shape != (classes,):
        raise ValueError(
            f"{name} has shape {weights.shape}; it must be ({classes},), one per class"
        )
    return weights


def choice(value: object, allowed: tuple[object, ...], *, name: str) -> None:
    """Raise ValueError naming the allowed values if an option is not among them."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}; it must be one of {', '.join(map(repr, allowed))}")
