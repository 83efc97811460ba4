"""A cell carried along one axis of sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxmed.core import Array

Carry = TypeVar("Carry")
Cell = Callable[[Carry, Array], tuple[Carry, Array]]
"""``(carry, slice) -> (carry, output)``; the slice and the output lack the axis swept along."""


def sweep(
    cell: Cell,
    x: Array,
    *,
    start: Any,
    axis: int = 1,
    reverse: bool = False,
    mask: Array | None = None,
    remat: bool = False,
) -> tuple[Any, Array]:
    """Apply a recurrent cell to the slices along one axis, one after the other.

    Args:
        cell: ``(carry, slice) -> (carry, output)``; a slice is ``x`` without the axis. On a CPU
            its convolutions should be those of :mod:`jaxmed.ops`: XLA's own are slow in loops.
        x: ``(batch, *spatial, channels)``.
        start: the carry before the first slice.
        axis: along which to go, 1 for the first behind the batch.
        reverse: whether to begin at the far end. The output is in the order of ``x`` either way.
        mask: ``(batch, steps)``, which slices count; None for all. A slice that does not leaves
            its example's carry as it is, whatever it holds, and its output is 0.
        remat: compute each step again in the backward pass, so that only the carries are kept.

    Returns:
        The last carry, and the outputs stacked along the same axis.

    Raises:
        ValueError: if there is no such axis, nothing to go along, or the mask does not fit.

    Examples:
        >>> total = lambda carry, slice: (carry + slice, carry + slice)
        >>> x = jnp.arange(4.0).reshape(1, 4, 1)
        >>> carry, y = sweep(total, x, start=jnp.zeros((1, 1)))
        >>> carry.item(), y.ravel().tolist()
        (6.0, [0.0, 1.0, 3.0, 6.0])
        >>> sweep(total, x, start=jnp.zeros((1, 1)), reverse=True)[1].ravel().tolist()
        [6.0, 6.0, 5.0, 3.0]
    """
    if not 1 <= axis <= x.ndim - 2:
        raise ValueError(
            f"axis={axis} of {x.shape}: it must be one between the batch and the channels"
        )
    steps = x.shape[axis]
    if steps == 0:
        raise ValueError(f"there are no steps to sweep along axis {axis} of {x.shape}")
    slices = jnp.moveaxis(x, axis, 0)
    step: Callable[[Any, Any], Any]
    if mask is None:
        step, given = cell, slices
    else:
        if mask.shape != (x.shape[0], steps):
            raise ValueError(
                f"the mask must be (batch, steps), {(x.shape[0], steps)}, got {mask.shape}"
            )
        step, given = _masked(cell), (slices, mask.T.astype(bool))
    step = jax.checkpoint(step, prevent_cse=False) if remat else step
    carry, outputs = jax.lax.scan(step, start, given, reverse=reverse)
    return carry, jnp.moveaxis(outputs, 0, axis)


def _masked(cell: Cell) -> Callable:
    """The cell for which examples whose slice does not count stand still."""

    def step(carry: Any, given: tuple[Array, Array]) -> tuple[Any, Array]:
        x, counts = given

        def choose(new: Array, old: Array | float) -> Array:
            return jnp.where(counts.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        # What does not count may hold anything, and a slope of NaN is one wherever it is selected.
        after, output = cell(carry, choose(x, 0))
        return jax.tree.map(choose, after, carry), choose(output, 0)

    return step
