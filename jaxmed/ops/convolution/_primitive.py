"""The convolution as one trilinear form and its three partial applications.

For an input x, a kernel k and a cotangent of the output y, a convolution defines the
scalar ``T(x, k, y) = <conv(x, k), y>``, linear in each. Leaving out one of the three gives a
bilinear map into its space:

=========  ================  ======================================
primitive  operands          meaning
=========  ================  ======================================
output     x, k              the convolution
input      y, k              gradient to x; also transposed convolution
kernel     x, y              gradient to k
=========  ================  ======================================

The transpose of any of them in one operand is another of them, so the family is
closed under every order of forward and reverse differentiation. Each also takes a
stack of ``members`` (a leading axis on either operand or both), as produced by `vmap`
over weights; the CPU runs the members one after another instead of as a grouped
convolution.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir

from jaxmed.ops.convolution import _native as native
from jaxmed.ops.convolution import _pure as pure
from jaxmed.ops.convolution import _xla as xla
from jaxmed.ops.convolution._geometry import OPERANDS, Geometry
from jaxmed.ops.convolution._partition import needs_devices, partitioned

_XLA = {"output": xla.xla_output, "input": xla.xla_input, "kernel": xla.xla_kernel}
_PURE = {"output": pure.pure_output, "input": pure.pure_input, "kernel": pure.pure_kernel}

# Limits within which the pure form is measured to be faster than oneDNN; see docs/performance.md.
# The input gradient is one matrix product where windows tile it: below this number of channels.
_NARROW = 4
# The gradient of a 2D kernel is one product per tap: from this number of channel pairs on, in
# planes of at most this many voxels. OneDNN's blocks of such kernels contend for the same cache
# lines.
_PAIRS, _PLANE = 1 << 18, 16
# OneDNN computes the gradient of an input in blocks of 16 channels, however few there are. Up to
# this number the kernel that computes no more is faster.
_FEW = 8

_primitives = {kind: jex.Primitive(f"jaxmed_conv_{kind}") for kind in OPERANDS}


def bilinear(
    kind: str,
    left: jax.Array,
    right: jax.Array,
    geometry: Geometry,
    *,
    form: str,
    precision: lax.PrecisionLike = None,
    members: int | None = None,
    stacked: tuple[bool, bool] = (False, False),
) -> jax.Array:
    """Apply one of the three maps; `stacked` says which operands have a leading members axis."""
    left, right = same_varying(left, right)
    return _primitives[kind].bind(
        left,
        right,
        geometry=geometry,
        form=form,
        precision=precision,
        members=members,
        stacked=stacked,
    )


def same_varying(*operands: jax.Array) -> list[jax.Array]:
    """Make all operands vary over the same `shard_map` axes, so that gradients are summed."""
    axes = [_varying(jax.typeof(a)) for a in operands]
    every = frozenset().union(*axes)
    return [
        lax.pcast(a, tuple(every - own), to="varying") if every - own else a
        for a, own in zip(operands, axes, strict=True)
    ]


def _varying(aval: Any) -> frozenset[str]:
    """Return the `shard_map` axes over which a value varies (the attribute name depends on jax)."""
    if hasattr(aval, "vma"):
        return frozenset(aval.vma)
    return frozenset(aval.mat.varying) if hasattr(aval, "mat") else frozenset()


def _result(kind: str, left: Any, right: Any, params: dict[str, Any]) -> tuple[int, ...]:
    """Shape of the result."""
    geometry, members = params["geometry"], params["members"]
    a, b = (
        x.shape[1:] if s else x.shape for x, s in zip((left, right), params["stacked"], strict=True)
    )
    if kind == "output":
        shape = (a[0], *geometry.output, b[-1])
    elif kind == "input":
        shape = (a[0], *geometry.spatial, b[-2] * geometry.groups)
    else:
        shape = (*geometry.window, a[-1] // geometry.groups, b[-1])
    return shape if members is None else (members, *shape)


def _abstract(kind: str, left: Any, right: Any, **params: Any) -> Any:
    shape = _result(kind, left, right, params)
    # Same rank, so the result can reuse its sharding.
    like = left if len(left.shape) == len(shape) else right
    return like.update(shape=shape, dtype=left.dtype, weak_type=False)


def _transpose(
    kind: str, wanted: int, cotangent: jax.Array, left: Any, right: Any, **params: Any
) -> jax.Array:
    """Compute the cotangent of operand `wanted` (0 or 1) of the map `kind`."""
    other = right if wanted == 0 else left
    name = OPERANDS[kind][wanted]
    given = {
        kind: (cotangent, params["members"] is not None),
        OPERANDS[kind][1 - wanted]: (other, params["stacked"][1 - wanted]),
    }
    (a, a_stacked), (b, b_stacked) = (given[role] for role in OPERANDS[name])
    out = _primitives[name].bind(a, b, **{**params, "stacked": (a_stacked, b_stacked)})
    if params["members"] is not None and not params["stacked"][wanted]:
        out = out.sum(0)
    return out


def _batch(kind: str, operands: Any, axes: Any, **params: Any) -> tuple[jax.Array, int]:
    """Batched images become more images; batched kernels become members."""
    size = next(x.shape[d] for x, d in zip(operands, axes, strict=True) if d is not None)
    operands = [
        x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(operands, axes, strict=True)
    ]
    members, stacked = params["members"], params["stacked"]
    if kind != "kernel" and axes[1] is None:
        # (vmap, [members,] images, ...) -> ([members,] vmap * images, ...)
        left = operands[0]
        images = 1 if stacked[0] else 0
        left = jnp.moveaxis(left, 0, images)
        left = left.reshape(*left.shape[:images], -1, *left.shape[images + 2 :])
        out = _primitives[kind].bind(left, operands[1], **params)
        at = 0 if members is None else 1
        out = out.reshape(*out.shape[:at], size, -1, *out.shape[at + 1 :])
        return out, at
    batched = tuple(d is not None for d in axes)
    if members is None:
        return _primitives[kind].bind(
            *operands, **{**params, "members": size, "stacked": batched}
        ), 0
    # Already stacked: merge (vmap, members) of every operand that has either into one axis.
    merged = []
    for x, b, s in zip(operands, batched, stacked, strict=True):
        if b or s:
            rest = x.shape[b + s :]
            x = x if b else x[None]
            x = x if s else x[:, None]
            x = jnp.broadcast_to(x, (size, members, *rest)).reshape(size * members, *rest)
        merged.append(x)
    both = tuple(b or s for b, s in zip(batched, stacked, strict=True))
    out = _primitives[kind].bind(*merged, **{**params, "members": size * members, "stacked": both})
    return out.reshape(size, members, *out.shape[1:]), 0


def _run_xla(kind: str, left: jax.Array, right: jax.Array, **params: Any) -> jax.Array:
    fn = partial(_XLA[kind], geometry=params["geometry"], precision=params["precision"])
    if params["members"] is not None:
        fn = jax.vmap(fn, in_axes=tuple(0 if s else None for s in params["stacked"]))
    return fn(left, right)


def _run_pure(kind: str, left: jax.Array, right: jax.Array, **params: Any) -> jax.Array:
    fn = partial(_PURE[kind], geometry=params["geometry"], precision=params["precision"])
    if params["members"] is None:
        return fn(left, right)
    a_stacked, b_stacked = params["stacked"]
    return jnp.stack(
        [
            fn(left[m] if a_stacked else left, right[m] if b_stacked else right)
            for m in range(params["members"])
        ]
    )


def _run_native(
    kind: str, left: jax.Array, right: jax.Array, *, name: str, divide: bool, **params: Any
) -> jax.Array:
    """Run the kernel of this name, partitioned among devices if there are several."""
    geometry, stacked = params["geometry"], params["stacked"]
    run = native.few_channels if name == native.FEW_CHANNELS else partial(native.native, kind)

    def call(left: jax.Array, right: jax.Array, *, members: int | None) -> jax.Array:
        shape = _result(kind, left, right, {**params, "members": members})
        return run(left, right, shape=shape, geometry=geometry, members=members, stacked=stacked)

    if not divide:
        return call(left, right, members=params["members"])
    several = params["members"] is not None
    fn = partitioned(kind, call, rank=geometry.rank, stacked=stacked, members=several)
    return fn(left, right)


def _pure_is_faster(kind: str, dtype: str, channels: tuple[int, int], geometry: Geometry) -> bool:
    if kind == "input":
        return geometry.tiles and min(channels) < _NARROW
    return (
        kind == "kernel"
        and dtype == "float32"
        and geometry.rank == 2
        and geometry.groups == 1
        and math.prod(geometry.window) > 1
        and math.prod(geometry.output) <= _PLANE
        and math.prod(channels) >= _PAIRS
    )


def _few_is_faster(kind: str, dtype: str, channels: tuple[int, int], geometry: Geometry) -> bool:
    return (
        kind == "input"
        and channels[0] <= _FEW
        and not geometry.tiles
        and native.few_channels_offered(dtype, channels[1], geometry)
    )


def native_name(kind: str, left: jax.Array, right: jax.Array, params: dict[str, Any]) -> str:
    """Return the name of the native kernel for these operands, "" if there is none.

    Of the form "auto" it is the fastest, and "" where that is the pure form; of the form "onednn"
    it is oneDNN's.
    """
    geometry = params["geometry"]
    roles = dict(zip(OPERANDS[kind], (left.shape, right.shape), strict=True))
    roles[kind] = _result(kind, left, right, params)
    members = dict(zip(OPERANDS[kind], params["stacked"], strict=True))
    members[kind] = params["members"] is not None
    channels = (roles["input"][-1], roles["output"][-1])
    dtype = left.dtype.name
    if params["form"] == "auto":
        if _pure_is_faster(kind, dtype, channels, geometry):
            return ""
        if _few_is_faster(kind, dtype, channels, geometry):
            return native.FEW_CHANNELS
    return native.implementation(
        kind,
        dtype,
        roles["input"][1 if members["input"] else 0],
        *channels,
        geometry,
    )


def _run_cpu(
    kind: str, left: jax.Array, right: jax.Array, *, divide: bool, **params: Any
) -> jax.Array:
    form = params["form"]
    if form == "xla":
        return _run_xla(kind, left, right, **params)
    if form in ("auto", "onednn"):
        if name := native_name(kind, left, right, params):
            return _run_native(kind, left, right, name=name, divide=divide, **params)
        if form == "onednn":
            loaded = native.library()
            why = loaded if isinstance(loaded, str) else "oneDNN has no fast kernel for it"
            raise NotImplementedError(
                f"conv='onednn': {left.dtype} {left.shape} with {right.shape}: {why}"
            )
    return _run_pure(kind, left, right, **params)


def divided(context: mlir.LoweringRuleContext) -> bool:
    """Whether XLA partitions the program being lowered among devices."""
    where = context.module_context.axis_context
    # Inside `shard_map` the operands are local to one device.
    return isinstance(where, mlir.ShardingContext) and len(where.device_assignment or ()) > 1


def _lower_cpu(
    kind: str, context: mlir.LoweringRuleContext, left: Any, right: Any, **params: Any
) -> Any:
    run = partial(_run_cpu, kind, divide=divided(context), **params)
    return mlir.lower_fun(run, False)(context, left, right)


_compiled = jax.jit(
    lambda left, right, *, kind, **params: _primitives[kind].bind(left, right, **params),
    static_argnames=("kind", "geometry", "form", "precision", "members", "stacked"),
)

for _kind, _primitive in _primitives.items():
    _primitive.def_impl(partial(_compiled, kind=_kind))
    _primitive.def_abstract_eval(partial(_abstract, _kind))
    ad.defbilinear(_primitive, partial(_transpose, _kind, 0), partial(_transpose, _kind, 1))
    batching.primitive_batchers[_primitive] = partial(_batch, _kind)
    mlir.register_lowering(_primitive, mlir.lower_fun(partial(_run_xla, _kind), False))
    mlir.register_lowering(_primitive, partial(_lower_cpu, _kind), platform="cpu")
needs_devices(_primitives.values())
