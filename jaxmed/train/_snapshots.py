"""Snapshots of one training, an ensemble for the price of one network."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmed.core import (
    Array,
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

_NAME = "snapshots"


def snapshots(learner: Learner, n: int, *, every: int) -> Learner:
    """The learner that keeps what it predicts by at the end of each cycle, and predicts by all.

    A learning rate that falls to 0 and begins anew (``jm.train.schedule("cosine", rate, n * every,
    cycles=n)``) takes the network to one minimum after another; each is a member of an ensemble
    that has cost a single training. Training is that of the given learner to the bit.

    Args:
        learner: any learner.
        n: how many snapshots are kept: the last ones, should there be more cycles.
        every: steps of a cycle.

    Returns:
        The learner. Each endpoint of ``predict`` has a leading axis of snapshots, as an
        :func:`jaxmed.ensemble` gives it; places whose cycle has not ended yet hold the network of
        the moment. The snapshots are in its state's ``state``, under ``"snapshots"``.

    Raises:
        ValueError: for fewer than one snapshot or step, or a learner that has snapshots already.

    References:
        Huang et al. (2017), Snapshot ensembles: train 1, get M for free, ICLR.
    """
    if n < 1 or every < 1 or n != int(n) or every != int(every):
        raise ValueError(f"snapshots are one or more, every one or more steps; got {n} and {every}")
    predicting = learner.predicting

    def inner(current: LearnerState) -> LearnerState:
        rest = {name: value for name, value in current.state.items() if name != _NAME}
        return current._replace(state=rest)

    def kept(current: LearnerState) -> Variables:
        return Variables(*current.state[_NAME])

    def with_kept(current: LearnerState, new: Variables) -> LearnerState:
        return current._replace(state={**current.state, _NAME: new})

    def init(key: Key, batch: Batch) -> LearnerState:
        current = learner.init(key, batch)
        if _NAME in current.state:
            raise ValueError("the learner has snapshots already: say how many there once")
        own = jax.tree.map(lambda leaf: jnp.stack([leaf] * n), predicting.get(current))
        return current._replace(state={**current.state, _NAME: own})

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        cycle = jnp.max(current.step) // every
        new, metrics = learner.step(inner(current), batch)
        # The cycle's own place, and those of cycles that are still to come.
        moving = (jnp.arange(n) == cycle % n) | (jnp.arange(n) > cycle)

        def one(old: Array, now: Array) -> Array:
            return jnp.where(moving.reshape(n, *(1,) * now.ndim), now, old)

        own = jax.tree.map(one, kept(current), predicting.get(new))
        return new._replace(state={**new.state, _NAME: own}), metrics

    def predict(current: LearnerState, inputs: PyTree) -> Endpoints:
        own = kept(current)
        made = [
            learner.predict(
                predicting.set(inner(current), jax.tree.map(lambda leaf, i=i: leaf[i], own)), inputs
            )
            for i in range(n)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)

    return Learner(
        init,
        step,
        predict,
        Predicting(kept, with_kept, lambda current: predicting.others(inner(current))),
    )
