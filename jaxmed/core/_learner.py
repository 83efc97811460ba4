"""Learner: what runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmed.core._inputs import Inputs, pick
from jaxmed.core._network import Network
from jaxmed.core._objective import Objective
from jaxmed.core._random import stream
from jaxmed.core._types import Array, Batch, Endpoints, Key, Metrics, PyTree


class LearnerState(NamedTuple):
    """All that a run carries from step to step: one pytree, saved and restored whole.

    Attributes:
        step: int32 scalar, the number of steps made.
        params: ``{"net": ..., "obj": ...}``, what the optimizer changes.
        state: ``{"net": ..., "obj": ...}``, what forward passes and ``after`` change.
        opt_state: the optimizer's.
        key: the run's key; step ``t`` draws from ``stream(key, "step", t)``.
    """

    step: Array
    params: PyTree
    state: PyTree
    opt_state: PyTree
    key: Key


class Learner(NamedTuple):
    """What runs: three pure functions.

    Attributes:
        init: ``(key, batch) -> LearnerState``.
        step: ``(learner_state, batch) -> (learner_state, metrics)``.
        predict: ``(learner_state, inputs) -> endpoints``.
    """

    init: Callable[[Key, Batch], LearnerState]
    step: Callable[[LearnerState, Batch], tuple[LearnerState, Metrics]]
    predict: Callable[[LearnerState, PyTree], Endpoints]


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
        ``gradient_norm``.

    Raises:
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
    # Optimizers that look at the loss value (L-BFGS, reduce on plateau) are given it.
    optimizer = optax.with_extra_args_support(optimizer)

    def init(key: Key, batch: Batch) -> LearnerState:
        net_params, net_state = network.init(stream(key, "network"), pick(batch, inputs))
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
            value_fn=lambda params: loss_of(params)[0],
        )
        params = optax.apply_updates(current.params, updates)
        state = objective.after(params, state)
        metrics = {**metrics, "loss": loss, "gradient_norm": optax.tree.norm(gradients)}
        return LearnerState(current.step + 1, params, state, opt_state, current.key), metrics

    def predict(current: LearnerState, inputs: PyTree) -> Endpoints:
        return network.apply(current.params["net"], current.state["net"], inputs)[0]

    return Learner(init, step, predict)
