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
from benchmarks._memory import mark
from jaxmed import ops


def compiled(
    function: Callable, *arguments: Any, form: str = "auto", keep: Callable | None = None
) -> Run:
    """Compile `function` for `arguments` under a form of the convolution.

    Args:
        function: function to time.
        *arguments: its arrays, put on the device once.
        form: form of the convolution, see `jaxmed.ops.config`.
        keep: function from the result to the part compared between sides; all of it if None.

    Returns:
        The run.

    Raises:
        UnavailableError: if the form cannot run here.
    """
    with ops.config(conv=form):
        try:
            program = jax.jit(function).lower(*arguments).compile()
        except RuntimeError as error:
            if form == "onednn":
                raise UnavailableError(str(error)) from error
            raise
    mark()
    arguments = jax.device_put(arguments)

    def result() -> Any:
        value = program(*arguments)
        return jax.tree.map(_array, value if keep is None else keep(value))

    return waiting(lambda: program(*arguments), result, memory=program_bytes(program))


def waiting(
    call: Callable[[], Any], result: Callable[[], Any] | None = None, *, memory: int | None = None
) -> Run:
    """Create a run of a function that returns arrays asynchronously.

    On a CPU each call is waited for, since two of them would share the cores.
    """
    if jax.default_backend() == "cpu":
        return Run(lambda: jax.block_until_ready(call()), result, memory=memory)
    last: list[Any] = [None]

    def begin() -> None:
        last[0] = call()

    return Run(begin, result, lambda: jax.block_until_ready(last[0]), memory)


def program_bytes(program: Any) -> int | None:
    """Return bytes of a program's arguments, results and temporaries, donated ones once."""
    try:
        sizes = program.memory_analysis()
        return int(
            sizes.argument_size_in_bytes
            + sizes.output_size_in_bytes
            + sizes.temp_size_in_bytes
            - sizes.alias_size_in_bytes
        )
    except (AttributeError, NotImplementedError, TypeError):
        return None


def flops_of(function: Callable, *arguments: Any) -> float:
    """Count multiplications and additions of the convolutions and matrix products of one call."""
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if "geometry" in params:
            total += _convolution_flops(equation)
        elif name == "dot_general":
            ((left, _), _) = params["dimension_numbers"]
            contracted = math.prod(equation.invars[0].aval.shape[i] for i in left)
            total += 2.0 * contracted * math.prod(equation.outvars[0].aval.shape)
        else:
            inner = jax.tree.leaves(
                list(params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")
            )
            times = params.get("length", 1) if name == "scan" else 1
            for value in inner:
                value = getattr(value, "jaxpr", value)
                if hasattr(value, "eqns"):
                    total += times * _flops(value)
    return total


def _convolution_flops(equation: Any) -> float:
    """Count those of one of our primitives, from whichever two of its three arrays are given."""
    geometry = equation.params["geometry"]
    shapes = [v.aval.shape for v in (*equation.invars, *equation.outvars)]
    ndim = geometry.rank + 2
    shapes = [s[len(s) - ndim :] for s in shapes if len(s) >= ndim]
    kernel = next(s for s in shapes if s[: geometry.rank] == geometry.window)
    images = next(s for s in shapes if s[1:-1] in (geometry.output, geometry.spatial))
    members = equation.params.get("members") or 1
    return 2.0 * members * images[0] * math.prod(geometry.output) * math.prod(kernel)


def peak_flops(precision: str = "float32") -> float:
    """Measure operations per second in one large matrix product, the practical peak."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (size, size), precision)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32 if value.dtype == jnp.bfloat16 else None)


def normal(seed: int, *shape: int) -> np.ndarray:
    """Draw standard normal float32 values."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
