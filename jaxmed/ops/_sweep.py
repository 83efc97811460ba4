"""A cell carried along one axis of sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxmed.core import Array

Carry = TypeVar("Carry")
Cell = Callable[[Carry, Any], tuple[Carry, Any]]
"""``(carry, slice) -> (carry, output)``; the slice and the output lack the axis swept along."""


def sweep(
    cell: Cell,
    x: Any,
    *,
    start: Any,
    axis: int = 1,
    reverse: bool = False,
    mask: Array | None = None,
    remat: bool = False,
) -> tuple[Any, Any]:
    """Apply a recurrent cell to the slices along one axis, one after the other.

    Args:
        cell: ``(carry, slice) -> (carry, output)``; a slice is ``x`` without the axis. On a CPU
            its convolutions should be those of :mod:`jaxmed.ops`: XLA's own are slow in loops.
        x: ``(batch, *spatial, channels)``, or a tree of such arrays whose slices go together. What
            a cell would take apart at every step, such as the gates of its input, is better given
            as several arrays: XLA reads parts of a slice number by number.
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
    shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
    for shape in shapes:
        if not 1 <= axis <= len(shape) - 2:
            raise ValueError(
                f"axis={axis} of {shape}: it must be one between the batch and the channels"
            )
    if len({(shape[0], shape[axis]) for shape in shapes}) != 1:
        raise ValueError(f"arrays that go together must be of one length, got {shapes}")
    batch, steps = shapes[0][0], shapes[0][axis]
    if steps == 0:
        raise ValueError(f"there are no steps to sweep along axis {axis} of {shapes[0]}")
    slices = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, axis, 0), x)
    step: Callable[[Any, Any], Any]
    if mask is None:
        step, given = cell, slices
    else:
        if mask.shape != (batch, steps):
            raise ValueError(f"the mask must be (batch, steps), {(batch, steps)}, got {mask.shape}")
        step, given = _masked(cell), (slices, mask.T.astype(bool))
    step = jax.checkpoint(step, prevent_cse=False) if remat else step
    carry, outputs = jax.lax.scan(step, start, given, reverse=reverse)
    return carry, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, axis), outputs)


def _masked(cell: Cell) -> Callable:
    """The cell for which examples whose slice does not count stand still."""

    def step(carry: Any, given: tuple[Any, Array]) -> tuple[Any, Any]:
        x, counts = given

        def choose(new: Array, old: Array | float) -> Array:
            return jnp.where(counts.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        # What does not count may hold anything, and a slope of NaN is one wherever it is selected.
        nothing = lambda tree: jax.tree.map(lambda leaf: choose(leaf, 0), tree)  # noqa: E731
        after, output = cell(carry, nothing(x))
        return jax.tree.map(choose, after, carry), nothing(output)

    return step
