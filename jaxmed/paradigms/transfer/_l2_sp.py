"""L2-SP: a penalty on moving away from the start."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp

from jaxmed.core import Objective, flatten_paths, merge_named, within
from jaxmed.paradigms.base._schedules import check_weight


def l2_sp(
    objective: Objective, *, weight: float = 1e-2, rest: float = 0.0, only: str = "^(?!.*head)"
) -> Objective:
    r"""Add the squared distance of parameters from where they began.

    .. math:: \frac\alpha2 \| \theta - \theta^0 \|^2 + \frac\beta2 \| \theta' \|^2

    where the start is what the network begins with: wrap it in :func:`pretrained`.

    Args:
        objective: what is learned.
        weight: :math:`\alpha`, of the distance.
        rest: :math:`\beta`, of the ordinary L2 penalty on all other parameters (a fresh head).
        only: a regular expression: the network's parameters that are drawn to their start.

    Returns:
        The objective, with the start in its state, and the metric ``distance``, the norm
        :math:`\| \theta - \theta^0 \|`.

    Raises:
        ValueError: if a weight is negative; at ``init``, if no parameter matches.

    References:
        Li, Grandvalet and Davoine (2018), Explicit inductive bias for transfer learning with
        convolutional networks, ICML.

    >>> import jaxmed as jm
    >>> objective = l2_sp(jm.supervised(jm.losses.cross_entropy), weight=0.1, rest=0.01)
    """
    check_weight(weight)
    check_weight(rest, "rest")
    inner = within(objective, "objective")

    def init(key, network, params, state, batch):
        own_params, own_state = objective.init(key, network, params, state, batch)
        leaves = flatten_paths(params)
        # Copies: a start that shares its buffers with the parameters could not be donated.
        start = {path: jnp.copy(leaf) for path, leaf in leaves.items() if re.search(only, path)}
        if not start:
            raise ValueError(f"no parameter matches only={only!r}; there are {list(leaves)[:20]}")
        return {"objective": own_params}, {"objective": own_state, "start": start}

    def loss(network, params, state, batch, key):
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        start = jax.lax.stop_gradient(state["obj"]["start"])
        moved, other = jnp.zeros(()), jnp.zeros(())
        for path, leaf in flatten_paths(params["net"]).items():
            if path in start:
                moved += jnp.square(leaf - start[path]).sum()
            else:
                other += jnp.square(leaf).sum()
        distance = jnp.sqrt(jax.lax.stop_gradient(moved))
        value = value + weight / 2 * moved + rest / 2 * other
        return value, (state, merge_named(metrics, {"distance": distance}))

    return inner._replace(init=init, loss=loss)
