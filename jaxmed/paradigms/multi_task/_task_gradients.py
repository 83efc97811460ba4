"""The gradients of several tasks, each by itself; and a loss whose gradient is given."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import Array, PyTree, flatten_paths


def each_task(tasks, names, network, params, state, batch, key):
    """Losses (tasks,), the gradient of each on all parameters, and the rest: one forward pass."""

    def values(params):
        _, (after, metrics) = tasks.loss(network, params, state, batch, key)
        return jnp.stack([metrics[f"{name}/loss"] for name in names]), (after, metrics)

    losses, pull, rest = jax.vjp(values, jax.lax.stop_gradient(params), has_aux=True)
    gradients = [pull(row)[0] for row in jnp.eye(len(names), dtype=losses.dtype)]
    return losses, gradients, jax.lax.stop_gradient(rest)


def matching(net: PyTree, shared: str) -> set[str]:
    """The paths, from the whole parameters' root, that a pattern finds in the network's."""
    found = {f"net/{path}" for path in flatten_paths(net) if re.search(shared, path)}
    if not found:
        raise ValueError(
            f"no parameter of the network matches shared={shared!r}; there are "
            f"{list(flatten_paths(net))[:20]}"
        )
    return found


def gram_matrix(gradients: list[PyTree], shared: str) -> Array:
    """Inner products (tasks, tasks) of the gradients on the shared parameters."""
    chosen = matching(gradients[0]["net"], shared)
    rows = [
        [leaf.ravel() for path, leaf in flatten_paths(tree).items() if path in chosen]
        for tree in gradients
    ]
    products: Any = sum(
        jnp.einsum("ip,jp->ij", *[jnp.stack([row[k] for row in rows]).astype(jnp.float32)] * 2)
        for k in range(len(rows[0]))
    )
    return products


def with_gradient(value: Array, params: PyTree, gradient: PyTree) -> Array:
    """The value, with a gradient that is given and constant."""
    stop = jax.lax.stop_gradient
    linear = jax.tree.map(lambda p, g: jnp.vdot(stop(g), p - stop(p)), params, gradient)
    return stop(value) + sum(jax.tree.leaves(linear))
