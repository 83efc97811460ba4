"""Fused convolution with bias and (leaky) ReLU, and the joint gradient of kernel and bias.

Two more primitives beside the three of `_primitive`:

===============  ============  ==================================================
primitive        operands      meaning
===============  ============  ==================================================
biased           x, k, b       ``activation(conv(x, k) + b)``
kernel_and_bias  x, y          gradients to k and b
===============  ============  ==================================================

Without an activation the first is linear in (k, b) jointly, and the second is its
transpose; the transpose of the second in y is the first again. With the three others these
two are therefore closed under differentiation. A (leaky) ReLU preserves the sign, so its
derivative is read from the result and no further residual is stored.

Only what is faster as one native call is fused. On every other platform, on several
devices, and for stacks of kernels, the same is computed in parts.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir

from jaxmed.core._program import FUSED
from jaxmed.ops.convolution import _native as native
from jaxmed.ops.convolution._geometry import Geometry
from jaxmed.ops.convolution._partition import needs_devices
from jaxmed.ops.convolution._primitive import bilinear, divided, native_name, same_varying

_biased = jex.Primitive("jaxmed_conv_biased")
_adjoint = jex.Primitive("jaxmed_conv_kernel_and_bias")
_adjoint.multiple_results = True


def biased(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    geometry: Geometry,
    *,
    form: str,
    precision: lax.PrecisionLike = None,
    slope: float | None = None,
) -> jax.Array:
    """Compute `activation(conv(x, kernel) + bias)`: a ReLU with this slope below zero, or none."""
    bias = bias.reshape((1,) * (x.ndim - 1) + (-1,))
    x, kernel, bias = same_varying(x, kernel, bias)
    return _biased.bind(
        x, kernel, bias, geometry=geometry, form=form, precision=precision, slope=slope
    )


def activate(y: jax.Array, slope: float | None) -> jax.Array:
    """Apply the activation of `biased`."""
    if slope is None:
        return y
    if slope == 0:
        return jax.nn.relu(y)
    return jax.nn.leaky_relu(y, slope)


def _in_parts(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, *, slope: float | None, **params: Any
) -> jax.Array:
    return activate(bilinear("output", x, kernel, **params) + bias, slope)


FUSED[_biased.name] = _in_parts


def _adjoint_in_parts(x: jax.Array, y: jax.Array, **params: Any) -> tuple[jax.Array, jax.Array]:
    total = y.sum(tuple(range(y.ndim - 1)), keepdims=True)
    return bilinear("kernel", x, y, **params), total


def _linear(x: jax.Array, kernel: Any, bias: Any, **params: Any) -> Any:
    """Compute `conv(x, kernel) + bias` for tangents or cotangents, one of which may be zero."""
    if isinstance(kernel, ad.Zero):
        shape = (x.shape[0], *params["geometry"].output, bias.shape[-1])
        return jnp.broadcast_to(bias, shape)
    if isinstance(bias, ad.Zero):
        return bilinear("output", x, kernel, **params)
    return _biased.bind(x, kernel, bias, slope=None, **params)


def _biased_jvp(primals: Any, tangents: Any, *, slope: float | None, **params: Any) -> Any:
    x, kernel, bias = primals
    dx, dkernel, dbias = tangents
    y = _biased.bind(x, kernel, bias, slope=slope, **params)
    parts = []
    if not isinstance(dx, ad.Zero):
        parts.append(bilinear("output", dx, kernel, **params))
    if not (isinstance(dkernel, ad.Zero) and isinstance(dbias, ad.Zero)):
        parts.append(_linear(x, dkernel, dbias, **params))
    tangent = sum(parts[1:], parts[0])
    if slope is not None:
        # The derivative at zero is that of `jax.nn.relu` and `jax.nn.leaky_relu`.
        above = y > 0 if slope == 0 else y >= 0
        tangent = jnp.where(above, tangent, slope * tangent if slope else 0)
    return y, tangent


def _biased_transpose(
    cotangent: Any, x: Any, kernel: Any, bias: Any, *, slope: float | None, **params: Any
) -> Any:
    unknown = [ad.is_undefined_primal(v) for v in (x, kernel, bias)]
    if unknown != [False, True, True] or slope is not None:
        raise NotImplementedError("conv with a bias is linear in kernel and bias together only")
    if isinstance(cotangent, ad.Zero):
        return None, ad.Zero(kernel.aval), ad.Zero(bias.aval)
    return (None, *_adjoint.bind(x, cotangent, **params))


def _adjoint_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    x, y = primals
    dx, dy = tangents
    out = _adjoint.bind(x, y, **params)
    if isinstance(dy, ad.Zero):
        kernel, bias = None, ad.Zero.from_primal_value(out[1])  # pyright: ignore[reportAttributeAccessIssue] JAX's stub omits it
    else:
        kernel, bias = _adjoint.bind(x, dy, **params)
    if not isinstance(dx, ad.Zero):
        more = bilinear("kernel", dx, y, **params)
        kernel = more if kernel is None else kernel + more
    return out, [kernel, bias]


def _adjoint_transpose(cotangents: Any, x: Any, y: Any, **params: Any) -> Any:
    if ad.is_undefined_primal(x):
        raise NotImplementedError("the gradients to kernel and bias are not linear in x")
    kernel, bias = cotangents
    if isinstance(kernel, ad.Zero) and isinstance(bias, ad.Zero):
        return None, ad.Zero(y.aval)
    return None, _linear(x, kernel, bias, **params)


def _biased_batch(operands: Any, axes: Any, **params: Any) -> tuple[jax.Array, int]:
    """Batched images become more images; stacks of kernels are computed in parts."""
    x, kernel, bias = operands
    if axes[1] is not None or axes[2] is not None:
        return jax.vmap(partial(_in_parts, **params), axes)(x, kernel, bias), 0
    x = jnp.moveaxis(x, axes[0], 0)
    y = _biased.bind(x.reshape(-1, *x.shape[2:]), kernel, bias, **params)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


def _adjoint_batch(operands: Any, axes: Any, **params: Any) -> tuple[Any, tuple[int, int]]:
    return jax.vmap(partial(_adjoint_in_parts, **params), axes)(*operands), (0, 0)


def _biased_abstract(x: Any, kernel: Any, bias: Any, **params: Any) -> Any:
    del bias
    shape = (x.shape[0], *params["geometry"].output, kernel.shape[-1])
    return x.update(shape=shape, dtype=x.dtype, weak_type=False)


def _adjoint_abstract(x: Any, y: Any, **params: Any) -> Any:
    geometry = params["geometry"]
    kernel = (*geometry.window, x.shape[-1] // geometry.groups, y.shape[-1])
    # The bias keeps the rank of the images, so it can reuse their sharding type.
    bias = (1,) * (y.ndim - 1) + y.shape[-1:]
    return [x.update(shape=shape, dtype=x.dtype, weak_type=False) for shape in (kernel, bias)]


def _fuses(kind: str, left: Any, right: Any, params: dict[str, Any]) -> bool:
    form = params["form"]
    if form not in ("auto", "onednn"):
        return False
    whole = {"geometry": params["geometry"], "form": form, "members": None}
    return native_name(kind, left, right, {**whole, "stacked": (False, False)}) != ""


def _lower_biased(context: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
    def run(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        if divided(context) or not _fuses("output", x, kernel, params):
            return _in_parts(x, kernel, bias, **params)
        return native.native_biased(x, kernel, bias, params["geometry"], params["slope"])

    return mlir.lower_fun(run, False)(context, *operands)


def _lower_adjoint(context: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
    def run(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        if divided(context) or not _fuses("kernel", x, y, params):
            return _adjoint_in_parts(x, y, **params)
        return native.native_kernel_and_bias(x, y, params["geometry"])

    return mlir.lower_fun(run, True)(context, *operands)


_STATIC = ("geometry", "form", "precision", "slope")
_biased.def_impl(jax.jit(_biased.bind, static_argnames=_STATIC))
_biased.def_abstract_eval(_biased_abstract)
ad.primitive_jvps[_biased] = _biased_jvp
ad.primitive_transposes[_biased] = _biased_transpose
batching.primitive_batchers[_biased] = _biased_batch
mlir.register_lowering(_biased, mlir.lower_fun(_in_parts, False))
mlir.register_lowering(_biased, _lower_biased, platform="cpu")

_adjoint.def_impl(jax.jit(_adjoint.bind, static_argnames=_STATIC[:-1]))
_adjoint.def_abstract_eval(_adjoint_abstract)
ad.primitive_jvps[_adjoint] = _adjoint_jvp
ad.primitive_transposes[_adjoint] = _adjoint_transpose
batching.primitive_batchers[_adjoint] = _adjoint_batch
mlir.register_lowering(_adjoint, mlir.lower_fun(_adjoint_in_parts, True))
mlir.register_lowering(_adjoint, _lower_adjoint, platform="cpu")
needs_devices((_biased, _adjoint))
