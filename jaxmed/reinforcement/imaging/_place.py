"""Where an agent stands in an image."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike

from jaxmed.core import Array

LARGEST = 2**15 - 1
"""The largest number of an image, a landmark or a position: states hold them as int16."""


class Place(NamedTuple):
    """State of :func:`landmark`: a position in an image, and those before it; some 40 bytes.

    Attributes:
        image: number of the image, int16.
        target: number of the landmark that is looked for, int16.
        scale: number of the scale, coarse to fine, int8.
        position: in voxels, ``(rank,)`` int16.
        recent: the last positions at this scale, the latest first, ``(history, rank)`` int16.
        known: how many of these there are, int8.
        steps: taken so far, int16.
        refused: whether the last step would have led out of the image.
    """

    image: Array
    target: Array
    scale: Array
    position: Array
    recent: Array
    known: Array
    steps: Array
    refused: Array

    @property
    def came_back(self) -> Array:
        """Whether the position is one of the recent ones: a greedy agent goes in circles."""
        return self._seen.any(-1)

    @property
    def estimate(self) -> Array:
        """Where the agent points to, in voxels, ``(rank,)`` float32.

        The mean of the positions of the circle in which it goes; where it does not, that of the
        recent positions and the present one.
        """
        history = self.recent.shape[-2]
        # The circle is what lies between the latest earlier visit and now.
        around = jnp.where(self.came_back, jnp.argmax(self._seen, -1), self.known)
        counted = (jnp.arange(history) < around[..., None]).astype(jnp.float32)
        total = (self.recent * counted[..., None]).sum(-2) + self.position
        return total / (1.0 + counted.sum(-1, keepdims=True))

    @property
    def _seen(self) -> Array:
        """Which of the recent positions is the present one, ``(history,)``."""
        same = (self.recent == self.position[..., None, :]).all(-1)
        return same & (jnp.arange(same.shape[-1]) < self.known[..., None])


def place(
    image: ArrayLike,
    position: ArrayLike,
    *,
    target: ArrayLike = 0,
    scale: ArrayLike = 0,
    history: int = 4,
) -> Place:
    """Put an agent into an image, at the beginning of an episode.

    Args:
        image: number of the image, ``(...)``.
        position: whole voxels, ``(..., rank)``.
        target: number of the landmark that is looked for, ``(...)``.
        scale: number of the scale, ``(...)``.
        history: as the environment has it.

    Returns:
        States, ``(...)``.

    Raises:
        ValueError: if ``history`` is less than 1, the position is not of whole numbers, or a number
            is beyond those of 16 bits.

    Examples:
        >>> place([0, 1], [[4, 5], [6, 7]]).recent.shape
        (2, 4, 2)
    """
    if history < 1:
        raise ValueError(f"history is at least 1, got {history}")
    given = jnp.asarray(position)
    if not jnp.issubdtype(given.dtype, jnp.integer):
        raise ValueError(f"a position is of whole voxels, got {given.dtype}: round it")
    for name, value in (("image", image), ("position", position), ("target", target)):
        _check_small(value, name)
    at = given.astype(jnp.int16)
    lead = at.shape[:-1]

    def each(value: ArrayLike, dtype: type) -> Array:
        return jnp.broadcast_to(jnp.asarray(value, dtype), lead)

    return Place(
        each(image, np.int16), each(target, np.int16), each(scale, np.int8), at,
        jnp.broadcast_to(at[..., None, :], (*lead, history, at.shape[-1])),
        each(0, np.int8), each(0, np.int16), each(False, np.bool_),
    )  # fmt: skip


def check_numbers(n: int, high: ArrayLike) -> None:
    """Refuse more images, or larger positions, than states can tell apart.

    Args:
        n: how many images there are.
        high: the largest positions.

    Raises:
        ValueError: names the rule, and what there is.
    """
    if n - 1 > LARGEST:
        raise ValueError(
            f"states tell {LARGEST + 1} images apart, and there are {n}: give fewer at a time"
        )
    if (most := int(np.max(high))) > LARGEST:
        raise ValueError(
            f"positions are 0 to {LARGEST} along an axis, and one reaches {most}: give smaller or "
            "coarser images, or coarser units"
        )


def _check_small(value: ArrayLike, name: str) -> None:
    """Refuse what would turn into another number by its 16 bits, where its value is known."""
    if isinstance(value, Tracer):
        return
    given = np.asarray(value)
    if given.size and (given.max() > LARGEST or given.min() < -LARGEST - 1):
        raise ValueError(
            f"{name} is of whole numbers up to {LARGEST}, got {given.min()} to {given.max()}"
        )
