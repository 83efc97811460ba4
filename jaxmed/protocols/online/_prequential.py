"""Prequential evaluation: each batch is predicted before it is learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxmed.core import Array, Batch, Endpoints, Key, Learner, LearnerState
from jaxmed.stats import checks


class Trace(NamedTuple):
    """What a learner said of a stream, each example before its label was seen.

    Attributes:
        losses: (examples,) in the order of the stream, padding left out.
        batch: (examples,) number of the batch of each.
        state: the learner's after the last batch.
    """

    losses: NDArray[np.float64]
    batch: NDArray[np.intp]
    state: LearnerState

    def running(self, window: int | None = None) -> NDArray[np.float64]:
        """The mean loss up to each example, or over the last ``window`` of them.

        Raises:
            ValueError: for a window of no example.
        """
        if window is not None:
            window = checks.check_whole(window, "window", 1)
        total = np.concatenate([[0.0], np.cumsum(self.losses)])
        ends = np.arange(1, len(self.losses) + 1)
        starts = np.zeros_like(ends) if window is None else np.maximum(ends - window, 0)
        return (total[ends] - total[starts]) / (ends - starts)


def prequential(
    learner: Learner,
    stream: Iterable[Batch],
    loss: Callable[[Endpoints, Batch], Array],
    *,
    key: Key | None = None,
    state: LearnerState | None = None,
    inputs: str = "image",
) -> Trace:
    """Predict each batch of a stream, then learn from it, in memory that does not grow.

    Every example is a test example first, so that none is held back; and the mean loss tells how
    the learner fares while what is streamed changes.

    Args:
        learner: any learner; one step is made for each batch.
        stream: batches of one shape, each seen once, such as those of a manifest in the order of
            its dates.
        loss: ``(endpoints, batch) -> (batch,)`` of what was predicted, such as
            ``lambda out, b: jm.losses.cross_entropy(out["logits"], b["label"])``.
        key: random key of a new state; ``jax.random.key(0)`` if absent.
        state: of a learner that has learned before.
        inputs: the batch's array that is predicted.

    Returns:
        The trace of losses.

    Raises:
        ValueError: for a stream without a batch, or a loss that is not one number an example, or
            NaN.

    References:
        Dawid (1984), Statistical theory: the prequential approach, Journal of the Royal Statistical
        Society A 147.

    Examples:
        >>> import flax.linen as nn, optax
        >>> import jaxmed as jm
        >>> batch = {"image": jnp.ones((4, 3)), "label": jnp.array([0, 1, 1, 1])}
        >>> run = jm.learner(jm.from_linen(nn.Dense(2)), jm.supervised(jm.losses.cross_entropy),
        ...     optax.sgd(0.5))
        >>> loss = lambda out, b: jm.losses.cross_entropy(out["logits"], b["label"])
        >>> trace = prequential(run, [batch] * 5, loss)
        >>> trace.losses.shape, bool(trace.losses[-4:].mean() < trace.losses[:4].mean())
        ((20,), True)
    """

    def advance(state: LearnerState, batch: Batch) -> tuple[LearnerState, Array]:
        values = loss(learner.predict(state, batch[inputs]), batch)
        return learner.step(state, batch)[0], values

    def begin(batch: Batch) -> LearnerState:
        if state is not None:
            return state
        return learner.init(jax.random.key(0) if key is None else key, batch)

    return Trace(*losses_of(advance, begin, stream, inputs))


def losses_of(
    advance: Callable[[LearnerState, Batch], tuple[LearnerState, Array]],
    begin: Callable[[Batch], LearnerState],
    stream: Iterable[Batch],
    inputs: str,
) -> tuple[NDArray[np.float64], NDArray[np.intp], LearnerState]:
    """The losses of a stream, the batch of each, and the state after the last.

    Args:
        advance: ``(state, batch) -> (state, losses (batch,))``.
        begin: from the first batch to the state.
        stream: the batches.
        inputs: the batch's array that is predicted.
    """
    step = jax.jit(advance)
    state: LearnerState | None = None
    found: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    for number, given in enumerate(stream):
        batch: Any = {name: jnp.asarray(value) for name, value in given.items()}
        if state is None:
            state = begin(batch)
        rows = len(batch[inputs])
        state, values = step(state, batch)
        if values.shape != (rows,):
            raise ValueError(f"the loss must be ({rows},), one an example, got {values.shape}")
        real = np.asarray(batch["weight"]) > 0 if "weight" in batch else np.ones(rows, bool)
        own = np.asarray(values, np.float64)[real]
        if np.isnan(own).any():
            raise ValueError(
                f"the loss of batch {number} is NaN for {int(np.isnan(own).sum())} of {len(own)} "
                "examples: look at its images and labels, or learn in smaller steps"
            )
        found.append(own)
        numbers.append(np.full(int(real.sum()), number))
    if state is None:
        raise ValueError("the stream has no batch")
    return np.concatenate(found), np.concatenate(numbers), state
