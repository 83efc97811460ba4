"""Averages of the parameters over the steps of a run."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Batch,
    Endpoints,
    Key,
    Learner,
    LearnerState,
    Metrics,
    Predicting,
    PyTree,
    Variables,
)

_NAME = "parameter_average"


def parameter_average(learner: Learner, decay: float = 0.999) -> Learner:
    """The learner that predicts with an exponential moving average of its parameters.

    After step ``t`` (from 0), ``average <- d average + (1 - d) params`` with
    ``d = min(decay, (1 + t) / (10 + t))``, so that a short run is not averaged with its beginning.
    The network's own averages, such as BatchNorm's, are averaged in the same way. Training is
    that of the given learner to the bit.

    Args:
        learner: any learner; what is averaged is what it predicts by
            (:attr:`jaxmed.core.Learner.predicting`): the members of an ensemble, the player that
            predicts.
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
    predicting = learner.predicting

    def inner(current: LearnerState) -> LearnerState:
        own = _name(current.state)
        rest = {name: value for name, value in current.state.items() if name != own}
        return current._replace(state=rest)

    def averaged(current: LearnerState) -> Variables:
        return Variables(*current.state[_name(current.state)])

    def with_average(current: LearnerState, new: Variables) -> LearnerState:
        return current._replace(state={**current.state, _name(current.state): new})

    def init(key: Key, batch: Batch) -> LearnerState:
        current = learner.init(key, batch)
        # Copies: a state with one buffer in two places could not be donated.
        own = jax.tree.map(jnp.copy, predicting.get(current))
        return current._replace(state={**current.state, _name(current.state, new=True): own})

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        # An ensemble's members all have made the same number of steps.
        made = jnp.max(current.step).astype(jnp.float32)
        rate = 1 - jnp.minimum(decay, (1 + made) / (10 + made))
        new, metrics = learner.step(inner(current), batch)

        def one(old, new):
            if not jnp.issubdtype(new.dtype, jnp.inexact):
                return new
            return old + (rate * (new - old)).astype(old.dtype)

        own = jax.tree.map(one, averaged(current), predicting.get(new))
        return new._replace(state={**new.state, _name(current.state): own}), metrics

    def predict(current: LearnerState, inputs: PyTree) -> Endpoints:
        return learner.predict(predicting.set(inner(current), averaged(current)), inputs)

    return Learner(
        init,
        step,
        predict,
        Predicting(averaged, with_average, lambda current: predicting.others(inner(current))),
    )


def _name(state: PyTree, *, new: bool = False) -> str:
    """Where the outermost average is in a state; or where one more goes."""
    made = sum(name.startswith(_NAME) for name in state) + new
    return _NAME if made == 1 else f"{_NAME} {made}"
