"""Seeds for NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Key, stream


def numpy_seed(key: Key, *names: str | int) -> int:
    """Draw a seed for NumPy's generators from a named stream."""
    return int(jax.random.bits(stream(key, *names), dtype=jnp.uint32))
