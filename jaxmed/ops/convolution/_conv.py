"""Convolution and transposed convolution, channels last, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxmed.ops.convolution._config import conv_form
from jaxmed.ops.convolution._fused import activate, biased
from jaxmed.ops.convolution._geometry import Geometry, Padding, explicit_padding, per_axis
from jaxmed.ops.convolution._primitive import bilinear
from jaxmed.ops.convolution._pure import flip_kernel

_MAX_RANK = 3


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    bias: jax.Array | None = None,
    activation: str | None = None,
    slope: float = 0.01,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Convolve (cross-correlate, as is usual in deep learning).

    ``y[n, o, c] = sum_{t, i} x[n, o * stride + t * dilation - before, i] kernel[t, i, c]``,
    then ``activation(y + bias)``, in the same pass where the native form runs.

    Equal to `jax.lax.conv_general_dilated` up to rounding, in every derivative and under every
    transformation; the implementation is chosen by platform, see `config`.

    Args:
      x: (batch, *spatial, channels_in), one to three spatial axes.
      kernel: (*window, channels_in / groups, channels_out), of the same dtype.
      stride: Step of the window, in voxels, one number or one per axis.
      padding: ``"SAME"``, ``"SAME_LOWER"``, ``"VALID"``, a number of zeros for all sides, or
        per axis a number or a pair (before, after).
      dilation: Distance between kernel taps, one number or one per axis.
      groups: Number of independent blocks of channels.
      bias: (channels_out,), of the dtype of `x`, or None.
      activation: ``"relu"``, ``"leaky_relu"`` or None, as in `jax.nn`.
      slope: Slope of the leaky ReLU below zero, positive.
      precision: As in `jax.lax.conv_general_dilated`; GPU and TPU only.

    Returns:
      (batch, *spatial_out, channels_out), of the dtype of `x`.

    Raises:
      ValueError: If shapes do not match or the activation is unknown.

    >>> import jax.numpy as jnp
    >>> conv(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5)), stride=2).shape
    (1, 2, 2, 5)
    """
    x, kernel = _operands(x, kernel)
    rank = x.ndim - 2
    window = kernel.shape[:-2]
    strides = per_axis(stride, rank, "stride")
    steps = per_axis(dilation, rank, "dilation")
    _check_channels(x, kernel, groups)
    pads = explicit_padding(padding, x.shape[1:-1], window, strides, steps)
    below = _slope(activation, slope)
    if bias is None and below is None:
        return _conv(x, kernel, strides, pads, steps, groups, precision)
    shift = jnp.zeros(kernel.shape[-1:], x.dtype) if bias is None else jnp.asarray(bias)
    if shift.shape != kernel.shape[-1:] or shift.dtype != x.dtype:
        raise ValueError(
            f"bias is {shift.dtype} {shift.shape}: expected {x.dtype} {kernel.shape[-1:]}, a "
            "number for each output channel"
        )
    x, pads = _cropped(x, pads)
    geometry = Geometry(x.shape[1:-1], window, strides, pads, steps, groups)
    if _nothing(x, kernel, geometry):
        y = jnp.zeros((x.shape[0], *geometry.output, kernel.shape[-1]), x.dtype)
        return activate(y + shift, below)
    options = {"form": conv_form(), "precision": _hashable(precision)}
    return biased(x, kernel, shift, geometry, slope=below, **options)


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int | Sequence[int],
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Compute a transposed convolution: input voxels are spread `stride` apart, then convolved.

    Equal to `jax.lax.conv_transpose` (and `flax.linen.ConvTranspose`) up to rounding. With a
    kernel as large as the stride it is one matrix product and a rearrangement.

    Args:
      x: (batch, *spatial, channels_in), one to three spatial axes.
      kernel: (*window, channels_in / groups, channels_out), of the same dtype.
      stride: Upsampling factor, one number or one per axis.
      padding: ``"SAME"`` (output = input times stride), ``"VALID"``, or per axis the zeros
        added around the spread input, a number or a pair (before, after).
      dilation: Distance between kernel taps, one number or one per axis.
      groups: Number of independent blocks of channels, which `jax.lax.conv_transpose` lacks.
      precision: As in `jax.lax.conv_transpose`; GPU and TPU only.

    Returns:
      (batch, *spatial_out, channels_out), of the dtype of `x`.

    Raises:
      ValueError: If shapes do not match.

    >>> import jax.numpy as jnp
    >>> conv_transpose(jnp.ones((1, 4, 4, 4, 3)), jnp.ones((2, 2, 2, 3, 5)), stride=2).shape
    (1, 8, 8, 8, 5)
    """
    x, kernel = _operands(x, kernel)
    rank = x.ndim - 2
    strides = per_axis(stride, rank, "stride")
    steps = per_axis(dilation, rank, "dilation")
    _check_channels(x, kernel, groups)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel.shape, steps, strict=False)]
    if isinstance(padding, str):
        pads = tuple(
            _transposed_padding(k, s, padding) for k, s in zip(extents, strides, strict=True)
        )
    else:
        pads = explicit_padding(padding, x.shape[1:-1], extents, strides, steps)
    return _spread_conv(x, kernel, strides, pads, steps, precision, groups)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: Any = None,
    **others: Any,
) -> jax.Array:
    """Drop-in replacement for `jax.lax.conv_general_dilated`, faster on CPU.

    Pass it to any Flax model: ``nn.Conv(32, (3, 3), conv_general_dilated=conv_general_dilated)``.
    Channels-last layouts of one to three dimensions take the fast forms; every other
    combination of arguments goes to lax unchanged.

    Args:
      lhs: Input, in the layout of `dimension_numbers`.
      rhs: Kernel.
      window_strides: Step of the window.
      padding: ``"SAME"``, ``"SAME_LOWER"``, ``"VALID"`` or pairs (before, after).
      lhs_dilation: Distance between the spread input voxels.
      rhs_dilation: Distance between kernel taps.
      dimension_numbers: Layouts, as in lax.
      feature_group_count: Number of blocks of channels.
      batch_group_count: Number of blocks of the batch.
      precision: As in lax.
      preferred_element_type: Dtype to accumulate in and return.
      **others: Further arguments of the lax function.

    Returns:
      The result of the lax function.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout).shape
    (1, 8, 8, 4)
    """
    rank = jnp.ndim(lhs) - 2
    ones = (1,) * rank
    spread = tuple(lhs_dilation) if lhs_dilation is not None else ones
    steps = tuple(rhs_dilation) if rhs_dilation is not None else ones
    strides = tuple(window_strides)
    plain = (
        1 <= rank <= _MAX_RANK
        and jnp.ndim(rhs) == rank + 2
        and batch_group_count == 1
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and preferred_element_type in (None, lhs.dtype)
        and all(value is None for value in others.values())
        and 0 not in lhs.shape
        and 0 not in rhs.shape
        and len(strides) == len(spread) == len(steps) == rank
        and _channels_last(lhs.shape, rhs.shape, dimension_numbers)
        and rhs.shape[-2] * feature_group_count == lhs.shape[-1]
        and rhs.shape[-1] % feature_group_count == 0
    )
    if plain and spread == ones:
        pads = explicit_padding(padding, lhs.shape[1:-1], rhs.shape[:-2], strides, steps)
        return _conv(lhs, rhs, strides, pads, steps, feature_group_count, precision)
    if plain and strides == ones and feature_group_count == 1 and not isinstance(padding, str):
        pads = tuple((int(lo), int(hi)) for lo, hi in padding)
        return _spread_conv(lhs, rhs, spread, pads, steps, precision)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        **others,
    )


def _operands(x: Any, kernel: Any) -> tuple[jax.Array, jax.Array]:
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    if not 3 <= x.ndim <= _MAX_RANK + 2:
        raise ValueError(
            f"x has shape {x.shape}: expected (batch, *spatial, channels) with 1 to 3 spatial axes"
        )
    if kernel.ndim != x.ndim:
        raise ValueError(
            f"kernel has shape {kernel.shape} and x {x.shape}: expected (*window, channels_in, "
            f"channels_out) with {x.ndim - 2} window axes"
        )
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"x is {x.dtype} and kernel {kernel.dtype}: expected one floating type for both"
        )
    return x, kernel


def _check_channels(x: jax.Array, kernel: jax.Array, groups: int) -> None:
    if groups < 1 or kernel.shape[-2] * groups != x.shape[-1] or kernel.shape[-1] % groups:
        raise ValueError(
            f"x has shape {x.shape}, kernel {kernel.shape}, groups={groups}: expected x channels = "
            "kernel channels_in times groups, and channels_out a multiple of groups"
        )


def _conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    steps: tuple[int, ...],
    groups: int,
    precision: lax.PrecisionLike,
) -> jax.Array:
    x, pads = _cropped(x, pads)
    geometry = Geometry(x.shape[1:-1], kernel.shape[:-2], strides, pads, steps, groups)
    if _nothing(x, kernel, geometry):
        shape = (x.shape[0], *geometry.output, kernel.shape[-1])
        return jnp.zeros(shape, x.dtype)
    return bilinear("output", x, kernel, geometry, form=conv_form(), precision=_hashable(precision))


def _slope(activation: str | None, slope: float) -> float | None:
    """Return the slope of an activation below zero, or None without an activation."""
    if activation is None:
        return None
    if activation == "relu":
        return 0.0
    if activation != "leaky_relu":
        raise ValueError(f"activation={activation!r}: expected relu, leaky_relu or None")
    if not slope > 0:
        raise ValueError(f"slope={slope!r}: expected a positive number")
    return float(slope)


def _cropped(
    x: jax.Array, pads: tuple[tuple[int, int], ...]
) -> tuple[jax.Array, tuple[tuple[int, int], ...]]:
    """Apply negative padding by cropping; the remaining padding is never negative."""
    if all(p >= 0 for pair in pads for p in pair):
        return x, pads
    crop = [(min(0, lo), min(0, hi), 0) for lo, hi in pads]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *crop, (0, 0, 0)])
    return x, tuple((max(0, lo), max(0, hi)) for lo, hi in pads)


def _nothing(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> bool:
    return 0 in x.shape or 0 in kernel.shape or 0 in geometry.output


def _spread_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    steps: tuple[int, ...],
    precision: lax.PrecisionLike,
    groups: int = 1,
) -> jax.Array:
    """Convolve the spread input: the input gradient of another convolution."""
    spatial, inner, outer = [], [], []
    for n, k, s, (lo, hi), d in zip(
        x.shape[1:-1], kernel.shape[:-2], strides, pads, steps, strict=True
    ):
        reach = (k - 1) * d
        before, after = reach - lo, reach - hi
        # Zeros beyond the kernel's reach give zeros in the output: they are appended afterwards.
        outer.append((max(0, -before), max(0, -after), 0))
        inner.append((max(0, before), max(0, after)))
        spatial.append((n - 1) * s + reach + 1 - sum(inner[-1]))
    if min(spatial) < 1 or 0 in x.shape or 0 in kernel.shape:
        sizes = [max(0, n) + lo + hi for n, (lo, hi, _) in zip(spatial, outer, strict=True)]
        return jnp.zeros((x.shape[0], *sizes, kernel.shape[-1]), x.dtype)
    geometry = Geometry(tuple(spatial), kernel.shape[:-2], strides, tuple(inner), steps, groups)
    y = bilinear(
        "input",
        x,
        flip_kernel(kernel, groups),
        geometry,
        form=conv_form(),
        precision=_hashable(precision),
    )
    if any(p[0] or p[1] for p in outer):
        y = lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *outer, (0, 0, 0)])
    return y


def _transposed_padding(extent: int, stride: int, padding: str) -> tuple[int, int]:
    """Compute the padding of the spread input that gives the sizes of `jax.lax.conv_transpose`."""
    name = padding.upper()
    if name == "SAME":
        total = extent + stride - 2
        before = extent - 1 if stride > extent - 1 else -(-total // 2)
    elif name == "VALID":
        total = extent + stride - 2 + max(extent - stride, 0)
        before = extent - 1
    else:
        raise ValueError(f"padding={padding!r}: expected SAME, VALID or numbers")
    return before, total - before


def _channels_last(lhs: tuple[int, ...], rhs: tuple[int, ...], dimension_numbers: Any) -> bool:
    numbers = lax.conv_dimension_numbers(lhs, rhs, dimension_numbers)
    rank = len(lhs) - 2
    data = (0, rank + 1, *range(1, rank + 1))
    kernel = (rank + 1, rank, *range(rank))
    return (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec) == (data, kernel, data)


def _hashable(precision: lax.PrecisionLike) -> Any:
    return tuple(precision) if isinstance(precision, list) else precision
