"""Our side: compiled ahead of time under one form of the convolution."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._case import Run, UnavailableError
from jaxmed import ops


def compiled(
    function: Callable, *arguments: Any, form: str = "auto", keep: Callable | None = None
) -> Run:
    """`function` of `arguments`, compiled under a form of the convolution.

    Args:
        function: to be timed.
        *arguments: its arrays, put on the device once.
        form: as `jaxmed.ops.config` takes it.
        keep: from the function's value to what sides are compared by; all of it if None.

    Returns:
        The run.

    Raises:
        UnavailableError: if the form cannot run here.
    """
    arguments = jax.device_put(arguments)
    with ops.config(conv=form):
        try:
            program = jax.jit(function).lower(*arguments).compile()
        except RuntimeError as error:
            if form == "onednn":
                raise UnavailableError(str(error)) from error
            raise

    def result() -> Any:
        value = program(*arguments)
        return jax.tree.map(np.asarray, value if keep is None else keep(value))

    return Run(lambda: jax.block_until_ready(program(*arguments)), result)


def peak_flops() -> float:
    """What the device does a second in one large float32 matrix product: the practical peak."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def normal(seed: int, *shape: int) -> np.ndarray:
    """Standard normal float32 values."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
