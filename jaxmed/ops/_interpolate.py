"""Linear interpolation as a family of primitives, closed under differentiation.

Along one axis a point reads two voxels with the weights ``(1 - t, t)``, and the derivative along
that axis reads the same two with ``(-1, 1)``. A *set* of axes says along which of them the
derivative is taken; none, for the value.

=========  =====================  ============================================
primitive  operands               meaning
=========  =====================  ============================================
read       image, points          the value and derivatives of given sets
put        values, points         its adjoint: adds each value into its cell
tilt       image, along, points   the derivative along a direction at each point
slope      image, values, points  its adjoint: of values, the slope at each point
move       image, displacements   the value at each place of a grid, displaced
=========  =====================  ============================================

`read` and `put` are linear in their first operand and each other's transpose; `tilt` and `slope`,
linear in their first two, are each other's transpose in the second, and `put` in the first. The
derivative in the points is a `tilt`, or a `read` with one more axis in its sets (a second
derivative along one axis is 0). `move` is a `read` whose points need no memory, and its derivatives
are that one's. So all are differentiable to every order, in either mode, and none
scatters but the derivative in the image, which has to.

All operands have one rank: images ``(batch, *spatial, channels)``, points and directions
``(batch, *out, rank)``, values ``(batch, *out, sets * channels)``; a batch of 1 serves all of the
others'.
"""

from __future__ import annotations

import functools
import itertools
from functools import partial
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import ad, batching, mlir

from jaxmed.core import Array
from jaxmed.ops._boundary import extend
from jaxmed.ops._grid import identity_grid
from jaxmed.ops.convolution import _native as native
from jaxmed.ops.convolution._partition import needs_devices
from jaxmed.ops.convolution._primitive import divided, same_varying

# float32 coordinates of an identity map miss the edge by rounding; SciPy computes in float64.
EDGE = 1e-4

Sets = tuple[int, ...]
"""Sets of axes: bit ``a`` is set where the derivative along axis ``a`` is taken."""

_VALUE: Sets = (0,)
# As the native kernel numbers them.
_NUMBERS = {"constant": 0, "nearest": 1, "reflect": 2, "mirror": 3, "wrap": 4, "grid-wrap": 5}

_read = jex.Primitive("jaxmed_read_points")
_put = jex.Primitive("jaxmed_put_points")
_tilt = jex.Primitive("jaxmed_tilt_points")
_slope = jex.Primitive("jaxmed_slope_points")
_move = jex.Primitive("jaxmed_move_points")


def interpolate(image: Array, points: Array, *, mode: str, cval: float | Array) -> Array:
    """Interpolate an image linearly at points.

    Args:
        image: ``(*spatial, channels)``, floating or complex.
        points: ``(*out, rank)``, floating, in voxels.
        mode: a canonical boundary mode.
        cval: the value outside for the two constant modes.

    Returns:
        ``(*out, channels)``, of the image's type.
    """
    rank, out = image.ndim - 1, points.shape[:-1]
    if mode == "grid-constant":  # one voxel of it on every side, and that goes on for ever
        image = jnp.pad(image, [(1, 1)] * rank + [(0, 0)], constant_values=cval)
        points, mode = points + 1, "nearest"
    if jnp.iscomplexobj(image):
        parts = jnp.concatenate([image.real, image.imag], -1)
        y = lax.complex(*jnp.split(interpolate(parts, points, mode=mode, cval=0), 2, -1))
        return y if mode != "constant" or _is_zero(cval) else _outside(y, points, image, cval)
    # One rank for all operands: results can then reuse their sharding types.
    within = out if len(out) == rank else (int(np.prod(out)), *(1,) * (rank - 1))
    placed = points.reshape(1, *within, rank)
    y = _bind_read(image[None], placed, sets=_VALUE, mode=mode).reshape(*out, image.shape[-1])
    return y if mode != "constant" or _is_zero(cval) else _outside(y, points, image, cval)


def displaced(image: Array, displacement: Array, *, mode: str, cval: float | Array) -> Array:
    """Interpolate an image linearly at the places of a grid, each moved by a displacement.

    Args:
        image: ``(*spatial, channels)``, floating or complex.
        displacement: ``(*out, rank)``, floating, in voxels, of as many axes as the image.
        mode: as in :func:`interpolate`.
        cval: likewise.

    Returns:
        ``(*out, channels)``, of the image's type.
    """
    plain = mode != "grid-constant" and (mode != "constant" or _is_zero(cval))
    if not plain or jnp.iscomplexobj(image):
        return interpolate(image, _placed(displacement[None])[0], mode=mode, cval=cval)
    return _bind(_move, image[None], displacement[None], mode=mode)[0]


def _placed(displacement: Array) -> Array:
    """The points of displacements, ``(batch, *out, rank)``."""
    return identity_grid(displacement.shape[1:-1], dtype=displacement.dtype) + displacement


def _is_zero(cval: Any) -> bool:
    return isinstance(cval, int | float) and cval == 0


def _outside(y: Array, points: Array, image: Array, cval: Any) -> Array:
    """Put a constant where points lie outside of the image."""
    last = jnp.asarray([n - 1 for n in image.shape[:-1]], points.dtype)
    inside = ((points >= -EDGE) & (points <= last + EDGE)).all(-1, keepdims=True)
    return jnp.where(inside, y, jnp.asarray(cval, y.dtype))


def _bind(primitive: Any, *operands: Array, **params: Any) -> Array:
    return primitive.bind(*same_varying(*operands), **params)


_bind_read, _bind_put = partial(_bind, _read), partial(_bind, _put)
_bind_tilt, _bind_slope = partial(_bind, _tilt), partial(_bind, _slope)


def _singles(rank: int) -> Sets:
    return tuple(1 << axis for axis in range(rank))


def _slopes(image: Array, points: Array, mode: str) -> Array:
    """The derivatives along all axes, ``(batch, *out, rank, channels)``."""
    rank = points.shape[-1]
    read = _bind_read(image, points, sets=_singles(rank), mode=mode)
    return read.reshape(*read.shape[:-1], rank, image.shape[-1])


# The forms in plain JAX.


def _places(points: Array, spatial: tuple[int, ...], mode: str) -> tuple[list, Array | None]:
    """Find, for each axis, two of ``(index, weight, weight of the derivative)``, and the inside."""
    inside = None
    axes = []
    for axis, size in enumerate(spatial):
        x = points[..., axis]
        slope: Any = 1.0
        if mode == "constant":
            here = (x >= -EDGE) & (x <= size - 1 + EDGE)
            inside = here if inside is None else inside & here
        elif mode == "wrap":  # SciPy's "wrap" has period size - 1; "grid-wrap" is the true one
            period = max(size - 1, 1)
            wrapped = x - period * jnp.floor(x / period)
            x = jnp.where((x < 0) | (x > period), wrapped, x)
        elif mode == "nearest":  # far points would overflow int32
            slope = ((x >= 0) & (x <= size - 1)).astype(x.dtype)
            x = jnp.clip(x, 0, size - 1)
        floor = jnp.floor(x)
        t, base = x - floor, floor.astype(jnp.int32)
        taps = []
        for index, weight, sign in ((base, 1 - t, -slope), (base + 1, t, slope)):
            index = extend(index, size, "mirror" if mode in ("constant", "wrap") else mode)
            taps.append((index, weight, jnp.broadcast_to(sign, t.shape)))
        axes.append(taps)
    return axes, inside


def _corners(points: Array, spatial: tuple[int, ...], sets: Sets, mode: str, dtype: Any) -> Any:
    """Return each corner's index into the voxels and its weight in every set, and the inside."""
    axes, inside = _places(points, spatial, mode)
    strides = np.cumprod([1, *spatial[:0:-1]])[::-1]
    found = []
    for corner in itertools.product(*axes):
        index = functools.reduce(
            jnp.add, (tap[0] * int(stride) for tap, stride in zip(corner, strides, strict=True))
        )
        weights = []
        for chosen in sets:
            parts = (tap[1 + (chosen >> axis & 1)] for axis, tap in enumerate(corner))
            weights.append(functools.reduce(jnp.multiply, parts).astype(dtype)[..., None])
        found.append((index, weights))
    return found, inside


def _pure_read(image: Array, points: Array, *, sets: Sets, mode: str) -> Array:
    spatial = image.shape[:-1]
    flat = image.reshape(-1, image.shape[-1])
    corners, inside = _corners(points, spatial, sets, mode, image.dtype)
    total: list[Any] = [None] * len(sets)
    for index, weights in corners:
        value = jnp.take(flat, index, axis=0, mode="clip")
        for s, weight in enumerate(weights):
            total[s] = value * weight if total[s] is None else total[s] + value * weight
    out = total[0] if len(sets) == 1 else jnp.concatenate(total, -1)
    return out if inside is None else jnp.where(inside[..., None], out, 0)


def _pure_put(
    values: Array, points: Array, *, sets: Sets, mode: str, spatial: tuple[int, ...]
) -> Array:
    channels = values.shape[-1] // len(sets)
    corners, inside = _corners(points, spatial, sets, mode, values.dtype)
    if inside is not None:
        values = jnp.where(inside[..., None], values, 0)
    parts = jnp.split(values, len(sets), -1)
    empty = jnp.zeros((int(np.prod(spatial)), channels), values.dtype)
    flat, _ = same_varying(empty, values)
    for index, weights in corners:
        added = functools.reduce(jnp.add, (w * v for w, v in zip(weights, parts, strict=True)))
        flat = flat.at[index.ravel()].add(added.reshape(-1, channels), mode="drop")
    return flat.reshape(*spatial, channels)


def _over_batch(function: Any, *operands: Array) -> Array:
    axes = tuple(None if a.shape[0] == 1 else 0 for a in operands)
    each = [a[0] if axis is None else a for a, axis in zip(operands, axes, strict=True)]
    if set(axes) == {None}:
        return function(*each)[None]
    return jax.vmap(function, axes)(*each)


def _run_pure_read(image: Array, points: Array, **params: Any) -> Array:
    return _over_batch(partial(_pure_read, **params), image, points)


def _run_pure_move(image: Array, displacement: Array, *, mode: str) -> Array:
    return _run_pure_read(image, _placed(displacement), sets=_VALUE, mode=mode)


def _run_pure_put(values: Array, points: Array, **params: Any) -> Array:
    return _over_batch(partial(_pure_put, **params), values, points)


def _run_pure_tilt(image: Array, along: Array, points: Array, *, mode: str) -> Array:
    return (_slopes(image, points, mode) * along[..., None].astype(image.dtype)).sum(-2)


def _run_pure_slope(image: Array, values: Array, points: Array, *, mode: str) -> Array:
    return (_slopes(image, points, mode) * values[..., None, :]).sum(-1).astype(points.dtype)


# The native forms.


def _attributes(sets: Sets, mode: str) -> dict[str, Any]:
    return {"sets": np.asarray(sets, np.int64), "mode": np.int64(_NUMBERS[mode])}


def _native_read(
    image: Array, points: Array, *, sets: Sets, mode: str, moved: bool = False
) -> Array:
    shape = _read_shape(image.shape, points.shape, sets)
    call = jax.ffi.ffi_call("jaxmed_read_points", jax.ShapeDtypeStruct(shape, jnp.float32))
    return call(image, points, **_attributes(sets, mode), moved=moved)


def _native_move(image: Array, displacement: Array, *, mode: str) -> Array:
    return _native_read(image, displacement, sets=_VALUE, mode=mode, moved=True)


def _native_put(
    values: Array, points: Array, *, sets: Sets, mode: str, spatial: tuple[int, ...]
) -> Array:
    shape = _put_shape(values.shape, points.shape, sets, spatial)
    call = jax.ffi.ffi_call("jaxmed_put_points", jax.ShapeDtypeStruct(shape, jnp.float32))
    return call(values, points, **_attributes(sets, mode))


def _native_tilt(
    image: Array, other: Array, points: Array, *, mode: str, sloping: bool = False
) -> Array:
    shape = _tilt_shape(image.shape, other.shape, points.shape, sloping)
    call = jax.ffi.ffi_call("jaxmed_tilt_points", jax.ShapeDtypeStruct(shape, jnp.float32))
    return call(image, other, points, mode=np.int64(_NUMBERS[mode]), sloping=sloping)


def _lower_cpu(
    pure: Any, fast: Any, context: mlir.LoweringRuleContext, *operands: Any, **params: Any
) -> Any:
    avals: Any = context.avals_in
    single = all(aval.dtype == jnp.float32 for aval in avals)
    rank = avals[-1].shape[-1]
    # XLA cannot partition a foreign call among devices, but it can partition plain JAX.
    missing = divided(context) or not single or rank > 3 or isinstance(native.library(), str)
    run = pure if missing else fast
    return mlir.lower_fun(partial(run, **params), False)(context, *operands)


# The rules.


def _read_shape(image: tuple, points: tuple, sets: Sets) -> tuple[int, ...]:
    return (max(image[0], points[0]), *points[1:-1], len(sets) * image[-1])


def _put_shape(values: tuple, points: tuple, sets: Sets, spatial: tuple) -> tuple[int, ...]:
    return (max(values[0], points[0]), *spatial, values[-1] // len(sets))


def _tilt_shape(image: tuple, other: tuple, points: tuple, sloping: bool) -> tuple[int, ...]:
    last = points[-1] if sloping else image[-1]
    return (max(image[0], other[0], points[0]), *points[1:-1], last)


def _read_abstract(image: Any, points: Any, *, sets: Sets, mode: str) -> Any:
    del mode
    return image.update(shape=_read_shape(image.shape, points.shape, sets), weak_type=False)


def _move_abstract(image: Any, displacement: Any, *, mode: str) -> Any:
    return _read_abstract(image, displacement, sets=_VALUE, mode=mode)


def _put_abstract(values: Any, points: Any, *, sets: Sets, mode: str, spatial: tuple) -> Any:
    del mode
    shape = _put_shape(values.shape, points.shape, sets, spatial)
    return values.update(shape=shape, weak_type=False)


def _tilt_abstract(image: Any, along: Any, points: Any, *, mode: str) -> Any:
    del mode
    shape = _tilt_shape(image.shape, along.shape, points.shape, False)
    return image.update(shape=shape, weak_type=False)


def _slope_abstract(image: Any, values: Any, points: Any, *, mode: str) -> Any:
    del mode
    shape = _tilt_shape(image.shape, values.shape, points.shape, True)
    return points.update(shape=shape, weak_type=False)


def _steeper(sets: Sets, rank: int) -> tuple[list[tuple[int, int]], Sets]:
    """Pairs of a set's position and an axis that is not in it, and the sets with that axis."""
    pairs = [(s, a) for s, chosen in enumerate(sets) for a in range(rank) if not chosen >> a & 1]
    return pairs, tuple(sets[s] | 1 << a for s, a in pairs)


def _read_jvp(primals: Any, tangents: Any, *, sets: Sets, mode: str) -> tuple[Array, Any]:
    (image, points), (d_image, d_points) = primals, tangents
    rank, channels = points.shape[-1], image.shape[-1]
    pairs, steeper = _steeper(sets, rank)
    if isinstance(d_points, ad.Zero) or not pairs:
        out = _bind_read(image, points, sets=sets, mode=mode)
        tangent = None
    elif sets == _VALUE:
        out = _bind_read(image, points, sets=sets, mode=mode)
        tangent = _bind_tilt(image, d_points, points, mode=mode)
    else:
        every = _bind_read(image, points, sets=sets + steeper, mode=mode)
        split = len(sets) * channels
        out = every[..., :split]
        slopes = every[..., split:].reshape(*every.shape[:-1], len(pairs), channels)
        parts: list[Any] = [jnp.zeros((), out.dtype)] * len(sets)
        for i, (s, a) in enumerate(pairs):
            parts[s] = parts[s] + slopes[..., i, :] * d_points[..., a, None].astype(out.dtype)
        shape = (*out.shape[:-1], channels)
        tangent = jnp.concatenate([jnp.broadcast_to(part, shape) for part in parts], -1)
    if not isinstance(d_image, ad.Zero):
        along = _bind_read(d_image, points, sets=sets, mode=mode)
        tangent = along if tangent is None else tangent + along
    return out, _no_tangent(out) if tangent is None else tangent


def _move_jvp(primals: Any, tangents: Any, *, mode: str) -> tuple[Array, Any]:
    (image, displacement), (d_image, d_displacement) = primals, tangents
    out = _bind(_move, image, displacement, mode=mode)
    terms = []
    if not isinstance(d_displacement, ad.Zero):
        points = _placed(displacement)
        terms.append(_bind_tilt(image, d_displacement, points, mode=mode))
    if not isinstance(d_image, ad.Zero):
        terms.append(_bind(_move, d_image, displacement, mode=mode))
    return out, functools.reduce(jnp.add, terms) if terms else _no_tangent(out)


def _put_jvp(
    primals: Any, tangents: Any, *, sets: Sets, mode: str, spatial: tuple[int, ...]
) -> tuple[Array, Any]:
    (values, points), (d_values, d_points) = primals, tangents
    rank, channels = points.shape[-1], values.shape[-1] // len(sets)
    out = _bind_put(values, points, sets=sets, mode=mode, spatial=spatial)
    pairs, steeper = _steeper(sets, rank)
    tangent = None
    if not isinstance(d_points, ad.Zero) and pairs:
        parts = [
            values[..., s * channels : (s + 1) * channels]
            * d_points[..., a, None].astype(values.dtype)
            for s, a in pairs
        ]
        moved = jnp.concatenate(parts, -1)
        tangent = _bind_put(moved, points, sets=steeper, mode=mode, spatial=spatial)
    if not isinstance(d_values, ad.Zero):
        along = _bind_put(d_values, points, sets=sets, mode=mode, spatial=spatial)
        tangent = along if tangent is None else tangent + along
    return out, _no_tangent(out) if tangent is None else tangent


def _read_transpose(
    cotangent: Any, image: Any, points: Any, *, sets: Sets, mode: str
) -> tuple[Any, None]:
    if isinstance(cotangent, ad.Zero):
        return ad.Zero(image.aval), None
    spatial = image.aval.shape[1:-1]
    back = _bind_put(cotangent, points, sets=sets, mode=mode, spatial=spatial)
    return _as_many(back, image.aval.shape[0]), None


def _move_transpose(
    cotangent: Any, image: Any, displacement: Any, *, mode: str
) -> tuple[Any, None]:
    if isinstance(cotangent, ad.Zero):
        return ad.Zero(image.aval), None
    return _read_transpose(cotangent, image, _placed(displacement), sets=_VALUE, mode=mode)


def _put_transpose(
    cotangent: Any, values: Any, points: Any, *, sets: Sets, mode: str, spatial: tuple[int, ...]
) -> tuple[Any, None]:
    del spatial
    if isinstance(cotangent, ad.Zero):
        return ad.Zero(values.aval), None
    back = _bind_read(cotangent, points, sets=sets, mode=mode)
    return _as_many(back, values.aval.shape[0]), None


def _trilinear_jvp(
    primitive: Any, pure: Any, primals: Any, tangents: Any, *, mode: str
) -> tuple[Array, Any]:
    image, other, points = primals
    out = _bind(primitive, image, other, points, mode=mode)
    terms = []
    for i, tangent in enumerate(tangents):
        if isinstance(tangent, ad.Zero):
            continue
        if i == 2:
            moved = partial(pure, image, other, mode=mode)
            terms.append(jax.jvp(moved, (points,), (tangent,))[1])
        else:
            operands = (tangent, other) if i == 0 else (image, tangent)
            terms.append(_bind(primitive, *operands, points, mode=mode))
    return out, functools.reduce(jnp.add, terms) if terms else _no_tangent(out)


def _trilinear_transpose(
    primitive: Any, cotangent: Any, image: Any, other: Any, points: Any, *, mode: str
) -> tuple[Any, Any, None]:
    """Of `tilt` or of `slope`: one of the first two operands is linear."""
    linear = [ad.is_undefined_primal(a) for a in (image, other)]
    if isinstance(cotangent, ad.Zero):
        return (
            ad.Zero(image.aval) if linear[0] else None,
            ad.Zero(other.aval) if linear[1] else None,
            None,
        )
    if linear[1]:
        twin = _slope if primitive is _tilt else _tilt
        back = _bind(twin, image, cotangent, points, mode=mode)
        return None, _as_many(back, other.aval.shape[0]), None
    values, along = (cotangent, other) if primitive is _tilt else (other, cotangent)
    rank = points.shape[-1]
    # Axis by axis, as the sets are.
    parts = [values * along[..., a, None].astype(values.dtype) for a in range(rank)]
    back = _bind_put(
        jnp.concatenate(parts, -1),
        points,
        sets=_singles(rank),
        mode=mode,
        spatial=image.aval.shape[1:-1],
    )
    return _as_many(back, image.aval.shape[0]), None, None


def _no_tangent(primal: Array) -> Any:
    return ad.Zero.from_primal_value(primal)  # pyright: ignore


def _as_many(array: Array, batch: int) -> Array:
    """Add up over the batch what one operand was to all."""
    return array if array.shape[0] == batch else array.sum(0, keepdims=True)


def _batch(primitive: Any, operands: Any, axes: Any, **params: Any) -> tuple[Array, int]:
    size = next(x.shape[d] for x, d in zip(operands, axes, strict=True) if d is not None)
    moved = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(operands, axes, strict=True)]
    inner = max(x.shape[int(d is not None)] for x, d in zip(moved, axes, strict=True))
    merged = []
    for x, d in zip(moved, axes, strict=True):
        if d is None and x.shape[0] > 1:
            x = jnp.broadcast_to(x[None], (size, *x.shape))
        elif d is not None:
            x = jnp.broadcast_to(x, (size, inner, *x.shape[2:]))
        else:
            merged.append(x)
            continue
        merged.append(x.reshape(-1, *x.shape[2:]))
    out = primitive.bind(*merged, **params)
    return out.reshape(size, inner, *out.shape[1:]), 0


_native_slope = partial(_native_tilt, sloping=True)
for _primitive, _abstract, _pure, _fast, _static in (
    (_read, _read_abstract, _run_pure_read, _native_read, ("sets", "mode")),
    (_put, _put_abstract, _run_pure_put, _native_put, ("sets", "mode", "spatial")),
    (_tilt, _tilt_abstract, _run_pure_tilt, _native_tilt, ("mode",)),
    (_slope, _slope_abstract, _run_pure_slope, _native_slope, ("mode",)),
    (_move, _move_abstract, _run_pure_move, _native_move, ("mode",)),
):
    _primitive.def_impl(jax.jit(_primitive.bind, static_argnames=_static))
    _primitive.def_abstract_eval(_abstract)
    batching.primitive_batchers[_primitive] = partial(_batch, _primitive)
    mlir.register_lowering(_primitive, mlir.lower_fun(_pure, False))
    mlir.register_lowering(_primitive, partial(_lower_cpu, _pure, _fast), platform="cpu")
ad.primitive_jvps[_read], ad.primitive_transposes[_read] = _read_jvp, _read_transpose
ad.primitive_jvps[_move], ad.primitive_transposes[_move] = _move_jvp, _move_transpose
ad.primitive_jvps[_put], ad.primitive_transposes[_put] = _put_jvp, _put_transpose
for _primitive, _pure in ((_tilt, _run_pure_tilt), (_slope, _run_pure_slope)):
    ad.primitive_jvps[_primitive] = partial(_trilinear_jvp, _primitive, _pure)
    ad.primitive_transposes[_primitive] = partial(_trilinear_transpose, _primitive)
needs_devices((_read, _put, _tilt, _slope, _move))
