"""The native convolution: loading the library, querying its kernels, calling it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
from collections.abc import Iterator

import jax
import numpy as np

from jaxmed.ops._build import build
from jaxmed.ops._cache import BuildError, NotOffered
from jaxmed.ops.convolution._geometry import Geometry

# Name of the target in XLA, and of the handler in the library.
_TARGETS = {
    "jaxmed_conv": "JaxmedConv",
    "jaxmed_conv_biased": "JaxmedConvBiased",
    "jaxmed_conv_kernel_bias": "JaxmedConvKernelBias",
    "jaxmed_few_channels": "JaxmedFewChannels",
    "jaxmed_components": "JaxmedComponents",
    "jaxmed_read_points": "JaxmedReadPoints",
    "jaxmed_tilt_points": "JaxmedTiltPoints",
    "jaxmed_put_points": "JaxmedPutPoints",
}
# Name of the kernel that is not oneDNN's: the gradient to an input of few channels.
FEW_CHANNELS = "jaxmed:few_channels"
_KINDS = {"output": 0, "input": 1, "kernel": 2}
_NAME_LENGTH = 256
# Numbers of the smallest vector of `few_channels`, which the output channels must fill.
_LANES = 4

_log = logging.getLogger("jaxmed")


@functools.cache
def library() -> ctypes.CDLL | str:
    """Return the loaded extension, or the reason there is none. The first call may compile it."""
    try:
        extension = build()
        with _short_spin():
            ctypes.CDLL(str(extension.onednn))
        loaded = ctypes.CDLL(str(extension.library))
        for target, handler in _TARGETS.items():
            capsule = jax.ffi.pycapsule(getattr(loaded, handler))
            jax.ffi.register_ffi_target(target, capsule, platform="cpu")
    except (BuildError, OSError, AttributeError) as error:
        # Where it was meant to work, whoever waits for slow convolutions should see why.
        level = logging.INFO if isinstance(error, NotOffered) else logging.WARNING
        _log.log(level, "native convolution not available, the pure form runs: %s", error)
        return str(error)
    return loaded


@contextlib.contextmanager
def _short_spin() -> Iterator[None]:
    """Make idle OpenMP threads sleep soon instead of spinning, while the runtime is loaded.

    The runtime reads the environment once, when loaded. Spinning threads take the cores from
    XLA's threads, which run everything between two convolutions. An existing setting is kept.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


@functools.lru_cache(maxsize=4096)
def implementation(
    kind: str, dtype: str, batch: int, channels_in: int, channels_out: int, geometry: Geometry
) -> str:
    """Return the name of oneDNN's kernel for this shape, or "" if there is no fast one."""
    loaded = library()
    if isinstance(loaded, str) or dtype not in ("float32", "bfloat16"):
        return ""
    low, high = zip(*geometry.padding, strict=True)
    numbers = [
        _KINDS[kind],
        int(dtype == "bfloat16"),
        batch,
        channels_in,
        channels_out,
        geometry.groups,
        geometry.rank,
        *geometry.spatial,
        *geometry.window,
        *geometry.strides,
        *low,
        *high,
        *geometry.dilation,
        *geometry.output,
    ]
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    array = (ctypes.c_int64 * len(numbers))(*numbers)
    failed = loaded.jaxmed_conv_probe(array, name, ctypes.c_int64(_NAME_LENGTH))
    text = name.value.decode()
    return "" if failed or "ref" in text else text


def few_channels_offered(dtype: str, channels_out: int, geometry: Geometry) -> bool:
    """Return whether the gradient to an input of few channels has a kernel for these operands."""
    return (
        dtype == "float32"
        and geometry.groups == 1
        and channels_out % _LANES == 0
        and not isinstance(library(), str)
    )


def offers(dtype: str) -> bool:
    """Return whether this machine has fast kernels of a dtype for all maps of a plain convolution.

    oneDNN chooses by the processor's instruction sets: bfloat16, for instance, needs avx512_bf16.
    """
    plain = Geometry((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    return all(implementation(kind, dtype, 16, 16, 16, plain) for kind in _KINDS)


def native(
    kind: str,
    left: jax.Array,
    right: jax.Array,
    *,
    shape: tuple[int, ...],
    geometry: Geometry,
    members: int | None,
    stacked: tuple[bool, bool],
) -> jax.Array:
    """Call the native convolution; `shape` is that of the result."""
    call = jax.ffi.ffi_call("jaxmed_conv", jax.ShapeDtypeStruct(shape, left.dtype))
    return call(
        left,
        right,
        kind=np.int64(_KINDS[kind]),
        members=np.int64(members or 0),
        left_stacked=stacked[0],
        right_stacked=stacked[1],
        **_attributes(geometry),
    )


def few_channels(
    y: jax.Array,
    kernel: jax.Array,
    *,
    shape: tuple[int, ...],
    geometry: Geometry,
    members: int | None,
    stacked: tuple[bool, bool],
) -> jax.Array:
    """Compute the gradient to an input of few channels, of this shape."""
    attributes = _attributes(geometry)
    del attributes["groups"], attributes["high"]
    call = jax.ffi.ffi_call("jaxmed_few_channels", jax.ShapeDtypeStruct(shape, y.dtype))
    return call(
        y,
        kernel,
        members=np.int64(members or 0),
        y_stacked=stacked[0],
        kernel_stacked=stacked[1],
        **attributes,
    )


def native_biased(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, geometry: Geometry, slope: float | None
) -> jax.Array:
    """Compute `activation(conv(x, kernel) + bias)`."""
    shape = (x.shape[0], *geometry.output, kernel.shape[-1])
    call = jax.ffi.ffi_call("jaxmed_conv_biased", jax.ShapeDtypeStruct(shape, x.dtype))
    return call(
        x,
        kernel,
        bias,
        activate=slope is not None,
        slope=np.float32(slope or 0.0),
        **_attributes(geometry),
    )


def native_kernel_and_bias(
    x: jax.Array, y: jax.Array, geometry: Geometry
) -> tuple[jax.Array, jax.Array]:
    """Compute the gradients of a kernel and of a bias `(1, ..., 1, channels_out)`."""
    channels = y.shape[-1]
    kernel = (*geometry.window, x.shape[-1] // geometry.groups, channels)
    results = [
        jax.ShapeDtypeStruct(shape, x.dtype)
        for shape in (kernel, (1,) * (y.ndim - 1) + (channels,))
    ]
    call = jax.ffi.ffi_call("jaxmed_conv_kernel_bias", results)
    kernel_gradient, bias_gradient = call(x, y, **_attributes(geometry))
    return kernel_gradient, bias_gradient


def _attributes(geometry: Geometry) -> dict[str, np.ndarray | np.int64]:
    low, high = zip(*geometry.padding, strict=True)
    lists = {
        "spatial": geometry.spatial,
        "window": geometry.window,
        "strides": geometry.strides,
        "low": low,
        "high": high,
        "dilation": geometry.dilation,
        "output": geometry.output,
    }
    arrays = {name: np.asarray(values, np.int64) for name, values in lists.items()}
    return {"groups": np.int64(geometry.groups), **arrays}
