"""Recomputation of running statistics under new parameters, whatever the momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, PyTree

Update = Callable[[PyTree, PyTree, Any], PyTree]


def refreshed_statistics(update: Update, state: PyTree, inputs: PyTree) -> PyTree:
    r"""Replace running averages in a state by the mean over batches of what is averaged.

    A pass moves a running average as :math:`s \to m s + (1 - m) b` with the batch's statistic b.
    Passes alone would keep a share of the old statistics, computed under other parameters: .82
    after twenty batches at a momentum of .99. Therefore m is determined from two passes that differ
    in s, and b is solved for and averaged over all batches. For a pair named `mean` and `var`, the
    variance is that of all the data and includes the spread of the batches' means.

    Args:
        update: `(state, batch, index) -> state`, one pass in training mode.
        state: initial state of the passes. What is not a running average (integers, or values no
            pass changes) is kept as the last pass leaves it.
        inputs: batches, stacked along the first axis.

    Returns:
        The state.
    """
    count = len(jax.tree.leaves(inputs)[0])
    first = jax.tree.map(lambda x: x[0], inputs)
    once = update(state, first, 0)
    moved = jax.tree.map(_far_from, state, once)
    momentum = jax.tree.map(_momentum, state, moved, once, update(moved, first, 0))

    def add(carry, batch):
        total, squares, _ = carry
        x, at = batch
        after = update(state, x, at)
        statistic = jax.tree.map(_statistic, state, after, momentum)
        total = jax.tree.map(jnp.add, total, statistic)
        squares = jax.tree.map(lambda s, b: s + b * b, squares, statistic)
        return (total, squares, after), None

    start = jax.tree.map(jnp.zeros_like, state)
    (total, squares, last), _ = jax.lax.scan(
        add, (start, start, state), (inputs, jnp.arange(count))
    )
    mean = jax.tree.map(lambda t, end: _mean_or(t, end, count), total, last)
    between = jax.tree.map(
        lambda s, t: jnp.maximum(s / count - (t / count) ** 2, 0) if _is_float(s) else s,
        squares,
        total,
    )
    return _with_spread(mean, between)


def _is_float(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _far_from(leaf: Array, after: Array) -> Array:
    """Another state, so far off that rounding cannot hide the momentum.

    It is a multiple of the first, which a normalised vector (of spectral normalisation) outlives.
    """
    if not _is_float(leaf):
        return leaf
    size, reach = jnp.abs(leaf).max(initial=0), 100 * jnp.abs(after).max(initial=0)
    scaled = leaf * (2 + reach / jnp.where(size > 0, size, 1))
    return jnp.where(size > 0, scaled, jnp.where(reach > 0, reach, 1).astype(leaf.dtype))


def _momentum(leaf: Array, moved: Array, after: Array, moved_after: Array) -> Array:
    """The share of the old value that a pass keeps: one number for a leaf."""
    if not _is_float(leaf):
        return jnp.ones(())
    way = moved - leaf
    return jnp.vdot(moved_after - after, way) / jnp.maximum(jnp.vdot(way, way), 1e-30)


def _statistic(leaf: Array, after: Array, momentum: Array) -> Array:
    """The batch's statistic; what no pass changes stays."""
    if not _is_float(leaf):
        return after
    kept = momentum > 1 - 1e-5
    solved = (after - momentum * leaf) / jnp.where(kept, 1, 1 - momentum)
    return jnp.where(kept, after, solved).astype(leaf.dtype)


def _mean_or(total: Array, last: Array, count: int) -> Array:
    return (total / count).astype(last.dtype) if _is_float(last) else last


def _with_spread(mean: PyTree, between: PyTree) -> PyTree:
    """Add the spread of the batches' means to the variance beside it."""
    if not isinstance(mean, dict):
        return mean
    found = {name: _with_spread(mean[name], between[name]) for name in mean}
    centre, spread = mean.get("mean"), mean.get("var")
    if centre is not None and spread is not None and jnp.shape(centre) == jnp.shape(spread):
        found["var"] = spread + between["mean"]
    return found
