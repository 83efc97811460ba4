"""Learner: what runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmed.core._describe import describe
from jaxmed.core._inputs import Inputs, network_inputs, warn_if_channels_first
from jaxmed.core._network import Network, check_network
from jaxmed.core._objective import Objective, merge_named
from jaxmed.core._random import stream
from jaxmed.core._statistics import real_share, share_of_change
from jaxmed.core._types import (
    Array,
    Batch,
    Endpoints,
    Key,
    LearnerInit,
    LearnerPredict,
    LearnerStep,
    Metrics,
    PyTree,
    Variables,
)


class LearnerState(NamedTuple):
    """All that a run carries from step to step: one pytree, saved and restored whole.

    Attributes:
        step: int32 scalar, the number of steps made.
        params: ``{"net": ..., "obj": ...}``, what the optimizer changes.
        state: ``{"net": ..., "obj": ...}``, what forward passes and ``post_step`` change.
        opt_state: the optimizer's.
        key: the run's key; step ``t`` draws from ``stream(key, "step", t)``.
    """

    step: Array
    params: PyTree
    state: PyTree
    opt_state: PyTree
    key: Key


class Predicting(NamedTuple):
    """What of a learner's state predicts: how to read it, replace it, and what could stand in.

    Attributes:
        get: ``(learner_state) -> Variables``: the parameters and state by which ``predict``
            predicts.
        set: ``(learner_state, variables) -> learner_state`` with these in their place.
        others: ``(learner_state) -> {name: Variables}``: what else the learner keeps that may be
            set so, such as a mean teacher.

    They look at names alone, never at values, so that they hold for the stacked state of an
    ensemble too.
    """

    get: Callable[[LearnerState], Variables]
    set: Callable[[LearnerState, Variables], LearnerState]
    others: Callable[[LearnerState], dict[str, Variables]]


def _network_of(state: LearnerState) -> Variables:
    return Variables(state.params["net"], state.state["net"])


def _with_network(state: LearnerState, new: Variables) -> LearnerState:
    return state._replace(
        params={**state.params, "net": new.params}, state={**state.state, "net": new.state}
    )


_PREDICTING = Predicting(_network_of, _with_network, lambda state: {})


class Learner(NamedTuple):
    """What runs: three pure functions.

    Attributes:
        init: ``(key, batch) -> LearnerState``.
        step: ``(learner_state, batch) -> (learner_state, metrics)``.
        predict: ``(learner_state, inputs) -> endpoints``.
        predicting: what of the state ``predict`` looks at; by default ``params["net"]`` and
            ``state["net"]``. With it any learner may be averaged, or predict by its teacher.
    """

    init: LearnerInit
    step: LearnerStep
    predict: LearnerPredict
    predicting: Predicting = _PREDICTING

    def __repr__(self) -> str:
        return f"Learner: {describe(self.step)}"


def learner(
    network: Network,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    inputs: Inputs = "image",
) -> Learner:
    """Join a network, an objective and an optimizer.

    Args:
        network: any network.
        objective: any objective.
        optimizer: any Optax transformation. It sees ``{"net": ..., "obj": ...}``: to treat parts
            differently, label them by path (:func:`~jaxmed.core.label_paths`) for
            ``optax.partition``.
        inputs: the batch's array by whose shape the network is initialised, or several
            (:func:`~jaxmed.core.pick`).

    Returns:
        The learner. Its ``step`` returns the objective's metrics, the ``loss`` and the
        ``gradient_norm``. A batch with padding rows, those of ``weight`` 0, moves running
        statistics by its share of real rows, so that each example counts the same in them.

    Raises:
        TypeError: for a network that is none, such as a bare Linen module.
        KeyError: at ``init``, if the batch has no array ``inputs``.

    >>> from jaxmed import supervised, losses, from_linen
    >>> import flax.linen as nn
    >>> batch = {"image": jnp.ones((4, 6)), "label": jnp.array([0, 1, 1, 0])}
    >>> run = learner(from_linen(nn.Dense(2)), supervised(losses.cross_entropy), optax.sgd(0.1))
    >>> state = run.init(jax.random.key(0), batch)
    >>> state, metrics = jax.jit(run.step)(state, batch)
    >>> int(state.step), sorted(metrics)
    (1, ['gradient_norm', 'loss'])
    """
    check_network(network)
    # Optimizers that look at the loss value (L-BFGS, reduce on plateau) are given it, and those
    # that add up gradients the weight of the batch's examples.
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def init(key: Key, batch: Batch) -> LearnerState:
        given = network_inputs(batch, inputs)
        warn_if_channels_first(given)
        net_params, net_state = network.init(stream(key, "network"), given)
        own_params, own_state = objective.init(
            stream(key, "objective"), network, net_params, net_state, batch
        )
        params = {"net": net_params, "obj": own_params}
        return LearnerState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            state={"net": net_state, "obj": own_state},
            opt_state=optimizer.init(params),
            key=stream(key, "run"),
        )

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        key = stream(current.key, "step", current.step)

        def loss_of(params):
            return objective.loss(network, params, current.state, batch, key)

        (loss, (state, metrics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            current.params
        )
        updates, opt_state = optimizer.update(
            gradients,
            current.opt_state,
            current.params,
            value=loss,
            grad=gradients,
            # Optax's line searches hand what they do not know on to value_fn.
            value_fn=lambda params, weight=None: loss_of(params)[0],
            weight=jnp.ones(()) if "weight" not in batch else batch["weight"].sum(),
        )
        params = optax.apply_updates(current.params, updates)
        state = share_of_change(current.state, state, real_share(batch))
        state = objective.post_step(params, state)
        own = {"loss": loss, "gradient_norm": optax.tree.norm(gradients)}
        metrics = merge_named(metrics, own)
        return LearnerState(current.step + 1, params, state, opt_state, current.key), metrics

    def predict(current: LearnerState, inputs: PyTree) -> Endpoints:
        return network.apply(current.params["net"], current.state["net"], inputs)[0]

    def others(current: LearnerState) -> dict[str, Variables]:
        return objective.predictors(current.params, current.state)

    return Learner(init, step, predict, _PREDICTING._replace(others=others))
