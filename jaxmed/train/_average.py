"""Averages of the parameters over the steps of a run."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import Batch, Endpoints, Key, Learner, LearnerState, Metrics, PyTree

_NAME = "parameter_average"


def parameter_average(learner: Learner, decay: float = 0.999) -> Learner:
    """The learner that predicts with an exponential moving average of its parameters.

    After step ``t`` (from 0), ``average <- d average + (1 - d) params`` with
    ``d = min(decay, (1 + t) / (10 + t))``, so that a short run is not averaged with its beginning.
    The network's own averages, such as BatchNorm's, are averaged in the same way. Training is
    that of the given learner to the bit.

    Args:
        learner: any learner.
        decay: in [0, 1).

    Returns:
        The learner. The averages are in its state's ``state``, under ``"parameter_average"``.

    Raises:
        ValueError: if ``decay`` is not in [0, 1).

    References:
        Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging, SIAM
        Journal on Control and Optimization.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}")

    def inner(current: LearnerState) -> LearnerState:
        own = {name: value for name, value in current.state.items() if name != _NAME}
        return current._replace(state=own)

    def averaged(current: LearnerState) -> PyTree:
        return {"params": current.params, "net": current.state["net"]}

    def init(key: Key, batch: Batch) -> LearnerState:
        current = learner.init(key, batch)
        # Copies: a state with one buffer in two places could not be donated.
        own = jax.tree.map(jnp.copy, averaged(current))
        return current._replace(state={**current.state, _NAME: own})

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        # An ensemble's members all have made the same number of steps.
        made = jnp.max(current.step).astype(jnp.float32)
        rate = 1 - jnp.minimum(decay, (1 + made) / (10 + made))
        new, metrics = learner.step(inner(current), batch)

        def one(old, new):
            if not jnp.issubdtype(new.dtype, jnp.inexact):
                return new
            return old + (rate * (new - old)).astype(old.dtype)

        own = jax.tree.map(one, current.state[_NAME], averaged(new))
        return new._replace(state={**new.state, _NAME: own}), metrics

    def predict(current: LearnerState, inputs: PyTree) -> Endpoints:
        own = current.state[_NAME]
        state = {**inner(current).state, "net": own["net"]}
        return learner.predict(current._replace(params=own["params"], state=state), inputs)

    return Learner(init, step, predict)
