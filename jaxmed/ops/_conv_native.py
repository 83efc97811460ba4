"""The native convolution: loading it, asking what it can do, calling it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
from collections.abc import Iterator

import jax
import numpy as np

from jaxmed.ops._build import BuildError, build
from jaxmed.ops._conv_geometry import Geometry

_TARGET = "jaxmed_conv"
_KINDS = {"output": 0, "input": 1, "kernel": 2}
_NAME_LENGTH = 256

_log = logging.getLogger("jaxmed")


@functools.cache
def library() -> ctypes.CDLL | str:
    """The loaded extension, or why there is none. The first call may compile it."""
    try:
        extension = build()
        with _short_spin():
            ctypes.CDLL(str(extension.onednn))
        loaded = ctypes.CDLL(str(extension.library))
        handler = jax.ffi.pycapsule(loaded.JaxmedConv)
        jax.ffi.register_ffi_target(_TARGET, handler, platform="cpu")
    except (BuildError, OSError, AttributeError) as error:
        _log.info("native convolution not available, the pure form runs: %s", error)
        return str(error)
    return loaded


@contextlib.contextmanager
def _short_spin() -> Iterator[None]:
    """While OpenMP's run-time is loaded: its idle threads sleep soon instead of spinning.

    It reads the environment once, when loaded. A team that spins takes the cores from XLA's
    threads, which run everything between two convolutions. Set already: left as it is.
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
    """The name of oneDNN's kernel for this shape, or "" where there is none worth calling."""
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
    """The call itself; `shape` is the result's."""
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
    call = jax.ffi.ffi_call(_TARGET, jax.ShapeDtypeStruct(shape, left.dtype))
    return call(
        left,
        right,
        kind=np.int64(_KINDS[kind]),
        members=np.int64(members or 0),
        left_stacked=stacked[0],
        right_stacked=stacked[1],
        groups=np.int64(geometry.groups),
        **{name: np.asarray(values, np.int64) for name, values in lists.items()},
    )
