"""GradNorm: loss weights by which tasks learn at one pace."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, merge_named, within
from jaxmed.paradigms.base._schedules import check_weight
from jaxmed.paradigms.base._weighted import weighted
from jaxmed.paradigms.multi_task._task_gradients import each_task, gram_matrix, with_gradient


def gradnorm(
    objectives: Mapping[str, Objective],
    *,
    shared: str = "^trunk/",
    alpha: float = 1.5,
    strength: float = 1.0,
) -> Objective:
    r"""A sum of losses whose weights make the tasks learn at one pace.

    With :math:`G_i = w_i \|\nabla L_i\|` on the shared parameters, and :math:`r_i` the task's
    loss relative to its first, divided by the tasks' mean of that, the weights minimise

    .. math:: \sum_i | G_i - \overline{G}\, r_i^\alpha |

    with the right side held constant. They are :math:`w = T\, \mathrm{softmax}(v)`, so that they
    are positive and sum to the number of tasks T, as the paper's after renormalising.

    Args:
        objectives: by name.
        shared: a regular expression: the network's parameters whose gradients are compared. Those
            of the last shared layer are enough, and cheapest.
        alpha: how strongly slow tasks are pulled along.
        strength: factor of the weights' own loss: v is learned by the learner's optimizer.

    Returns:
        The objective; the loss it reports is the weighted sum of the tasks. Metrics: as
        :func:`weighted`'s, and each task's ``name/weight`` and ``name/gradient_norm``.

    Raises:
        ValueError: if the weight is negative or not finite; if there is no objective; when traced,
            if no parameter matches ``shared``.

    References:
        Chen et al. (2018), GradNorm: gradient normalization for adaptive loss balancing, ICML.

    >>> import jaxmed as jm
    >>> tasks = {name: jm.supervised(jm.losses.mse, output=name, target=name) for name in "ab"}
    >>> both = gradnorm(tasks, shared="^trunk/last")
    """
    check_weight(strength, "strength")
    names, summed = sorted(objectives), weighted(objectives)
    tasks = within(summed, "tasks")

    def init(key, network, params, state, batch):
        own_params, own_state = summed.init(key, network, params, state, batch)
        own_params = {"tasks": own_params, "logits": jnp.zeros(len(names))}
        return own_params, {"tasks": own_state, "first": jnp.zeros(len(names))}

    def loss(network, params, state, batch, key):
        losses, gradients, (state, metrics) = each_task(
            tasks, names, network, params, state, batch, key
        )
        norms = jnp.sqrt(jnp.diag(gram_matrix(gradients, shared)))
        weights = len(names) * jax.nn.softmax(params["obj"]["logits"])
        # A task's first loss is that of the first batch with one of its labels.
        first = jnp.where(state["obj"]["first"] > 0, state["obj"]["first"], losses)
        there = losses > 0
        count = jnp.maximum(there.sum(), 1)
        pace = jnp.where(there, losses / jnp.where(first > 0, first, 1), 0)
        pace = pace / jnp.maximum(pace.sum() / count, 1e-12)
        current = weights * norms
        wanted = jnp.where(there, current, 0).sum() / count * jnp.power(pace, alpha)
        uneven = jnp.abs(jnp.where(there, current - jax.lax.stop_gradient(wanted), 0)).sum()
        fixed = jax.lax.stop_gradient(weights)
        combined = jax.tree.map(lambda *g: sum(w * x for w, x in zip(fixed, g)), *gradients)
        value = with_gradient((fixed * losses).sum(), params, combined)
        value = value + strength * (uneven - jax.lax.stop_gradient(uneven))
        own = {f"{name}/weight": fixed[i] for i, name in enumerate(names)}
        own |= {f"{name}/gradient_norm": norms[i] for i, name in enumerate(names)}
        state = {**state, "obj": {**state["obj"], "first": first}}
        return value, (state, merge_named(metrics, own))

    return tasks._replace(init=init, loss=loss)
