"""The convolution's three bilinear maps by XLA's own convolution, for GPU and TPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
from jax import lax

from jaxmed.ops.convolution._geometry import Geometry

_SPECS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def lax_conv(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike = None
) -> jax.Array:
    """Call `jax.lax.conv_general_dilated` in channels-last layout."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=geometry.strides,
        padding=geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_SPECS[geometry.rank],
        feature_group_count=geometry.groups,
        precision=precision,
    )


def xla_output(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the convolution."""
    return lax_conv(x, kernel, geometry, precision)


def xla_input(
    y: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the gradient of the input from the cotangent `y` of the output."""
    shape = (y.shape[0], *geometry.spatial, kernel.shape[-2] * geometry.groups)
    forward: Callable = partial(lax_conv, kernel=kernel, geometry=geometry, precision=precision)
    return jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def xla_kernel(
    x: jax.Array, y: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the gradient of the kernel from the cotangent `y` of the output."""
    shape = (*geometry.window, x.shape[-1] // geometry.groups, y.shape[-1])
    forward: Callable = partial(lax_conv, x, geometry=geometry, precision=precision)
    return jax.linear_transpose(
        lambda kernel: forward(kernel=kernel), jax.ShapeDtypeStruct(shape, x.dtype)
    )(y)[0]
