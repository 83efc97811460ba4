"""Upsampling by integer factors: nearest and linear, any number of axes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmed.core import Array
from jaxmed.ops._check import per_axis, spatial_rank


def upsample(x: Array, factor: int | Sequence[int], *, method: str = "linear") -> Array:
    """Enlarge every spatial axis by an integer factor, with half-pixel centres.

    ``linear`` equals ``jax.image.resize(..., "linear")`` and PyTorch's
    ``align_corners=False``; ``nearest`` repeats each voxel.

    Args:
        x: ``(batch, *spatial, channels)``.
        factor: integer scale, one or one per axis.
        method: ``"linear"`` or ``"nearest"``.

    Returns:
        ``(batch, *(spatial * factor), channels)``, the dtype of ``x``.

    Raises:
        ValueError: if the factor is not a positive integer or the method is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> upsample(jnp.array([0.0, 4.0]).reshape(1, 2, 1), 2).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    ndim = spatial_rank("x", x.shape)
    factor = per_axis("factor", factor, ndim)
    if method == "nearest":
        blocks = jnp.expand_dims(x, tuple(range(2, 2 + 2 * ndim, 2)))
        shape = [x.shape[0]]
        for n, f in zip(x.shape[1:-1], factor, strict=True):
            shape += [n, f]
        out = [n * f for n, f in zip(x.shape[1:-1], factor, strict=True)]
        return jnp.broadcast_to(blocks, (*shape, x.shape[-1])).reshape(
            x.shape[0], *out, x.shape[-1]
        )
    if method == "linear":
        return _linear(x, factor)
    raise ValueError(f"method={method!r}; expected 'linear' or 'nearest'")


# The forward pass uses phases, the derivative one small matrix per axis: on CPU the transpose of
# the phases is seven times slower than that of the matrices (66 ms against 10 ms at
# 2x48x64x48x16), but the phases themselves are four times faster.
@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _linear(x: Array, factor: tuple[int, ...]) -> Array:
    for axis in range(len(factor), 0, -1):
        if factor[axis - 1] > 1:
            x = lax.optimization_barrier(_phases(x, axis, factor[axis - 1]))
    return x


@_linear.defjvp
def _linear_jvp(factor: tuple[int, ...], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    for axis, f in enumerate(factor, 1):
        if f > 1:
            matrix = jnp.asarray(_matrix(x.shape[axis], f), x.dtype)
            dx = jnp.moveaxis(
                jnp.tensordot(matrix, dx, (1, axis), precision=lax.Precision.HIGHEST), 0, axis
            )
    return _linear(x, factor), dx


def _offsets(factor: int) -> np.ndarray:
    """Offsets of the ``factor`` new voxels from the centre of their old voxel, in old voxels."""
    return (np.arange(factor) + 0.5) / factor - 0.5


def _phases(x: Array, axis: int, factor: int) -> Array:
    n = x.shape[axis]
    first, last = (lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, n - 1))
    before = lax.concatenate([first, lax.slice_in_dim(x, 0, n - 1, axis=axis)], axis)
    after = lax.concatenate([lax.slice_in_dim(x, 1, n, axis=axis), last], axis)
    phases = [
        (1 - abs(float(o))) * x + abs(float(o)) * (before if o < 0 else after)
        for o in _offsets(factor)
    ]
    shape = (*x.shape[:axis], n * factor, *x.shape[axis + 1 :])
    return jnp.stack(phases, axis + 1).reshape(shape)


@functools.cache
def _matrix(n: int, factor: int) -> np.ndarray:
    matrix = np.zeros((n, factor, n))
    rows = np.arange(n)
    for phase, offset in enumerate(_offsets(factor)):
        matrix[rows, phase, rows] += 1 - abs(offset)
        matrix[rows, phase, np.clip(rows + int(np.sign(offset)), 0, n - 1)] += abs(offset)
    return matrix.reshape(n * factor, n)
