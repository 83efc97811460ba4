"""PCGrad: conflicting gradients projected off each other."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, merge_named, stream
from jaxmed.paradigms.base._weighted import weighted
from jaxmed.paradigms.multi_task._task_gradients import (
    each_task,
    gram_matrix,
    matching,
    with_gradient,
)


def pcgrad(objectives: Mapping[str, Objective], *, shared: str = "^trunk/") -> Objective:
    r"""A sum of losses whose gradients, where they conflict, are projected off each other.

    Where :math:`g_i \cdot g_j < 0` on the shared parameters, :math:`g_i` loses its component
    along :math:`g_j`, for the other tasks j in random order; the step is the sum of what is left.
    All other parameters (heads) keep the sum of their gradients. The value is the sum of losses.

    Args:
        objectives: by name.
        shared: a regular expression: the network's parameters on which gradients may conflict.

    Returns:
        The objective. Metrics: as :func:`weighted`'s, and ``conflicts``, the fraction of pairs of
        tasks in conflict.

    Raises:
        ValueError: if there is no objective; when traced, if no parameter matches ``shared``.

    References:
        Yu et al. (2020), Gradient surgery for multi-task learning, NeurIPS.

    >>> import jaxmed as jm
    >>> tasks = {name: jm.supervised(jm.losses.mse, output=name, target=name) for name in "ab"}
    >>> both = pcgrad(tasks)
    """
    names, tasks = sorted(objectives), weighted(objectives)
    n = len(names)

    def loss(network, params, state, batch, key):
        losses, gradients, (state, metrics) = each_task(
            tasks, names, network, params, state, batch, key
        )
        gram = gram_matrix(gradients, shared)

        def project(i, row):
            """Coefficients of what is left of gradient i, in terms of all: the order is random."""

            def off(row, j):
                along = row @ gram[:, j]
                share = along / jnp.where(gram[j, j] > 0, gram[j, j], 1)
                hit = (along < 0) & (j != i)
                return row.at[j].add(jnp.where(hit, -share, 0.0)), None

            order = jax.random.permutation(stream(key, "pcgrad", i), n)
            return jax.lax.scan(off, row, order)[0]

        coefficients = jnp.stack([project(i, row) for i, row in enumerate(jnp.eye(n))]).sum(0)
        chosen = matching(params["net"], shared)

        def combine(path, *leaves):
            at = jax.tree_util.keystr(path, simple=True, separator="/")
            factors = coefficients if at in chosen else jnp.ones(n)
            return sum(factor * leaf for factor, leaf in zip(factors, leaves))

        combined = jax.tree.map_with_path(combine, *gradients)
        pairs = max(n * (n - 1), 1)
        metrics = merge_named(metrics, {"conflicts": (gram < 0).sum() / pairs})
        return with_gradient(losses.sum(), params, combined), (state, metrics)

    return tasks._replace(loss=loss)
