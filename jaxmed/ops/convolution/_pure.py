"""The convolution's three bilinear maps, written to run fast on XLA's CPU backend.

XLA on CPU is fast only for 2D convolutions in canonical NHWC layout. Everything else (3D,
gradients with non-canonical layouts, gradients inside a loop, base dilation) runs in naive
loops. Each map is therefore rewritten in terms of canonical 2D convolutions, matrix products
and copies:

- windows that tile the input (1x1, patches, kernel = stride): one matrix product;
- 1D: a 2D convolution with a first axis of size one;
- 3D: one 2D convolution for each depth tap, summed;
- input gradient: a convolution with the flipped kernel, or, for one channel, a product with all
  taps and a sum of shifted results; with strides, all phases at once as output channels, then
  depth-to-space;
- kernel gradient: a convolution of transposed input and cotangent, or, for many channels and
  small planes, one product per tap.
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxmed.ops.convolution import _xla as xla
from jaxmed.ops.convolution._geometry import Geometry

_MAX_UNROLLED_GROUPS = 8


def pure_output(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the convolution."""
    g = geometry
    if g.groups > 1:
        if g.groups > _MAX_UNROLLED_GROUPS:
            return xla.xla_output(x, kernel, g, precision)
        one = g._replace(groups=1)
        parts = zip(jnp.split(x, g.groups, -1), jnp.split(kernel, g.groups, -1), strict=True)
        return jnp.concatenate([pure_output(a, b, one, precision) for a, b in parts], -1)
    if _picks(g):
        x, g = _pick(x, g)
    if g.tiles:
        columns = _space_to_depth(x, g)
        matrix = kernel.reshape(-1, kernel.shape[-1])
        return jnp.matmul(columns, matrix, precision=precision)
    if g.rank == 1:
        return pure_output(x[:, None], kernel[None], _lift(g), precision)[:, 0]
    if g.rank == 2:
        return xla.lax_conv(x, kernel, g, precision)
    plane, x = _plane(g), _pad_depth(x, g)
    total = xla.lax_conv(_depth_tap(x, 0, g), kernel[0], plane, precision)
    for tap in range(1, g.window[0]):
        total = total + xla.lax_conv(_depth_tap(x, tap, g), kernel[tap], plane, precision)
    return total.reshape(x.shape[0], *g.output, -1)


def pure_input(
    y: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the gradient of the input from the cotangent `y` of the output."""
    g = geometry
    if g.groups > 1:
        if g.groups > _MAX_UNROLLED_GROUPS:
            return xla.xla_input(y, kernel, g, precision)
        one = g._replace(groups=1)
        parts = zip(jnp.split(y, g.groups, -1), jnp.split(kernel, g.groups, -1), strict=True)
        return jnp.concatenate([pure_input(a, b, one, precision) for a, b in parts], -1)
    if _picks(g):
        ends = [
            (0, n - (o - 1) * s - 1, s - 1)
            for n, s, o in zip(g.spatial, g.strides, g.output, strict=True)
        ]
        x = pure_input(y, kernel, _unit_stride(g, g.output), precision)
        return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    if g.tiles:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        return _depth_to_space(jnp.matmul(y, matrix.T, precision=precision), g)
    if math.prod(g.strides) > 1 and math.prod(g.dilation) > 1:
        y = lax.pad(
            y, jnp.zeros((), y.dtype), [(0, 0, 0), *((0, 0, s - 1) for s in g.strides), (0, 0, 0)]
        )
        return _input_unit_stride(y, kernel, g._replace(strides=(1,) * g.rank), precision)
    if math.prod(g.strides) > 1:
        return _input_by_phases(y, kernel, g, precision)
    return _input_unit_stride(y, kernel, g, precision)


def pure_kernel(
    x: jax.Array, y: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the gradient of the kernel from the cotangent `y` of the output."""
    g = geometry
    if g.groups > 1:
        if g.groups > _MAX_UNROLLED_GROUPS:
            return xla.xla_kernel(x, y, g, precision)
        one = g._replace(groups=1)
        parts = zip(jnp.split(x, g.groups, -1), jnp.split(y, g.groups, -1), strict=True)
        return jnp.concatenate([pure_kernel(a, b, one, precision) for a, b in parts], -1)
    if _picks(g):
        x, g = _pick(x, g)
    if g.tiles:
        columns = _space_to_depth(x, g)
        columns, y = columns.reshape(-1, columns.shape[-1]), y.reshape(-1, y.shape[-1])
        matrix = jnp.matmul(columns.T, y, precision=precision)
        return matrix.reshape(*g.window, x.shape[-1], y.shape[-1])
    if g.rank == 1:
        return pure_kernel(x[:, None], y[:, None], _lift(g), precision)[0]
    if g.rank == 3:
        plane, x = _plane(g), _pad_depth(x, g)
        y = y.reshape(-1, *y.shape[2:])
        taps = (_depth_tap(x, tap, g) for tap in range(g.window[0]))
        return jnp.stack([pure_kernel(tap, y, plane, precision) for tap in taps])
    if _products_pay(x, y, g):
        return _kernel_by_taps(x, y, g, precision)
    # The input's channels become the batch and the batch becomes channels: contraction over output
    # positions and batch, with strides and dilation swapped.
    padding = []
    for n, k, s, (low, _), d, o in zip(*g[:5], g.output, strict=True):
        padding.append((low, (k - 1) * d + (o - 1) * s + 1 - n - low))
    x = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        [(0, 0, 0), *((0, min(0, hi), 0) for _, hi in padding), (0, 0, 0)],
    )
    flipped = Geometry(
        spatial=x.shape[1:-1],
        window=g.output,
        strides=g.dilation,
        padding=tuple((lo, max(0, hi)) for lo, hi in padding),
        dilation=g.strides,
    )
    out = xla.lax_conv(x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3), flipped, precision)
    return out.transpose(1, 2, 0, 3)


# Channel pairs and positions above which the products of `_kernel_by_taps` are faster.
_TAP_PAIRS, _TAP_POSITIONS, _TAP_PLANE = 1 << 17, 512, 64


def _products_pay(x: jax.Array, y: jax.Array, g: Geometry) -> bool:
    plane = math.prod(g.output)
    return (
        x.shape[-1] * y.shape[-1] >= _TAP_PAIRS
        and plane <= _TAP_PLANE
        and plane * x.shape[0] >= _TAP_POSITIONS
    )


def _kernel_by_taps(
    x: jax.Array, y: jax.Array, g: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the gradient of a 2D kernel: per tap, the voxels under it times the cotangent."""
    x = lax.pad(
        x, jnp.zeros((), x.dtype), [(0, 0, 0), *((a, b, 0) for a, b in g.padding), (0, 0, 0)]
    )
    y = y.reshape(-1, y.shape[-1])
    parts = []
    for tap in itertools.product(*map(range, g.window)):
        starts = [t * d for t, d in zip(tap, g.dilation, strict=True)]
        stops = [a + (o - 1) * s + 1 for a, o, s in zip(starts, g.output, g.strides, strict=True)]
        seen = lax.slice(x, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]), (1, *g.strides, 1))
        seen = seen.reshape(-1, x.shape[-1])
        parts.append(lax.dot_general(seen, y, (((0,), (0,)), ((), ())), precision=precision))
    return jnp.stack(parts).reshape(*g.window, x.shape[-1], y.shape[-1])


def _picks(g: Geometry) -> bool:
    """Whether the convolution only subsamples voxels: a one-voxel window without padding."""
    return (
        math.prod(g.window) == 1
        and math.prod(g.strides) > 1
        and all(p == (0, 0) for p in g.padding)
    )


def _pick(x: jax.Array, g: Geometry) -> tuple[jax.Array, Geometry]:
    """Return the subsampled voxels and the remaining 1x1 convolution, a product over channels."""
    x = lax.slice(x, (0,) * x.ndim, x.shape, (1, *g.strides, 1))
    return x, _unit_stride(g, x.shape[1:-1])


def _unit_stride(g: Geometry, spatial: tuple[int, ...]) -> Geometry:
    return g._replace(spatial=spatial, strides=(1,) * g.rank)


def _lift(g: Geometry) -> Geometry:
    """Express a 1D convolution in 2D."""
    return Geometry(
        (1, *g.spatial), (1, *g.window), (1, *g.strides), ((0, 0), *g.padding), (1, *g.dilation)
    )


def _plane(g: Geometry) -> Geometry:
    """Return the geometry of the 2D convolution of one depth tap."""
    return Geometry(g.spatial[1:], g.window[1:], g.strides[1:], g.padding[1:], g.dilation[1:])


def _pad_depth(x: jax.Array, g: Geometry) -> jax.Array:
    low, high = g.padding[0]
    config = [(0, 0, 0)] * x.ndim
    config[1] = (low, high, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def _depth_tap(padded: jax.Array, tap: int, g: Geometry) -> jax.Array:
    """Return the planes under depth tap `tap`, with batch and depth merged into one axis."""
    start = tap * g.dilation[0]
    stop = start + (g.output[0] - 1) * g.strides[0] + 1
    planes = lax.slice_in_dim(padded, start, stop, g.strides[0], 1)
    return planes.reshape(-1, *planes.shape[2:])


def _input_unit_stride(
    y: jax.Array, kernel: jax.Array, g: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the input gradient at stride one: convolve the cotangent with the flipped kernel."""
    if kernel.shape[-2] == 1:
        return _input_by_taps(y, kernel, g, precision)
    padding, crop = [], []
    for n, k, o, (low, _), d in zip(
        g.spatial, g.window, y.shape[1:-1], g.padding, g.dilation, strict=True
    ):
        before = (k - 1) * d - low
        after = n - o + low
        padding.append((max(0, before), max(0, after)))
        crop.append((min(0, before), min(0, after), 0))
    y = lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *crop, (0, 0, 0)])
    transposed = Geometry(y.shape[1:-1], g.window, g.strides, tuple(padding), g.dilation)
    return pure_output(y, flip_kernel(kernel), transposed, precision)


def _input_by_taps(
    y: jax.Array, kernel: jax.Array, g: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the gradient of an input of one channel at stride one: what each tap adds to it.

    The cotangent times the kernel is a map per tap, so few numbers that shifting them costs less
    than a convolution with one output channel, which fills no vector.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1]).T
    wide = jnp.promote_types(y.dtype, jnp.float32)  # as a convolution adds up
    maps = jnp.matmul(y, matrix, precision=precision, preferred_element_type=wide)
    reach = [(k - 1) * d for k, d in zip(g.window, g.dilation, strict=True)]
    ends = [
        (w, n + low - o, 0)
        for w, n, (low, _), o in zip(reach, g.spatial, g.padding, y.shape[1:-1], strict=True)
    ]
    maps = lax.pad(maps, jnp.zeros((), maps.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    total = None
    for index, tap in enumerate(itertools.product(*map(range, g.window))):
        starts = [
            w + low - t * d
            for w, (low, _), t, d in zip(reach, g.padding, tap, g.dilation, strict=True)
        ]
        stops = [a + n for a, n in zip(starts, g.spatial, strict=True)]
        part = lax.slice(maps, (0, *starts, index), (y.shape[0], *stops, index + 1))
        total = part if total is None else total + part
    assert total is not None
    return total.astype(y.dtype)


def _input_by_phases(
    y: jax.Array, kernel: jax.Array, g: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Compute the input gradient with strides and no dilation.

    The padded input position ``m * stride + phase`` receives ``kernel[u * stride + phase]``
    times ``y[m - u]``: one convolution at stride one per phase. All phases are computed as
    channels of a single convolution.
    """
    channels_in, channels_out = kernel.shape[-2:]
    taps = tuple(math.ceil(k / s) for k, s in zip(g.window, g.strides, strict=True))
    zeros = [(0, u * s - k, 0) for k, s, u in zip(g.window, g.strides, taps, strict=True)]
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), [*zeros, (0, 0, 0), (0, 0, 0)])
    split = [n for pair in zip(taps, g.strides, strict=True) for n in pair]
    kernel = kernel.reshape(*split, channels_in, channels_out)
    order = [*range(0, 2 * g.rank, 2), *range(1, 2 * g.rank, 2), 2 * g.rank, 2 * g.rank + 1]
    kernel = kernel.transpose(order).reshape(*taps, -1, channels_out)
    blocks = tuple(
        math.ceil((n + low) / s)
        for n, s, (low, _) in zip(g.spatial, g.strides, g.padding, strict=True)
    )
    ones = (1,) * g.rank
    phased = Geometry(blocks, taps, ones, ((0, 0),) * g.rank, ones)
    x = _input_unit_stride(y, kernel, phased, precision)
    x = _depth_to_space(x, g._replace(window=g.strides))
    starts = (0, *(low for low, _ in g.padding), 0)
    stops = (x.shape[0], *(low + n for n, (low, _) in zip(g.spatial, g.padding, strict=True)))
    return lax.slice(x, starts, (*stops, channels_in))


def flip_kernel(kernel: jax.Array, groups: int = 1) -> jax.Array:
    """Flip the kernel in space and swap its channels, as the transposed convolution needs."""
    kernel = jnp.flip(kernel, range(kernel.ndim - 2))
    *window, inner, outer = kernel.shape
    blocks = kernel.reshape(*window, inner, groups, outer // groups).swapaxes(-1, -3)
    return blocks.reshape(*window, outer // groups, groups * inner)


def _space_to_depth(x: jax.Array, g: Geometry) -> jax.Array:
    """(batch, *spatial, channels) -> (batch, *blocks, window * channels)."""
    if math.prod(g.window) == 1:
        return x
    blocks = [n // s for n, s in zip(x.shape[1:-1], g.window, strict=True)]
    split = [n for pair in zip(blocks, g.window, strict=True) for n in pair]
    x = x.reshape(x.shape[0], *split, x.shape[-1])
    odd, even = range(1, 2 * g.rank, 2), range(2, 2 * g.rank + 1, 2)
    return x.transpose(0, *odd, *even, x.ndim - 1).reshape(x.shape[0], *blocks, -1)


def _depth_to_space(x: jax.Array, g: Geometry) -> jax.Array:
    """(batch, *blocks, window * channels) -> (batch, *spatial, channels)."""
    if math.prod(g.window) == 1:
        return x
    blocks = x.shape[1:-1]
    x = x.reshape(x.shape[0], *blocks, *g.window, -1)
    pairs = [axis for i in range(g.rank) for axis in (1 + i, 1 + g.rank + i)]
    x = x.transpose(0, *pairs, x.ndim - 1)
    spatial = [n * s for n, s in zip(blocks, g.window, strict=True)]
    return x.reshape(x.shape[0], *spatial, -1)
