"""Accumulated gradients: several batches make one update, and each example counts the same."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmed.core import Array, PyTree


class AccumulateState(NamedTuple):
    """What is carried between updates.

    Attributes:
        made: batches since the last update.
        weight: of their examples.
        gradients: the sum of the batches' gradients, each times its weight.
        inner: the optimizer's own state.
    """

    made: Array
    weight: Array
    gradients: PyTree
    inner: PyTree


def accumulated(
    optimizer: optax.GradientTransformation, every: int
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, on the mean gradient of every so many batches.

    A batch's gradient is that of a mean over its examples, so it enters the mean of several by the
    weight of these: a batch that is padded counts by its real rows, and the update is that of one
    batch with all rows. A learner says the ``weight``; without it batches count alike.

    Args:
        optimizer: any Optax transformation.
        every: batches that make one update. Between updates parameters stay as they are, unless a
            gradient is not finite: its update is NaN.

    Returns:
        The Optax transformation.
    """
    inner = optax.with_extra_args_support(optimizer)

    def init(params: PyTree) -> AccumulateState:
        return AccumulateState(
            jnp.zeros((), jnp.int32),
            jnp.zeros(()),
            jax.tree.map(jnp.zeros_like, params),
            inner.init(params),
        )

    def update(updates, state, params=None, *, weight=None, **extra):
        weight = jnp.ones(()) if weight is None else jnp.asarray(weight, jnp.float32)
        made = state.made + 1
        total = state.weight + weight
        gradients = jax.tree.map(
            lambda old, new: old + (weight * new).astype(old.dtype), state.gradients, updates
        )
        due = made == every

        def step():
            scale = jnp.where(total > 0, total, 1)
            mean = jax.tree.map(lambda g: (g / scale).astype(g.dtype), gradients)
            changes, own = inner.update(mean, state.inner, params, weight=total, **extra)
            fresh = jax.tree.map(jnp.zeros_like, gradients)
            return changes, AccumulateState(jnp.zeros_like(made), jnp.zeros_like(total), fresh, own)

        def wait():
            # A gradient that is not finite must halt the run at its own step: it is passed on as
            # NaN, for a sum in the optimizer's state is nothing that a run looks at.
            nothing = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), 0, jnp.nan), updates)
            nothing = jax.tree.map(lambda n, g: n.astype(g.dtype), nothing, updates)
            return nothing, AccumulateState(made, total, gradients, state.inner)

        # Both are computed and one is chosen, which is what `vmap` makes of a branch anyway.
        (changes, own), (nothing, waiting) = step(), wait()
        choose = lambda one, other: jnp.where(due, one, other)  # noqa: E731
        return (
            jax.tree.map(choose, changes, nothing),
            jax.tree.map(choose, own, waiting),
        )

    return optax.GradientTransformationExtraArgs(init, update)
