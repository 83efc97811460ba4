"""Objective: what is minimised, for any network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxmed.core._types import Array, Batch, Key, Metrics, PyTree


class Objective(NamedTuple):
    """What is minimised, for any network.

    ``params`` and ``state`` are dicts ``{"net": ..., "obj": ...}``: the network's, and the
    objective's own (a projection head is a parameter, an averaged teacher a state).

    Attributes:
        init: ``(key, network, params, state, batch) -> (own_params, own_state)``. ``params`` and
            ``state`` are the network's alone here.
        loss: ``(network, params, state, batch, key) -> (scalar, (state, metrics))``.
        after: ``(params, state) -> state``, once the optimizer has stepped: moving averages,
            queues.

    An objective draws its randomness from named streams of ``key``, and hands ``key`` itself to
    the network, so that two objectives which look at the same inputs share one forward pass
    (:func:`~jaxmed.core.share_passes`).
    """

    init: Callable[[Key, Any, PyTree, PyTree, Batch], tuple[PyTree, PyTree]]
    loss: Callable[..., tuple[Array, tuple[PyTree, Metrics]]]
    after: Callable[[PyTree, PyTree], PyTree]


def stateless(loss: Callable[..., tuple[Array, tuple[PyTree, Metrics]]]) -> Objective:
    """An objective with neither parameters nor state of its own."""
    return Objective(
        init=lambda key, network, params, state, batch: ({}, {}),
        loss=loss,
        after=lambda params, state: state,
    )


def within(objective: Objective, name: str) -> Objective:
    """The objective for which its own parameters and state live one level down, under ``name``.

    What a paradigm that wraps another uses: its own things stand beside the wrapped one's. Only
    ``loss`` and ``after`` change; the wrapper's ``init`` puts ``objective.init``'s under ``name``.
    """

    def down(tree):
        return {"net": tree["net"], "obj": tree["obj"][name]}

    def up(tree, inner):
        return {"net": inner["net"], "obj": {**tree["obj"], name: inner["obj"]}}

    def loss(network, params, state, batch, key):
        value, (inner, metrics) = objective.loss(network, down(params), down(state), batch, key)
        return value, (up(state, inner), metrics)

    def after(params, state):
        return up(state, objective.after(down(params), down(state)))

    return Objective(objective.init, loss, after)


def weighted_mean(values: Array, weight: Array | None) -> Array:
    """The mean of per-example values over the examples that count.

    Args:
        values: shape ``(batch,)``.
        weight: shape ``(batch,)``, 0 for a padding row; ``None`` for all ones.

    Returns:
        ``sum(values * weight) / sum(weight)``, and 0 where no example counts.

    Raises:
        ValueError: if the shapes differ.

    >>> float(weighted_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([1.0, 1.0, 0.0])))
    2.0
    """
    if values.ndim != 1:
        raise ValueError(f"a loss must give one value an example, (batch,), got {values.shape}")
    if weight is None:
        return values.mean()
    if weight.shape != values.shape:
        raise ValueError(
            f"weight must have the shape {values.shape} of the losses, not {weight.shape}"
        )
    weight = weight.astype(values.dtype)
    # A padding row may hold anything: select, for 0 * nan is nan.
    total = jnp.where(weight > 0, values * weight, 0).sum()
    count = weight.sum()
    return total / jnp.where(count > 0, count, 1)
