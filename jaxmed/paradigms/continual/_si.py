"""Synaptic intelligence: importance gathered along the way."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmed.core import LearnerState, Objective, flatten_paths, merge_named, within
from jaxmed.paradigms.base._schedules import check_weight
from jaxmed.paradigms.continual._ewc import distance
from jaxmed.paradigms.multi_task._task_gradients import with_gradient

_OWN = {"anchor", "importance", "path", "before", "slope"}


def si(objective: Objective, *, weight: float = 0.1, damping: float = 0.1) -> Objective:
    r"""Add a penalty on moving parameters by which earlier losses fell.

    While a task is learned, :math:`\omega_k = -\int g_k \, d\theta_k` gathers how much of the fall
    of the loss parameter k is to be thanked for; between tasks (:func:`next_task`) its importance
    grows by :math:`\max(\omega_k, 0) / (\Delta_k^2 + \xi)`, with the way :math:`\Delta_k` that it
    has gone, and the penalty is :math:`\lambda \sum_k \Omega_k (\theta_k - \theta^*_k)^2`.

    Args:
        objective: what is learned.
        weight: :math:`\lambda`.
        damping: :math:`\xi`, which keeps parameters that hardly moved from mattering most.

    Returns:
        The objective, with what it gathers in its state, and the metric ``penalty``.

    Raises:
        ValueError: if the weight is negative or the damping not positive.

    References:
        Zenke, Poole and Ganguli (2017), Continual learning through synaptic intelligence, ICML.
    """
    check_weight(weight)
    if not damping > 0:
        raise ValueError(f"damping must be positive, got {damping}")
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        now = flatten_paths(params)
        copies = lambda: {path: jnp.copy(leaf) for path, leaf in now.items()}  # noqa: E731
        zeros = lambda: {path: jnp.zeros_like(leaf) for path, leaf in now.items()}  # noqa: E731
        return {"objective": own_params}, {
            "objective": own_state, "anchor": copies(), "before": copies(), "importance": zeros(),
            "path": zeros(), "slope": zeros(), "damping": jnp.asarray(damping),
        }  # fmt: skip

    def loss(network, params, state, batch, key):
        still = jax.lax.stop_gradient(params)
        (value, (after, metrics)), g = jax.value_and_grad(
            lambda p: inner.loss(network, p, state, batch, key), has_aux=True
        )(still)
        own = state["obj"]
        penalty = distance(params["net"], own["anchor"], own["importance"])
        after = {**after, "obj": {**after["obj"], "slope": flatten_paths(g["net"])}}
        total = with_gradient(value, params, g) + weight * penalty
        return total, (after, merge_named(metrics, {"penalty": penalty}))

    def post_step(params, state):
        state = inner.post_step(params, state)
        own, now = state["obj"], flatten_paths(params["net"])
        path = {
            at: gathered - own["slope"][at] * (now[at] - own["before"][at])
            for at, gathered in own["path"].items()
        }
        return {**state, "obj": {**own, "path": path, "before": now}}

    return inner._replace(init=init, loss=loss, post_step=post_step)


def next_task(state: LearnerState) -> LearnerState:
    """Between two tasks: what was gathered becomes importance, and gathering begins anew.

    Args:
        state: of a learner whose objective is, or holds, :func:`si`; of an ensemble of such, or of
            players.

    Returns:
        The state with which the next task begins.

    Raises:
        ValueError: if no part of the state is that of :func:`si`.
    """
    found = 0

    def grown(f, path, now, anchor, damping):
        # Of an ensemble's members the damping has one number each.
        damping = damping.reshape(*damping.shape, *[1] * (now.ndim - damping.ndim))
        return f + jnp.maximum(path, 0) / (jnp.square(now - anchor) + damping)

    def changed(tree: Any) -> Any:
        nonlocal found
        if not isinstance(tree, dict):
            return tree
        if set(tree) >= _OWN:
            found += 1
            now = tree["before"]
            importance = {
                at: grown(f, tree["path"][at], now[at], tree["anchor"][at], tree["damping"])
                for at, f in tree["importance"].items()
            }
            fresh = {at: jnp.zeros_like(leaf) for at, leaf in now.items()}
            anchor = {at: jnp.copy(leaf) for at, leaf in now.items()}
            tree = {**tree, "importance": importance, "path": fresh, "anchor": anchor}
        return {name: part if name in _OWN else changed(part) for name, part in tree.items()}

    own = changed(state.state)
    if not found:
        raise ValueError("no part of the state is of si(): there is nothing to consolidate")
    return state._replace(state=own)
