"""Rows of a batch, as the learners here take them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Array, Batch, Inputs, PyTree, network_inputs


def batch_rows(batch: Batch, inputs: Inputs) -> tuple[Array, Array, tuple[int, ...]]:
    """Rows (n, d), their weights (n,), and a row's own shape."""
    x = one_array(network_inputs(batch, inputs))
    shape = x.shape[1:]
    x = x.reshape(x.shape[0], -1)
    wide = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize > 2
    x = x if wide else x.astype(jnp.float32)
    weight = batch.get("weight")
    return x, jnp.ones(x.shape[:1], x.dtype) if weight is None else weight.astype(x.dtype), shape


def one_array(given: PyTree) -> Array:
    """The one array among the inputs of a batch."""
    leaves = jax.tree.leaves(given)
    if len(leaves) != 1:
        raise ValueError(f"rows of one array are taken, but inputs gives {len(leaves)}")
    return jnp.asarray(leaves[0])


def over(above: Array, below: Array) -> Array:
    """A quotient that is 0 where there is nothing below."""
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0)
