"""Resampling of images at arbitrary points, differentiable in image and coordinates."""

from __future__ import annotations

import functools
import itertools
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmed.core import Array
from jaxmed.ops._boundary import Mode, check_mode, extend
from jaxmed.ops._check import spatial_rank
from jaxmed.ops._grid import identity_grid
from jaxmed.ops._interpolate import EDGE, displaced, interpolate

# scipy.ndimage pads by this much before it filters where no exact boundary condition exists.
_PREPAD = 12

Method = Literal["linear", "nearest", "cubic"]


def resample(
    image: Array,
    coordinates: Array,
    *,
    method: Method = "linear",
    mode: Mode = "constant",
    cval: float = 0.0,
    prefilter: bool = True,
) -> Array:
    """Interpolate an image at arbitrary points.

    ``y(p) = sum_k w(p - k) x[k]`` with the B-spline ``w`` of order 0 (nearest), 1 (linear) or 3
    (cubic, interpolating: the image is converted to spline coefficients first). Equal to
    ``scipy.ndimage.map_coordinates`` in every mode.

    Args:
        image: ``(*spatial, channels)``. Use ``jax.vmap`` for batches.
        coordinates: ``(*out, ndim)`` in voxels; voxel centres are whole numbers.
        method: ``"linear"``, ``"nearest"`` or ``"cubic"``.
        mode: boundary mode, as in ``scipy.ndimage``: ``"constant"``, ``"grid-constant"``,
            ``"nearest"``, ``"reflect"``, ``"mirror"``, ``"wrap"``, ``"grid-wrap"``.
        cval: the value outside for the two constant modes.
        prefilter: convert the image to spline coefficients first (``"cubic"`` only); pass False
            for an image that :func:`spline_prefilter` has been applied to with the same mode.

    Returns:
        ``(*out, channels)``: the dtype of ``image``, or the coordinates' for integer images
        unless ``method="nearest"``, which keeps it.

    Raises:
        ValueError: if ranks do not agree or an option is unknown.

    References:
        Unser, Splines: a perfect fit for signal and image processing, IEEE Signal Processing
        Magazine 16(6), 1999.

    Examples:
        >>> import jax.numpy as jnp
        >>> line = jnp.array([0.0, 10.0, 20.0])[:, None]
        >>> resample(line, jnp.array([[0.5], [1.25]])).ravel().tolist()
        [5.0, 12.5]
    """
    image, coordinates = jnp.asarray(image), jnp.asarray(coordinates)
    ndim = spatial_rank("image", image.shape, leading=0)
    if coordinates.ndim < 1 or coordinates.shape[-1] != ndim:
        raise ValueError(
            f"coordinates must be (*out, {ndim}) for an image of shape {image.shape}, got "
            f"{coordinates.shape}"
        )
    if 0 in image.shape:
        raise ValueError(f"image of shape {image.shape} is empty")
    mode = check_mode(mode)
    if not jnp.issubdtype(coordinates.dtype, jnp.floating):
        coordinates = coordinates.astype(jnp.float32)
    if not jnp.issubdtype(image.dtype, jnp.inexact) and method != "nearest":
        image = image.astype(coordinates.dtype)
    if method == "linear":
        return interpolate(image, coordinates, mode=mode, cval=cval)
    original = image.shape[:-1]
    shift = 0
    if method == "cubic":
        if mode in ("nearest", "grid-constant"):
            shift = _PREPAD
        if prefilter:
            image = spline_prefilter(image, mode=mode, cval=cval)
        elif shift:
            original = tuple(n - 2 * shift for n in original)
    elif method != "nearest":
        raise ValueError(f"method={method!r}; expected 'linear', 'nearest' or 'cubic'")
    return _read(image, coordinates, original, shift, method, mode, cval)


def warp(
    image: Array,
    displacement: Array,
    *,
    method: Method = "linear",
    mode: Mode = "constant",
    cval: float = 0.0,
) -> Array:
    """Deform an image by a displacement field: ``y[o] = x(o + u[o])``.

    Args:
        image: ``(*spatial, channels)``. Use ``jax.vmap`` for batches.
        displacement: ``(*out, ndim)`` in voxels.
        method: as in :func:`resample`.
        mode: as in :func:`resample`.
        cval: as in :func:`resample`.

    Returns:
        ``(*out, channels)``.

    Raises:
        ValueError: if the field does not have one displacement per axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> warp(jnp.arange(3.0)[:, None], jnp.ones((2, 1))).ravel().tolist()
        [1.0, 2.0]
    """
    displacement = jnp.asarray(displacement)
    ndim = spatial_rank("image", jnp.shape(image), leading=0)
    if displacement.ndim != ndim + 1 or displacement.shape[-1] != ndim:
        raise ValueError(
            f"displacement must be (*spatial, {ndim}) for an image of shape {jnp.shape(image)}, "
            f"got {displacement.shape}"
        )
    if not jnp.issubdtype(displacement.dtype, jnp.floating):
        displacement = displacement.astype(jnp.float32)
    if method == "linear" and jnp.issubdtype(jnp.result_type(image), jnp.inexact):
        image, known = jnp.asarray(image), check_mode(mode)
        if 0 not in image.shape:
            return displaced(image, displacement, mode=known, cval=cval)
    grid = identity_grid(displacement.shape[:-1], dtype=displacement.dtype)
    return resample(image, grid + displacement, method=method, mode=mode, cval=cval)


def spline_prefilter(image: Array, *, mode: Mode = "mirror", cval: float = 0.0) -> Array:
    """Compute the cubic B-spline coefficients of an image, ``(*spatial, channels)``.

    Solves ``(c[i-1] + 4 c[i] + c[i+1]) / 6 = x[i]`` along every axis. The inverse matrix depends
    on the axis length alone, so it is computed once in float64 and applied as one product: exact,
    parallel, and its gradient is its transpose. The modes ``"nearest"`` and ``"grid-constant"``
    first pad by 12 voxels, as SciPy does.

    Examples:
        >>> import jax.numpy as jnp
        >>> spline_prefilter(jnp.ones((5, 1))).ravel().round(5).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    mode = check_mode(mode)
    ndim = spatial_rank("image", image.shape, leading=0)
    if not jnp.issubdtype(image.dtype, jnp.inexact):
        image = image.astype(jnp.float32)
    if mode in ("nearest", "grid-constant"):
        pads = [(_PREPAD, _PREPAD)] * ndim + [(0, 0)]
        if mode == "nearest":
            image = jnp.pad(image, pads, mode="edge")
        else:
            image = jnp.pad(image, pads, constant_values=cval)
    boundary = {"reflect": "reflect", "nearest": "reflect", "grid-wrap": "grid-wrap"}.get(
        mode, "mirror"
    )
    for axis in range(ndim):
        if image.shape[axis] > 1:
            matrix = jnp.asarray(_spline_inverse(image.shape[axis], boundary), image.dtype)
            image = jnp.moveaxis(
                jnp.tensordot(matrix, image, (1, axis), precision=lax.Precision.HIGHEST), 0, axis
            )
    return image


@functools.lru_cache(maxsize=64)
def _spline_inverse(size: int, boundary: str) -> np.ndarray:
    rows = np.arange(size)
    matrix = np.zeros((size, size))
    for offset, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
        np.add.at(matrix, (rows, extend(rows + offset, size, boundary)), weight)
    return np.linalg.inv(matrix)


def _read(
    image: Array,
    coordinates: Array,
    original: tuple[int, ...],
    shift: int,
    method: str,
    mode: str,
    cval: float,
) -> Array:
    """Sum over the weighted taps of each point; ``shift`` is padding already added to the image."""
    ndim, dtype = len(original), coordinates.dtype
    weight_dtype = image.dtype if jnp.issubdtype(image.dtype, jnp.inexact) else dtype
    inside = None
    axes = []  # per axis: list of (index * stride, weight, valid)
    stride = 1
    for axis in reversed(range(ndim)):
        size = image.shape[axis]
        x = coordinates[..., axis]
        if mode == "constant":
            n = original[axis]
            here = (x >= -EDGE) & (x <= n - 1 + EDGE)
            inside = here if inside is None else inside & here
        elif mode == "wrap":  # SciPy's "wrap" has period size - 1; "grid-wrap" is the true one
            period = max(original[axis] - 1, 1)
            wrapped = x - period * jnp.floor(x / period)
            x = jnp.where((x < 0) | (x > period), wrapped, x)
        elif mode == "nearest":
            # Far points would overflow int32, and everything beyond the prepadded edge is constant.
            x = jnp.clip(x, -shift, original[axis] - 1 + shift)
        taps = []
        for index, weight in _weights(x, method):
            index = index + shift
            valid = (index >= 0) & (index < size) if mode == "grid-constant" else None
            index = extend(index, size, "mirror" if mode in ("constant", "wrap") else mode)
            taps.append((index * stride, weight, valid))
        axes.append(taps)
        stride *= size
    flat = image.reshape(-1, image.shape[-1])
    total = None
    for combination in itertools.product(*axes):
        index = functools.reduce(jnp.add, (c[0] for c in combination))
        value = jnp.take(flat, index, axis=0, mode="clip")
        if mode == "grid-constant":
            valid = functools.reduce(jnp.logical_and, (c[2] for c in combination))
            value = jnp.where(valid[..., None], value, jnp.asarray(cval, image.dtype))
        weights = [c[1] for c in combination if c[1] is not None]
        if weights:
            weight = functools.reduce(jnp.multiply, weights).astype(weight_dtype)
            value = value * weight[..., None]
        total = value if total is None else total + value
    assert total is not None  # every axis has taps
    if inside is not None:
        total = jnp.where(inside[..., None], total, jnp.asarray(cval, image.dtype))
    return total


def _weights(x: Array, method: str) -> list[tuple[Array, Array | None]]:
    """Compute the integer position and weight of every tap along one axis."""
    if method == "nearest":
        return [(jnp.floor(lax.stop_gradient(x) + 0.5).astype(jnp.int32), None)]
    floor = jnp.floor(lax.stop_gradient(x))
    t, base = x - floor, floor.astype(jnp.int32)
    s = 1 - t
    return [
        (base - 1, s**3 / 6),
        (base, (4 - 6 * t**2 + 3 * t**3) / 6),
        (base + 1, (4 - 6 * s**2 + 3 * s**3) / 6),
        (base + 2, t**3 / 6),
    ]
