"""Many passes in one program, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Array, PyTree


def sum_over(part: Callable[[Array, Array], PyTree], count: int, chunk: int) -> PyTree:
    """Add up what chunks of passes give.

    Args:
        part: ``(numbers, weights) -> sums``: of the passes of these numbers ``(chunk,)``, each
            weighed by 1, or by 0 where the last chunk has a pass too many.
        count: how many passes there are.
        chunk: how many are made at once.

    Returns:
        The sum, as ``part`` returns it.
    """
    chunk = min(check_count(chunk, "chunk"), count)

    def add(total, first):
        numbers = first + jnp.arange(chunk)
        given = part(jnp.minimum(numbers, count - 1), (numbers < count).astype(jnp.float32))
        return jax.tree.map(jnp.add, total, given), None

    shapes = jax.eval_shape(lambda: part(jnp.arange(chunk), jnp.ones(chunk)))
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.scan(add, empty, jnp.arange(0, count, chunk))[0]


def each_of(part: Callable[[Array], PyTree], count: int, chunk: int) -> PyTree:
    """What each pass gives: ``part`` maps numbers ``(chunk,)`` to arrays ``(chunk, ...)``."""
    chunk = min(check_count(chunk, "chunk"), count)
    firsts = jnp.arange(0, count, chunk)
    parts = jax.lax.map(
        lambda first: part(jnp.minimum(first + jnp.arange(chunk), count - 1)), firsts
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], parts)


def check_count(value: int, name: str, least: int = 1) -> int:
    """A number of passes or the like, which must be at least so many."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is a whole number of at least {least}, got {value!r}")
    return value
