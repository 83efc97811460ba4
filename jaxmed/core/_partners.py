"""A partner for each row of a batch: whom an example is mixed with."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core._random import stream
from jaxmed.core._types import Array, Key


def partners(key: Key, size: int, weight: Array | None, domain: Array | None = None) -> Array:
    """A random partner for each row; a row whose partner is padding is its own.

    Args:
        key: of the draw.
        size: rows.
        weight: ``(size,)``, 0 for padding rows; None where there are none.
        domain: ``(size,)`` numbers of domains, such as scanners: each row's partner is then drawn
            among the rows of the others, and a row without one is its own.

    Returns:
        ``(size,)`` positions.

    Raises:
        ValueError: when traced, if ``weight`` or ``domain`` is of another shape.
    """
    for name, given in (("weight", weight), ("domain", domain)):
        if given is not None and given.shape != (size,):
            raise ValueError(f"{name} must be ({size},), one number a row, got {given.shape}")
    if domain is None:
        partner = jax.random.permutation(key, size)
        if weight is None:
            return partner
        return jnp.where(weight[partner] > 0, partner, jnp.arange(size))
    other = domain[:, None] != domain
    if weight is not None:
        other &= weight > 0
    drawn = jnp.where(other, jax.random.uniform(stream(key, "domain"), (size, size)), -1.0)
    return jnp.where(other.any(1), drawn.argmax(1), jnp.arange(size))
