"""Sums over a window about every voxel, one axis after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike

from jaxmed.core import Array
from jaxmed.ops._check import per_axis, spatial_rank

_window_sum = jex.Primitive("jaxmed_window_sum")


def window_sum(x: ArrayLike, window: int | Sequence[int]) -> Array:
    """Sum over the window centred at every voxel; beyond the border is 0.

    No running sums: each window is added up for itself, so nothing cancels and float32 is enough.
    It is its own transpose, so a derivative costs as much.

    Args:
        x: ``(batch, *spatial, channels)``.
        window: edge lengths in voxels, one or one per axis, odd.

    Returns:
        The shape of ``x``, floating.

    Raises:
        ValueError: if a length is even or does not fit the axes.

    Examples:
        >>> window_sum(jnp.ones((1, 4, 1)), 3).ravel().tolist()
        [2.0, 3.0, 3.0, 2.0]
    """
    x = jnp.asarray(x)
    ndim = spatial_rank("x", x.shape)
    window = per_axis("window", window, ndim)
    if any(w % 2 == 0 for w in window):
        raise ValueError(f"window={window!r}: a window about a voxel has odd lengths")
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(jnp.float32)
    return _window_sum.bind(x, window=window)


def _pure(x: Array, *, window: tuple[int, ...]) -> Array:
    for axis, width in enumerate(window, 1):
        if width > 1:
            x = _along(x, axis, width)
    return x


def _along(x: Array, axis: int, width: int) -> Array:
    n, radius = x.shape[axis], width // 2
    total = jnp.pad(x, [(radius, radius) if a == axis else (0, 0) for a in range(x.ndim)])
    # The width as a sum of powers of 2: partial sums of 1, 2, 4, ... voxels are doubled.
    y, done, step = None, 0, 1
    while True:
        if width & step:
            part = lax.slice_in_dim(total, done, done + n, axis=axis)
            y, done = part if y is None else y + part, done + step
        if 2 * step > width:
            break
        length = total.shape[axis] - step
        total = lax.slice_in_dim(total, 0, length, axis=axis) + lax.slice_in_dim(
            total, step, step + length, axis=axis
        )
        step *= 2
    assert y is not None  # the width is 1 or more
    return y


# A primitive, so that XLA is not given the transposes of slices, which take it ten times as long:
# a window about a voxel is its own transpose.


def _batch(operands: Any, axes: Any, **params: Any) -> tuple[Array, int]:
    (x,), (axis,) = operands, axes
    x = jnp.moveaxis(x, axis, 0)
    y = _window_sum.bind(x.reshape(-1, *x.shape[2:]), **params)
    return y.reshape(x.shape), 0


_window_sum.def_impl(jax.jit(_window_sum.bind, static_argnames="window"))
_window_sum.def_abstract_eval(lambda x, *, window: x.update(weak_type=False))
ad.deflinear2(_window_sum, lambda cotangent, _, **params: [_window_sum.bind(cotangent, **params)])
batching.primitive_batchers[_window_sum] = _batch
mlir.register_lowering(_window_sum, mlir.lower_fun(_pure, False))
