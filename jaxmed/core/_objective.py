"""Objective: what is minimised, for any network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp

from jaxmed.core._describe import describe
from jaxmed.core._types import (
    Array,
    ObjectiveInit,
    ObjectiveLoss,
    PostStep,
    Predictors,
    PyTree,
    Variables,
)

T = TypeVar("T")


def _unchanged(params: PyTree, state: PyTree) -> PyTree:
    del params
    return state


def _none(params: PyTree, state: PyTree) -> dict[str, Variables]:
    del params, state
    return {}


class _Fields(NamedTuple):
    init: ObjectiveInit
    loss: ObjectiveLoss
    post_step: PostStep
    predictors: Predictors


class Objective(_Fields):
    """What is minimised, for any network.

    ``params`` and ``state`` are dicts ``{"net": ..., "obj": ...}``: the network's, and the
    objective's own (a projection head is a parameter, an averaged teacher a state).

    Attributes:
        init: ``(key, network, params, state, batch) -> (own_params, own_state)``. ``params`` and
            ``state`` are the network's alone here.
        loss: ``(network, params, state, batch, key) -> (scalar, (state, metrics))``.
        post_step: ``(params, state) -> state``, once the optimizer has stepped: moving averages,
            queues. By default the state stays as it is.
        predictors: ``(params, state) -> {name: Variables}``: the copies of the network that the
            objective keeps, such as ``{"teacher": ...}``, and that could predict in its stead. By
            default there are none. A paradigm that wraps an objective hands its predictors on:
            :func:`within` does.

    An objective draws its randomness from named streams of ``key``, and hands ``key`` itself to
    the network, so that two objectives which look at the same inputs share one forward pass
    (:func:`~jaxmed.core.share_passes`).
    """

    __slots__ = ()

    def __new__(
        cls,
        init: ObjectiveInit,
        loss: ObjectiveLoss,
        post_step: PostStep | None = None,
        predictors: Predictors = _none,
        *,
        after: PostStep | None = None,
    ) -> Objective:
        """Make an objective; ``after`` is the old name of ``post_step``."""
        if after is not None:
            _renamed()
            if post_step is not None:
                raise TypeError("post_step and after are the same: give post_step alone")
            post_step = after
        return super().__new__(
            cls, init, loss, _unchanged if post_step is None else post_step, predictors
        )

    @property
    def after(self) -> PostStep:
        """The old name of ``post_step``."""
        _renamed()
        return self.post_step

    def _replace(self, **changes: Any) -> Objective:
        if "after" in changes:
            _renamed()
            changes["post_step"] = changes.pop("after")
        return super()._replace(**changes)

    def __repr__(self) -> str:
        return f"Objective: {describe(self.loss)}"


def _renamed() -> None:
    warnings.warn(
        "Objective.after is now Objective.post_step; the old name will be removed in a later "
        "release",
        DeprecationWarning,
        stacklevel=3,
    )


def stateless(loss: ObjectiveLoss) -> Objective:
    """An objective with neither parameters nor state of its own."""
    return Objective(lambda key, network, params, state, batch: ({}, {}), loss)


def within(objective: Objective, name: str) -> Objective:
    """The objective for which its own parameters and state live one level down, under ``name``.

    What a paradigm that wraps another uses: its own things stand beside the wrapped one's. Only
    ``init`` is as it was; the wrapper's ``init`` puts what it returns under ``name``.
    """

    def down(tree):
        return {"net": tree["net"], "obj": tree["obj"][name]}

    def up(tree, inner):
        return {"net": inner["net"], "obj": {**tree["obj"], name: inner["obj"]}}

    def loss(network, params, state, batch, key):
        value, (inner, metrics) = objective.loss(network, down(params), down(state), batch, key)
        return value, (up(state, inner), metrics)

    def post_step(params, state):
        return up(state, objective.post_step(down(params), down(state)))

    def predictors(params, state):
        return objective.predictors(down(params), down(state))

    return Objective(objective.init, loss, post_step, predictors)


def merge_named(wrapped: Mapping[str, T], own: Mapping[str, T]) -> dict[str, T]:
    """Metrics, or predictors, of a paradigm and of the objective that it wraps; none is lost.

    A name that both have is the wrapper's. The wrapped one's becomes ``objective/name``, and where
    that is taken too ``objective/objective/name``: as deep as it lies.

    >>> merge_named({"consistency": 1, "entropy": 2}, {"consistency": 3})
    {'consistency': 3, 'entropy': 2, 'objective/consistency': 1}
    """
    merged = dict(wrapped)

    def put(name: str, value: T) -> None:
        if name in merged:
            put(f"objective/{name}", merged[name])
        merged[name] = value

    for name, value in own.items():
        put(name, value)
    return merged


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
        raise ValueError(f"a loss must give one value per example, (batch,), got {values.shape}")
    if weight is None:
        return values.mean()
    if weight.shape != values.shape:
        raise ValueError(
            f"weight must have the shape {values.shape} of the losses, not {weight.shape}"
        )
    counted = weight.astype(values.dtype)
    # A padding row may hold anything: select, for 0 * nan is nan.
    total = jnp.where(counted > 0, values * counted, 0).sum()
    count = counted.sum()
    return total / jnp.where(count > 0, count, 1)
