"""Losses weighted by each task's uncertainty."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import jax.numpy as jnp

from jaxmed.core import Objective, merge_named, within
from jaxmed.paradigms.base._weighted import weighted


def uncertainty_weighted(
    objectives: Mapping[str, Objective], *, regression: Collection[str] = ()
) -> Objective:
    r"""A sum of losses, each weighted by how sure the model is of that task.

    .. math:: \sum_i e^{-s_i} L_i + s_i / 2

    with a learned log-variance :math:`s_i` for each task, 0 at first; a task of ``regression``
    (a Gaussian likelihood: a squared error) has half the first term. A task without a label in
    the batch, whose loss is 0, adds nothing, so that its variance stays.

    Args:
        objectives: by name, as :func:`weighted` takes them.
        regression: the names of those whose loss is a squared error.

    Returns:
        The objective; its log-variances are parameters, and it has :func:`weighted`'s metrics and
        each task's ``name/weight``. The whole may be negative.

    Raises:
        ValueError: if there is no objective, or ``regression`` names none of them.

    References:
        Kendall, Gal and Cipolla (2018), Multi-task learning using uncertainty to weigh losses for
        scene geometry and semantics, CVPR.

    >>> import jaxmed as jm
    >>> both = uncertainty_weighted(
    ...     {
    ...         "grade": jm.supervised(jm.losses.cross_entropy, output="grade", target="grade"),
    ...         "age": jm.supervised(jm.losses.mse, output="age", target="age"),
    ...     },
    ...     regression=("age",),
    ... )
    """
    if unknown := sorted(set(regression) - set(objectives)):
        raise ValueError(f"regression names {unknown}, but there are {sorted(objectives)}")
    names, summed = sorted(objectives), weighted(objectives)
    tasks = within(summed, "tasks")

    def init(key, network, params, state, batch):
        own_params, own_state = summed.init(key, network, params, state, batch)
        variances = {name: jnp.zeros(()) for name in names}
        return {"tasks": own_params, "log_variance": variances}, {"tasks": own_state}

    def loss(network, params, state, batch, key):
        _, (state, metrics) = tasks.loss(network, params, state, batch, key)
        total, own = 0.0, {}
        for name in names:
            value, s = metrics[f"{name}/loss"], params["obj"]["log_variance"][name]
            factor = jnp.exp(-s) * (0.5 if name in regression else 1.0)
            total = total + factor * value + jnp.where(value == 0, 0.0, s / 2)
            own[f"{name}/weight"] = factor
        return total, (state, merge_named(metrics, own))

    return tasks._replace(init=init, loss=loss)
