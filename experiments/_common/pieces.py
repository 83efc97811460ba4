"""A function of batches applied to many images, in pieces of one size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_pieces(apply: Callable[[Any], Any], images: np.ndarray, size: int) -> Any:
    """What is said of all images, as arrays in a tree.

    The last piece is filled with the last image, so that one program serves for all.
    """
    n = len(images)
    size = min(size, n)
    found = []
    for begin in range(0, n, size):
        rows = np.minimum(np.arange(begin, begin + size), n - 1)
        said = jax.tree.map(np.asarray, apply(images[rows]))
        found.append(jax.tree.map(lambda x, left=n - begin: x[:left], said))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)
