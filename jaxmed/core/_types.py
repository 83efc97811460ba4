"""The names that signatures use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key, as made by ``jax.random.key``."""
PyTree: TypeAlias = Any
Batch: TypeAlias = Mapping[str, Array]
"""Arrays by name, the examples along each one's first axis."""
Endpoints: TypeAlias = dict[str, Any]
"""What a network returns: named arrays, such as ``features``, ``pyramid``, ``logits``."""
Metrics: TypeAlias = dict[str, Array]
"""Scalars by name."""
