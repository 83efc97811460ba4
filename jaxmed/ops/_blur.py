"""Gaussian smoothing, one axis after another."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import DTypeLike

from jaxmed.core import Array
from jaxmed.ops._boundary import Mode, check_mode, extend
from jaxmed.ops._check import per_axis, spatial_rank

# Below this length one dense product per axis beats the sum of shifted slices on CPU.
_DENSE = 320


def gaussian_blur(
    x: Array,
    sigma: float | Array | Sequence[float],
    *,
    truncate: float = 4.0,
    radius: int | Sequence[int] | None = None,
    mode: Mode = "reflect",
    cval: float = 0.0,
) -> Array:
    """Convolve with a Gaussian along every spatial axis.

    ``w_k = exp(-k^2 / (2 sigma^2)) / sum``, ``|k| <= radius``. Equal to
    ``scipy.ndimage.gaussian_filter``; differentiable in ``x`` and in ``sigma``.

    Args:
        x: ``(batch, *spatial, channels)``.
        sigma: standard deviation in voxels, one or one per axis; 0 leaves the axis alone. It may
            be traced (drawn inside ``jit``), and then ``radius`` is needed.
        truncate: radius in standard deviations, where ``radius`` is None.
        radius: radius of the filter in voxels, one or one per axis.
        mode: boundary, as in ``scipy.ndimage``.
        cval: the value outside, for the constant modes.

    Returns:
        The shape and dtype of ``x``.

    Raises:
        ValueError: if ``sigma`` is negative, does not fit the axes, or is traced without a radius.

    Examples:
        >>> import jax.numpy as jnp
        >>> y = gaussian_blur(jnp.zeros((1, 9, 1)).at[0, 4, 0].set(1.0), 1.0)
        >>> round(float(y[0, 4, 0]), 4)
        0.3989
    """
    ndim = spatial_rank("x", x.shape)
    mode = check_mode(mode)
    alike: dict[Mode, Mode] = {"grid-constant": "constant", "wrap": "grid-wrap"}
    mode = alike.get(mode, mode)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
    x = x.astype(dtype)
    traced = any(isinstance(s, Tracer) for s in jax.tree.leaves(sigma))
    if traced:
        if radius is None:
            raise ValueError("sigma is traced, so its radius is unknown: pass radius= in voxels")
        sigmas = jnp.broadcast_to(jnp.asarray(sigma, dtype), (ndim,))
        radii = per_axis("radius", radius, ndim, least=0)
    else:
        values = np.asarray(sigma, np.float64)
        if values.ndim > 1 or values.size not in (1, ndim):
            raise ValueError(f"sigma of shape {values.shape} for {ndim} spatial axes")
        sigmas = np.broadcast_to(values, (ndim,))
        if not (np.isfinite(sigmas).all() and (sigmas >= 0).all()):
            raise ValueError(f"sigma={sigma!r} must be finite and not negative")
        if radius is None:
            radii = tuple(int(truncate * s + 0.5) for s in sigmas)
        else:
            radii = per_axis("radius", radius, ndim, least=0)
    for axis in range(ndim):
        if radii[axis] and (traced or sigmas[axis] > 0):
            weights = _weights(sigmas[axis], radii[axis], dtype)
            x = _along(x, axis + 1, weights, radii[axis], mode, cval)
    return x


def _weights(sigma: Array | np.floating, radius: int, dtype: DTypeLike) -> Array | np.ndarray:
    xp = jnp if isinstance(sigma, jax.Array) else np
    k = np.arange(-radius, radius + 1)
    # sigma = 0 gives the identity, with a finite gradient.
    safe = xp.maximum(sigma, 1e-3)
    weights = xp.exp(-0.5 * (k / safe) ** 2)
    return (weights / weights.sum()).astype(dtype)


def _along(
    x: Array, axis: int, weights: Array | np.ndarray, radius: int, mode: str, cval: float
) -> Array:
    n = x.shape[axis]
    source = np.arange(n)[:, None] + np.arange(-radius, radius + 1)
    outside = (source < 0) | (source >= n)
    index = extend(source, n, mode)
    if n <= _DENSE:
        used = jnp.broadcast_to(jnp.asarray(weights), source.shape)
        if mode == "constant":
            used = jnp.where(outside, 0, used)
        matrix = jnp.zeros((n, n), x.dtype).at[np.arange(n)[:, None], index].add(used)
        y = jnp.tensordot(matrix, x, (1, axis), precision=lax.Precision.HIGHEST)
        y = jnp.moveaxis(y, 0, axis)
        if mode == "constant" and cval:
            lost = (jnp.asarray(weights) * outside).sum(1)
            y = y + cval * lost.reshape([n if a == axis else 1 for a in range(x.ndim)])
        return y
    pads = [(radius, radius) if a == axis else (0, 0) for a in range(x.ndim)]
    if mode == "constant":
        padded = jnp.pad(x, pads, constant_values=cval)
    else:
        padded = jnp.take(x, extend(np.arange(-radius, n + radius), n, mode), axis=axis)
    total = 0
    for k in range(2 * radius + 1):
        total = total + weights[k] * lax.slice_in_dim(padded, k, k + n, axis=axis)
    return jnp.asarray(total)
